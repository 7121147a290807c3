"""What the stack's file promises: names that exist, nothing as root, no password to be seen."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.demo.ground import SIMULATED
from streams.rights import ROLES, kafka_rights
from streams.settings import DeliverySettings, HealthSettings, load_settings
from tests.compose import DOCKERFILE, FILE, image_healthcheck, is_ours, services, variables
from tests.conftest import ROOT

SERVICES = services()
SECURED = services(secure=True)
OURS = {name: service for name, service in SERVICES.items() if is_ours(service)}
WORKERS = {name: service for name, service in OURS.items() if service["command"][0] == "worker"}


def seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s", text)
    return int(text[:-1])


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_a_service_exist_and_load(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if name == "login":
        assert not OURS[name]["environment"]  # it needs none, and no password
        return
    (tmp_path / "tocsin.toml").touch()
    for variable, value in OURS[name]["environment"].items():
        is_file = variable == "TOCSIN_CONFIG"
        monkeypatch.setenv(variable, str(tmp_path / "tocsin.toml") if is_file else value)
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert settings.redis.password.get_secret_value() == "tocsin"
    assert settings.health.port == HealthSettings().port


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_and_confined(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+\.\d+|^tocsin:", service["image"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] in {"unless-stopped", "no"}
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]  # a log may not fill the disk
    assert "privileged" not in service
    if not is_ours(service):
        assert service["user"] not in {"root", "0"}


def test_our_image_has_a_user_of_its_own_in_every_target() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]
    targets = {stage.split()[2]: stage for stage in stages}
    for service in [*OURS.values(), *(one for one in SECURED.values() if is_ours(one))]:
        stage = targets[service["build"]["target"]]
        assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE) == ["10001:10001"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback_interface_alone(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_stands_on_a_command_line(name: str) -> None:
    service: dict[str, Any] = services(
        REDIS_PASSWORD="hush-hush", CAMERAS="a=rtsp://u:hush-hush@b/"
    )[name]
    shown = {key: value for key, value in service.items() if key != "environment"}
    assert "hush-hush" not in str(shown)


@pytest.mark.parametrize("name", SERVICES)
def test_who_is_waited_for_can_become_what_is_waited_for(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        waited = SERVICES[other]
        if wait["condition"] == "service_completed_successfully":
            assert waited["restart"] == "no"
        else:
            assert wait["condition"] == "service_healthy"
            assert waited["healthcheck"]["test"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_given_the_time_that_it_takes_to_end(name: str) -> None:
    assert seconds(WORKERS[name]["stop_grace_period"]) > DeliverySettings().drain_timeout_s + 10


@pytest.mark.parametrize("name", [name for name in OURS if name.endswith("-gpu")])
def test_a_service_on_the_gpu_is_the_other_but_for_image_device_and_memory(name: str) -> None:
    gpu, cpu = dict(OURS[name]), dict(OURS[name.removesuffix("-gpu")])
    (device,) = gpu.pop("deploy")["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert gpu.pop("profiles") == ["gpu"]
    assert (gpu.pop("image"), gpu.pop("build")["target"]) == ("tocsin:cuda", "cuda")
    assert (cpu.pop("image"), cpu.pop("build")["target"]) == ("tocsin:cpu", "cpu")
    assert gpu.pop("mem_limit") != cpu.pop("mem_limit")  # CUDA's libraries take more
    assert gpu == cpu


def test_the_images_health_check_asks_where_a_worker_answers() -> None:
    assert f"http://127.0.0.1:{HealthSettings().port}/readyz" in image_healthcheck()[-1]


def test_the_example_names_every_variable_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    in_file = variables()
    assert named.keys() == in_file.keys()
    live = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert live == {name: in_file[name] for name in live}


def test_payments_that_are_simulated_have_the_settings_that_they_have_in_the_demo() -> None:
    """Without these nobody can judge them, and in two days they are all from the future."""
    settings = SERVICES["dashboard"]["environment"]
    for section, names in SIMULATED.items():
        for name, value in names.items():
            given = settings[f"TOCSIN_{section}__{name}".upper()]
            assert type(value)(given) == value


def test_the_example_names_pages_that_have_what_it_says() -> None:
    example = (ROOT / ".env.example").read_text()
    named = re.findall(r"(docs/\S+?\.md)(?:#([\w-]+))?", example)
    assert len(named) > 2
    for page, anchor in named:
        headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
        assert not anchor or anchor in [one.lower().replace(" ", "-") for one in headings]
    (page,) = re.findall(r"\[webhooks\.endpoints\.NAME\].*\s+# (\S+?)#", example)
    assert "[webhooks.endpoints." in (ROOT / page).read_text()


def test_the_example_pulls_what_processors_take_and_what_a_gpu_takes() -> None:
    example = (ROOT / ".env.example").read_text()
    pulls = re.findall(
        r"^#   docker compose run --rm vision (.*?)(?:  +#.*)?$", example, re.MULTILINE
    )
    assert pulls == ["models pull yolox-nano", "models pull yolox-nano --format pth"]


def test_a_machine_with_one_processor_can_have_workers() -> None:
    """Docker refuses a service more than there are."""
    for name, service in services(WORKER_CPUS="1").items():
        assert float(service.get("cpus", 1)) <= 1, name


def test_every_volume_is_declared_and_used() -> None:
    declared = re.findall(
        r"^  ([a-z-]+):$", FILE.read_text().partition("\nvolumes:\n")[2], re.MULTILINE
    )
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith((".", "/"))
    }
    assert set(declared) == used


def test_a_volume_that_we_write_to_is_a_folder_of_our_image_which_is_its_owners() -> None:
    """A new volume over a path that the image does not have is root's, and nobody here is root."""
    (made,) = re.findall(r"install --directory --owner tocsin [^&]*", DOCKERFILE.read_text())
    written = {
        volume.split(":")[1]
        for stack in (SERVICES, SECURED)
        for service in stack.values()
        if is_ours(service)
        for volume in service.get("volumes", ())
        if isinstance(volume, str) and not volume.endswith(":ro")
    }
    assert len(written) > 3
    assert {path for path in written if path not in made.split()} == set()


def test_what_kafka_writes_to_in_memory_belongs_to_its_user() -> None:
    for mount in SERVICES["kafka"]["tmpfs"]:
        path, _, options = mount.partition(":")
        assert path == "/tmp" or options == "uid=1000,gid=1000"  # appuser of the image


def test_the_dashboard_changes_the_rules_that_the_workers_read() -> None:
    file = WORKERS["vision"]["environment"]["TOCSIN_VISION__RULES"]
    folder = file.rpartition("/")[0]
    mounted = {
        name: [mount for mount in service.get("volumes", ()) if mount.split(":")[1] == folder]
        for name, service in OURS.items()
    }
    assert mounted["vision"] == mounted["vision-gpu"] == [f"rules:{folder}:ro"]
    # The first to come fills the volume from the image, so it must be one that may write.
    assert mounted["topics"] == mounted["dashboard"] == [f"rules:{folder}"]
    assert OURS["dashboard"]["environment"]["TOCSIN_VISION__RULES"] == file
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)[1:]
    filled = [stage.split()[2] for stage in stages if "street.toml rules/rules.toml" in stage]
    assert filled == ["cpu", "cuda"]


def test_the_page_comes_up_with_the_rest_and_lets_in_whom_the_first_start_made() -> None:
    login, dashboard = OURS["login"], OURS["dashboard"]
    assert "profiles" not in login
    assert "profiles" not in dashboard
    file = dashboard["environment"]["TOCSIN_CONFIG"]
    folder = file.rpartition("/")[0]
    assert login["command"][-2:] == ["--once", file]
    assert login["volumes"] == [f"dashboard:{folder}"]
    assert f"dashboard:{folder}:ro" in dashboard["volumes"]
    assert folder in DOCKERFILE.read_text()  # the volume is its owner's
    assert dashboard["depends_on"]["login"] == {"condition": "service_completed_successfully"}


def test_the_docs_remove_all_who_hold_the_volume_of_users_before_it() -> None:
    """Docker removes no volume that a container has, not even one that has ended."""
    page = (ROOT / "docs" / "dashboard.md").read_text()
    (removed,) = re.findall(r"^\$ docker compose rm --stop --force (.*)$", page, re.MULTILINE)
    holders = {
        name
        for name, service in SERVICES.items()
        if any(volume.startswith("dashboard:") for volume in service.get("volumes", ()))
    }
    assert set(removed.split()) == holders
    assert page.index(removed) < page.index("docker volume rm ")


# -- --profile observability ----------------------------------------------------------------------
def provisioned(kind: str) -> dict[str, Any]:
    """What Grafana is told of its data sources, or of where its dashboards are."""
    (file,) = (ROOT / "ops" / "grafana" / "provisioning" / kind).iterdir()
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def mounted(service: str, path: str) -> Path:
    """The file or folder of the repository that the service finds at `path`."""
    for volume in SERVICES[service]["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("./") and f"{path}/".startswith(f"{target}/"):
            return ROOT / source / path[len(target) :].lstrip("/")
    raise AssertionError(f"{service} has nothing at {path}")


def test_grafana_finds_its_dashboards_and_the_prometheus_of_the_stack() -> None:
    (source,) = provisioned("datasources")["datasources"]
    service, _, port = source["url"].removeprefix("http://").partition(":")
    assert f":{port}" in SERVICES[service]["healthcheck"]["test"][-1]
    # One by one: Grafana logs an error for each that is missing, and the whole hides its own.
    files = ROOT / "ops" / "grafana" / "provisioning"
    for folder in files.iterdir():
        assert (
            f"./{folder.relative_to(ROOT)}:/etc/grafana/provisioning/{folder.name}:ro"
            in (SERVICES["grafana"]["volumes"])
        )
    (provider,) = provisioned("dashboards")["providers"]
    found = {
        path: json.loads(path.read_text())
        for path in mounted("grafana", provider["options"]["path"]).glob("*.json")
    }
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounted("grafana", home) in found
    panels = [panel for dashboard in found.values() for panel in dashboard["panels"]]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    names = [dashboard["uid"] for dashboard in found.values()]
    assert len(set(names)) == len(found) > 1
    # Grafana asks for a rate over four times this interval, and Prometheus has no more points.
    scraped = yaml.safe_load((ROOT / "ops" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


def test_prometheus_finds_its_files_and_asks_services_that_exist() -> None:
    (option,) = [word for word in SERVICES["prometheus"]["command"] if "config.file" in word]
    file = mounted("prometheus", option.partition("=")[2])
    config = yaml.safe_load(file.read_text())
    for rules in config["rule_files"]:
        folder = option.partition("=")[2].rpartition("/")[0]
        assert mounted("prometheus", f"{folder}/{rules}").is_file()
    asked: set[str] = set()
    for job in config["scrape_configs"]:
        for found in job.get("dns_sd_configs", ()):
            asked |= set(found["names"])
        for static in job.get("static_configs", ()):
            asked |= {target.partition(":")[0] for target in static["targets"]}
    assert asked == {*WORKERS, "kafka-exporter", "redis-exporter"}


# -- docker-compose.secure.yml --------------------------------------------------------------------
def mounts(service: dict[str, Any]) -> list[Any]:
    """Its volumes from the folder of secrets, by the folder."""
    return [one for one in service.get("volumes", ()) if isinstance(one, dict)]


def test_secured_services_are_the_same_and_two_that_run_once() -> None:
    assert SECURED.keys() - SERVICES.keys() == {"secrets", "rights"}
    for name in ("secrets", "rights"):
        assert SECURED[name]["restart"] == "no"
        assert SECURED[name]["read_only"] is True
        assert SECURED[name]["cap_drop"] == ["ALL"]
        assert SECURED[name]["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", [name for name in SECURED if is_ours(SECURED[name])])
def test_a_secured_service_has_a_folder_of_its_own_and_speaks_tls(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SECURED[name]
    if name in {"secrets", "login"}:
        assert not service.get("environment")
        return
    (mount,) = mounts(service)
    assert mount["read_only"] is True
    assert mount["target"] == "/run/tocsin"
    role = mount["volume"]["subpath"]
    assert role in {*ROLES, "admin"}
    environment = service["environment"]
    assert not [key for key in environment if "PASSWORD" in key]
    for variable, value in environment.items():
        if variable not in {"TOCSIN_SECRETS_DIR", "TOCSIN_CONFIG"}:
            monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.kafka.security_protocol == ("SSL" if role == "admin" else "SASL_SSL")
    assert settings.kafka.ssl_cafile is not None
    if service.get("command", [""])[0] in {"worker", "dashboard", "webhooks"}:
        assert settings.redis.url.startswith("rediss://")


def test_no_two_parts_share_a_folder_but_those_of_one_role() -> None:
    folders: dict[str, set[str]] = {}
    for name, service in SECURED.items():
        for mount in mounts(service):
            folders.setdefault(mount["volume"]["subpath"], set()).add(name)
    shared = {folder: names for folder, names in folders.items() if len(names) > 1}
    assert shared == {
        "fraud": {"fraud", "fraud-gpu"},
        "vision": {"vision", "vision-gpu"},
        "cameras": {"street", "camera"},
    }


def test_who_sends_payments_and_verdicts_there_may_write_both() -> None:
    """Verdicts come days later in its calendar: minutes after it began."""
    (mount,) = mounts(SECURED["payments"])
    role = mount["volume"]["subpath"]
    assert SECURED["payments"]["command"][:2] == ["produce", "transactions"]
    settings = load_settings()
    written = {right.name for right in kafka_rights(role, settings) if right.operation == "Write"}
    assert written == {settings.topics.transactions, settings.topics.labels}


def test_every_role_is_made_and_granted() -> None:
    made = (ROOT / "ops" / "secure" / "secrets.sh").read_text()
    (line,) = re.findall(r'^ROLES="(.*)"$', made, re.MULTILINE)
    (granted,) = re.findall(r"for role in (.*); do", SECURED["rights"]["command"][0])
    assert line.split() == granted.split() == list(ROLES)


def test_the_redis_exporter_finds_its_password_whatever_its_version(tmp_path: Path) -> None:
    """1.45 looks it up by the address, newer ones by the address with the user's name in it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "tocsin").write_text(
        "#!/bin/sh\n"
    )  # whose rules of Redis' users are others' matter
    (programs / "tocsin").chmod(0o755)
    script = ROOT / "ops" / "secure" / "secrets.sh"
    subprocess.run(
        ["sh", str(script), str(tmp_path / "secure")],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    environment = SECURED["redis-exporter"]["environment"]
    folder = tmp_path / "secure" / mounts(SECURED["redis-exporter"])[0]["volume"]["subpath"]
    file = folder / Path(environment["REDIS_PASSWORD_FILE"]).name
    address, user = environment["REDIS_ADDR"], environment["REDIS_USER"]
    password = (folder / "password").read_text()
    assert json.loads(file.read_text()) == {
        address: password,
        address.replace("://", f"://{user}@"): password,
    }


def test_nothing_listens_in_the_clear_when_secured() -> None:
    kafka = SECURED["kafka"]["environment"]
    protocols = kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    assert {entry.partition(":")[2] for entry in protocols} == {"SSL", "SASL_SSL"}
    assert re.search(r"^port 0$", SECURED["redis"]["command"][0], re.MULTILINE)
    assert "requirepass" not in SECURED["redis"]["command"][0]
