"""The cluster's manifests beside the settings: names, ports, deadlines and limits that agree.

Where these tools are, `kustomize build ops/kubernetes/overlays/cpu > all.yaml` and
`kubectl-validate all.yaml` check them against Kubernetes' own schemas. With `kubectl` or
`kustomize` on the path what they make of all components together is looked at too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.vision.loading import suits_torch
from models.vision.weights import find
from streams.dashboard.access.bind import allowed_hosts, is_allowed
from streams.rights import ROLES
from streams.settings import KafkaSettings, Settings, load_settings
from streams.topics import topic_table
from tests.compose import services
from tests.conftest import ROOT

KUBERNETES = ROOT / "ops" / "kubernetes"
AGENTS = ("fraud", "labels", "vision")
OUTLETS = ("dashboard", "webhooks")
COMPONENTS = ("keda", "outlets", "secure")


def documents(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / path).read_text()))


def variables(place: str = "base") -> dict[str, str]:
    text = (KUBERNETES / place / "settings.env").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def shared() -> dict[str, Any]:
    (patch,) = documents("base/worker.yaml")
    return pod_of(patch)


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = document["spec"]["template"]["spec"]
    return pod


def outlets() -> dict[str, dict[str, Any]]:
    """The pods of what alerts go out by."""
    return {
        document["metadata"]["name"]: pod_of(document)
        for name in OUTLETS
        for document in documents(f"outlets/{name}.yaml")
        if document["kind"] == "Deployment"
    }


def containers() -> list[dict[str, Any]]:
    """All that run, as far as the files that are merged say."""
    found = [*shared()["containers"]]
    for document in documents("base/workers.yaml") + documents("base/topics.yaml"):
        pod = pod_of(document)
        found += pod["containers"] + pod.get("initContainers", [])
    for pod in outlets().values():
        found += pod["containers"]
    return found


def rendered(overlay: str, folder: Path) -> list[dict[str, Any]]:
    """What an overlay of one's own makes of one of ours and of all components."""
    tool = shutil.which("kustomize") or shutil.which("kubectl")
    if tool is None:
        pytest.skip("neither kustomize nor kubectl is on the path")
    way = os.path.relpath(KUBERNETES, folder.resolve())
    mine = {
        "resources": [f"{way}/overlays/{overlay}"],
        "components": [f"{way}/{name}" for name in COMPONENTS],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(mine))
    command = "build" if Path(tool).name == "kustomize" else "kustomize"
    done = subprocess.run([tool, command, str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=["base", "gpu"])
def settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a worker makes of its environment, under each overlay."""
    given = variables()
    if request.param == "gpu":
        (overlay,) = documents("overlays/gpu/kustomization.yaml")
        (generator,) = overlay["configMapGenerator"]
        given |= dict(literal.split("=", 1) for literal in generator["literals"])
    own = [
        entry["name"]
        for container in containers()
        for entry in container.get("env", ())
        if "value" not in entry
    ]
    secrets = re.findall(r"--from-file=(\w+)=", (KUBERNETES / "base" / "settings.env").read_text())
    assert own
    assert secrets
    for name in (*own, *secrets):
        monkeypatch.setenv(name, "fraud-0")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_every_variable_is_a_setting(settings: Settings) -> None:
    assert settings.kafka.bootstrap_servers == variables()["TOCSIN_KAFKA__BOOTSTRAP_SERVERS"]
    assert settings.kafka.group_instance_id == "fraud-0"
    assert settings.redis.password.get_secret_value() == "fraud-0"


def test_every_agent_has_its_set_its_service_and_its_budget() -> None:
    commands = {
        document["metadata"]["name"]: pod_of(document)["containers"][0]["args"]
        for document in documents("base/workers.yaml")
    }
    assert commands == {agent: ["worker", agent] for agent in AGENTS}
    for path in ("base/services.yaml", "base/disruption.yaml", "keda/scaling.yaml"):
        assert {document["metadata"]["name"] for document in documents(path)} == set(AGENTS)


def pulled(overlay: str) -> list[str]:
    """The command by which a pod of vision gets its weights."""
    (made,) = documents(f"overlays/{overlay}/kustomization.yaml")
    over = [
        *documents("base/workers.yaml"),
        *(
            document
            for patch in made.get("patches", ())
            for document in documents(f"overlays/{overlay}/{patch['path']}")
        ),
    ]
    inits = [one for document in over for one in pod_of(document).get("initContainers", ())]
    args: list[str] = [one for one in inits if one["name"] == "weights"][-1]["args"]
    return args


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_a_pod_pulls_the_weights_that_its_device_takes_and_that_are_known(overlay: str) -> None:
    """Nothing in the images reads ONNX into torch."""
    (made,) = documents(f"overlays/{overlay}/kustomization.yaml")
    environment = variables() | dict(
        literal.split("=", 1)
        for generator in made.get("configMapGenerator", ())
        for literal in generator["literals"]
    )
    _, _, name, *options = pulled(overlay)
    form: Any = options[options.index("--format") + 1] if options else "onnx"
    weights = find(environment["TOCSIN_VISION__MODEL"])
    assert weights is not None
    assert weights.name == name
    assert weights.files[form].known
    device = environment.get("TOCSIN_VISION__DEVICE", "cpu")  # auto, where there is no GPU
    assert form == ("pth" if suits_torch(device, "auto") else "onnx")


def test_probes_and_policies_ask_where_a_worker_answers(settings: Settings) -> None:
    (worker,) = shared()["containers"]
    (port,) = worker["ports"]
    assert port["containerPort"] == settings.health.port
    assert settings.health.host == "0.0.0.0"
    paths = {kind: worker[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")}
    assert paths == {"liveness": "/livez", "readiness": "/readyz"}
    for service in documents("base/services.yaml"):
        assert [entry["port"] for entry in service["spec"]["ports"]] == [settings.health.port]


def test_a_worker_is_given_the_time_that_it_takes_to_end(settings: Settings) -> None:
    grace_s = shared()["terminationGracePeriodSeconds"]
    assert grace_s > settings.delivery.drain_timeout_s + 10


def test_kubernetes_kills_no_worker_that_its_watchdog_would_leave_alone(settings: Settings) -> None:
    (worker,) = shared()["containers"]
    probe = worker["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= settings.delivery.stuck_after_s


def test_lag_never_asks_for_more_workers_than_there_are_partitions(settings: Settings) -> None:
    topics = {spec.name for spec in topic_table(settings)}
    for document in documents("keda/scaling.yaml"):
        agent = document["metadata"]["name"]
        (trigger,) = document["spec"]["triggers"]
        assert document["spec"]["maxReplicaCount"] <= settings.topics.partitions
        assert trigger["metadata"]["consumerGroup"] == getattr(settings, agent).group
        assert trigger["metadata"]["topic"] in topics
        assert trigger["metadata"]["bootstrapServers"] == settings.kafka.bootstrap_servers


def test_scaling_speaks_to_kafka_as_its_exporter_does_and_goes_down_slowly() -> None:
    """KEDA's `cooldownPeriod` is of the way to no replica at all."""
    (spoken,) = [
        word.partition("=")[2]
        for word in services()["kafka-exporter"]["command"]
        if word.startswith("--kafka.version=")
    ]
    for document in documents("keda/scaling.yaml"):
        spec = document["spec"]
        assert [trigger["metadata"]["version"] for trigger in spec["triggers"]] == [spoken]
        assert spec["minReplicaCount"] > 0
        assert "cooldownPeriod" not in spec
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 600


def test_nothing_runs_as_root_or_writes_to_its_image() -> None:
    topics = pod_of(documents("base/topics.yaml")[0])
    for pod in (shared(), topics, *outlets().values()):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
    for container in containers():
        if "image" not in container:
            continue  # merged with the one that has it
        inside = container["securityContext"]
        assert inside["readOnlyRootFilesystem"] is True
        assert inside["allowPrivilegeEscalation"] is False
        assert inside["capabilities"] == {"drop": ["ALL"]}


def test_the_page_is_asked_where_it_answers_and_knows_the_workers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name: pod["containers"][0]["args"] for name, pod in outlets().items()} == {
        name: [name] for name in OUTLETS
    }
    (page,) = outlets()["dashboard"]["containers"]
    for entry in page["env"]:
        if entry["name"] != "TOCSIN_CONFIG":
            monkeypatch.setenv(entry["name"], entry["value"])
    monkeypatch.setenv("TOCSIN_DASHBOARD__HOSTS", '["tocsin.example"]')  # of dashboard.toml
    made = load_settings().dashboard
    for kind in ("startup", "liveness", "readiness"):
        probe = page[f"{kind}Probe"]["httpGet"]
        (header,) = probe["httpHeaders"]  # without it, the address of the pod
        assert header["name"] == "Host"
        assert is_allowed(header["value"], allowed_hosts(made))
    (port,) = page["ports"]
    assert (made.host, made.port) == ("0.0.0.0", port["containerPort"])
    (patch,) = documents("base/worker.yaml")
    assert list(made.workers) == [
        f"http://{agent}-{number}.{agent}:{settings.health.port}"
        for agent in AGENTS
        for number in range(patch["spec"]["replicas"])
    ]


def test_the_page_is_one_pod_because_an_ingress_knows_nothing_of_who_made_it() -> None:
    deployment = documents("outlets/dashboard.yaml")[0]
    assert deployment["spec"]["replicas"] == 1


def test_what_runs_before_a_worker_needs_no_secret_that_it_does_not_have() -> None:
    """Under the secure component the settings name a folder of secrets, which must be mounted."""
    before = [
        container
        for document in documents("base/workers.yaml")
        for container in pod_of(document).get("initContainers", [])
    ]
    assert before
    for container in before:
        assert "envFrom" not in container
        assert "TOCSIN_SECRETS_DIR" not in [entry["name"] for entry in container["env"]]


def test_everything_is_in_the_namespace() -> None:
    """A component is not under that of what it is added to."""
    files = [path.parent for path in KUBERNETES.rglob("kustomization.yaml")]
    assert len(files) > 5
    for folder in files:
        (made,) = documents(f"{folder.relative_to(KUBERNETES)}/kustomization.yaml")
        wanted = [one for one in made.get("resources", ()) if one != "../../base"]
        assert not wanted or made["namespace"] == "tocsin"


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_all_components_together_are_one_namespace_and_one_set_of_settings(
    overlay: str, tmp_path: Path
) -> None:
    made = rendered(overlay, tmp_path)
    assert len(made) > 25
    (settings,) = [one["metadata"]["name"] for one in made if one["kind"] == "ConfigMap"]
    for one in made:
        if one["kind"] != "Namespace":
            assert one["metadata"].get("namespace") == "tocsin", one["metadata"]["name"]
    pods = [pod_of(one) for one in made if "template" in one.get("spec", {})]
    assert len(pods) == len([*AGENTS, *OUTLETS, "topics"])
    for pod in pods:
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": settings}}]
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]
    asked = [one["spec"]["triggers"][0] for one in made if one["kind"] == "ScaledObject"]
    assert len(asked) == len(AGENTS)
    for trigger in asked:
        assert trigger["metadata"]["bootstrapServers"].endswith(":9093")
        assert trigger["authenticationRef"] == {"name": "monitor"}
    (weights,) = [one for pod in pods for one in pod.get("initContainers", ())]
    assert weights["args"] == pulled(overlay)
    assert weights["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_secret_is_in_the_manifests() -> None:
    for path in KUBERNETES.rglob("*"):
        text = "" if path.is_dir() else path.read_text()
        assert not re.search(r"^[^#]*password", text, re.MULTILINE | re.IGNORECASE)


def test_scaling_comes_to_the_secured_kafka_as_who_may_be_told_of_lag() -> None:
    (component,) = documents("secure/kustomization.yaml")
    (patch,) = [one for one in component["patches"] if one["target"] == {"kind": "ScaledObject"}]
    changes = {one["path"]: one["value"] for one in yaml.safe_load(patch["patch"])}
    trigger = "/spec/triggers/0"
    server = variables("secure")["TOCSIN_KAFKA__BOOTSTRAP_SERVERS"]
    assert changes[f"{trigger}/metadata/bootstrapServers"] == server
    assert changes[f"{trigger}/metadata/tls"] == "enable"
    assert changes[f"{trigger}/metadata/sasl"] == "scram_sha512"
    assert KafkaSettings().sasl_mechanism == "SCRAM-SHA-512"
    page = (ROOT / "docs" / "security.md").read_text()
    (text,) = re.findall(r"^```yaml\n(.*?)```$", page, re.MULTILINE | re.DOTALL)
    access = yaml.safe_load(text)
    assert changes[f"{trigger}/authenticationRef"] == {"name": access["metadata"]["name"]}
    asked = access["spec"]["secretTargetRef"]
    assert {one["name"] for one in asked} == {"monitor"} < set(ROLES)
    made = (ROOT / "ops" / "secure" / "secrets.sh").read_text()
    assert all(f"/{one['key']}" in made for one in asked)


def test_secured_parts_have_a_secret_each_and_speak_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (component,) = documents("secure/kustomization.yaml")
    whole = {
        "StatefulSet": documents("base/workers.yaml"),
        "Job": documents("base/topics.yaml"),
        "Deployment": [one for name in OUTLETS for one in documents(f"outlets/{name}.yaml")],
    }
    own = {  # what each pod is, with what a set has from worker.yaml
        one["metadata"]["name"]: shared() if kind == "StatefulSet" else pod_of(one)
        for kind, found in whole.items()
        for one in found
        if kind == one["kind"]
    }
    parts = [one for one in component["patches"] if one["target"]["kind"] != "ScaledObject"]
    for patch in parts:
        target, changes = patch["target"], yaml.safe_load(patch["patch"])
        assert target["name"] in [one["metadata"]["name"] for one in whole[target["kind"]]]
        volume, mount, environment = (change["value"] for change in changes)
        assert volume["secret"]["secretName"] in ROLES
        # It is root's, and its group's: of whom the pod has to be one.
        assert volume["secret"]["defaultMode"] == 0o440
        inside = own[target["name"]]["securityContext"]
        assert inside["fsGroup"] == inside["runAsUser"]
        assert mount["mountPath"] == variables("secure")["TOCSIN_SECRETS_DIR"]
        assert environment == [{"configMapRef": {"name": "settings"}}]
    secrets = [yaml.safe_load(one["patch"])[0]["value"]["secret"] for one in parts]
    assert sorted(one["secretName"] for one in secrets) == sorted([*AGENTS, *OUTLETS, "operator"])

    given = {**variables(), **variables("secure"), "TOCSIN_SECRETS_DIR": str(tmp_path)}
    (tmp_path / "TOCSIN_KAFKA__SASL_USERNAME").write_text("fraud")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.kafka.security_protocol == "SASL_SSL"
    assert settings.kafka.sasl_username == "fraud"
    assert settings.redis.url.startswith("rediss://")
