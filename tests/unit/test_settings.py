"""Settings: one frozen tree out of flags, environment and file, and one line when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.errors import SettingsError
from streams.settings import is_secret, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine reaches a test."""
    import os

    for name in os.environ:
        if name.startswith("TOCSIN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_a_worker_on_this_machine() -> None:
    settings = load_settings()

    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert settings.redis.url == "redis://127.0.0.1:6379/0"
    assert settings.health.host == "127.0.0.1"


def test_flags_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tocsin.toml").write_text(
        '[fraud]\ngroup = "file"\ncurrency = "CHF"\ndevice = "cpu"\n[fraud.rates]\nEUR = 0.95\n'
    )
    monkeypatch.setenv("TOCSIN_FRAUD__GROUP", "environment")
    monkeypatch.setenv("TOCSIN_FRAUD__CURRENCY", "USD")

    fraud = load_settings(fraud={"group": "flag"}).fraud

    assert (fraud.group, fraud.currency, fraud.device) == ("flag", "USD", "cpu")
    assert fraud.rates == {"EUR": 0.95}


def test_another_file_is_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text("[health]\nport = 1234\n")
    monkeypatch.setenv("TOCSIN_CONFIG", "other.toml")
    assert load_settings().health.port == 1234

    monkeypatch.setenv("TOCSIN_CONFIG", "missing.toml")
    with pytest.raises(SettingsError, match=r"'missing\.toml', which is not a file"):
        load_settings()


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.fraud.group = "other"
    with pytest.raises(ValidationError, match="frozen"):
        settings.fraud = settings.fraud


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("TOCSIN_FRAUD__THRESHOLD", "1.5", "fraud.threshold"),
        ("TOCSIN_FRAUD__THRESHOLD", "high", "fraud.threshold"),
        ("TOCSIN_FRAUD__CAPACITY", "10", "fraud.capacity"),
        ("TOCSIN_FRAUD__MAX_AMOUNT", "0", "fraud.max_amount"),
        ("TOCSIN_DELIVERY__MAX_BATCH", "0", "delivery.max_batch"),
        ("TOCSIN_DELIVERY__FLUSH_INTERVAL_S", "0", "delivery.flush_interval_s"),
        ("TOCSIN_HEALTH__PORT", "99999", "health.port"),
        ("TOCSIN_KAFKA__SECURITY_PROTOCOL", "TLS", "kafka.security_protocol"),
        ("TOCSIN_LOG__LEVEL", "LOUD", "log.level"),
        ("TOCSIN_TOPICS__PARTITIONS", "0", "topics.partitions"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, place: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=place) as caught:
        load_settings()
    assert value in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_setting_is_refused_without_telling_what_stands_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOCSIN_REDIS__PASWORD", "hunter2")
    with pytest.raises(SettingsError, match=r"redis\.pasword: Extra inputs") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_a_password_is_in_no_print_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_REDIS__PASSWORD", "hunter2")
    monkeypatch.setenv("TOCSIN_KAFKA__SASL_PASSWORD", "hunter3")
    settings = load_settings()

    assert settings.redis.password.get_secret_value() == "hunter2"
    assert "hunter" not in repr(settings)
    assert "hunter" not in settings.model_dump_json()


def test_a_file_that_is_no_toml_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text("[fraud\n")
    with pytest.raises(SettingsError, match=r"tocsin\.toml is no TOML: .*line 1") as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_a_table_in_the_environment_is_json_and_a_broken_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOCSIN_FRAUD__RATES", '{"USD": 0.9}')
    assert load_settings().fraud.rates == {"USD": 0.9}
    monkeypatch.setenv("TOCSIN_FRAUD", "{broken")
    with pytest.raises(SettingsError, match="fraud") as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_a_file_of_secrets_is_named_like_a_variable_and_gives_way_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As Kubernetes mounts them: links to a folder that is replaced as a whole.
    secrets, real = tmp_path / "secrets", tmp_path / "secrets" / "..2026"
    real.mkdir(parents=True)
    (secrets / "..data").symlink_to(real)
    for name, value in {
        "TOCSIN_KAFKA__SASL_PASSWORD": "hunter2\n",
        "tocsin_redis__password": "hunter3",
        "somebody-elses": "hunter4",
    }.items():
        (real / name).write_text(value)
        (secrets / name).symlink_to(Path("..data") / name)
    monkeypatch.setenv("TOCSIN_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("TOCSIN_REDIS__PASSWORD", "from-the-environment")

    settings = load_settings()

    assert settings.kafka.sasl_password.get_secret_value() == "hunter2"
    assert settings.redis.password.get_secret_value() == "from-the-environment"


def test_a_directory_of_secrets_that_is_none_and_a_misspelt_file_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOCSIN_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"TOCSIN_SECRETS_DIR names .*nowhere', no directory"):
        load_settings()

    (tmp_path / "TOCSIN_KAFKA__SASL_PASWORD").write_text("hunter2")
    monkeypatch.setenv("TOCSIN_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"kafka\.sasl_pasword: Extra inputs") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "secret"),
    [
        (("kafka", "sasl_password"), True),
        (("redis", "password"), True),
        (("redis", "ssl_password"), True),
        (("webhooks", "endpoints"), True),
        (("webhooks", "endpoints", "desk"), True),
        (("webhooks", "endpoints", "desk", "secret"), True),
        (("webhooks", "endpoints", "desk", "url"), False),
        (("dashboard", "users", "ann", "token"), True),
        (("kafka", "sasl_username"), False),
        (("fraud", "rates", "USD"), False),
        (("fraud", "model"), False),
        (("nothing",), False),
    ],
)
def test_where_secrets_stand_is_known(place: tuple[str, ...], secret: bool) -> None:
    assert is_secret(place) is secret


def test_a_secret_that_is_refused_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_WEBHOOKS__ENDPOINTS__DESK__URL", "https://desk.example/")
    monkeypatch.setenv("TOCSIN_WEBHOOKS__ENDPOINTS__DESK__SECRET", "hunter2")
    with pytest.raises(SettingsError, match="at least 16") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
