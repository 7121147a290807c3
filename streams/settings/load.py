"""The one tree of settings, and where it is read from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UnreadableSettings

from streams.errors import SettingsError
from streams.settings.agents import (
    DeliverySettings,
    FraudSettings,
    LabelsSettings,
    ModelsSettings,
    VisionSettings,
)
from streams.settings.outlets import DashboardSettings, WebhooksSettings
from streams.settings.process import HealthSettings, LogSettings, TracingSettings
from streams.settings.servers import KafkaSettings, RedisSettings, TopicSettings

DEFAULT_CONFIG = "tocsin.toml"


class Settings(BaseSettings):
    """Everything that can be set, in one frozen tree."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    topics: TopicSettings = TopicSettings()
    fraud: FraudSettings = FraudSettings()
    labels: LabelsSettings = LabelsSettings()
    vision: VisionSettings = VisionSettings()
    models: ModelsSettings = ModelsSettings()
    delivery: DeliverySettings = DeliverySettings()
    health: HealthSettings = HealthSettings()
    dashboard: DashboardSettings = DashboardSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank the sources: flags, environment, file."""
        path = Path(os.environ.get("TOCSIN_CONFIG", DEFAULT_CONFIG))
        return (
            init_settings,
            env_settings,
            NestedSecretsSettingsSource(
                file_secret_settings,
                secrets_dir=os.environ.get("TOCSIN_SECRETS_DIR") or None,
                secrets_dir_missing="error",
            ),
            TomlConfigSettingsSource(settings_cls, toml_file=path),
        )


def variable_of(path: str) -> str:
    """Return the environment variable of a setting, given as ``section.name``.

    Raises:
        SettingsError: there is no such setting.
    """
    section, _, name = path.partition(".")
    field = Settings.model_fields.get(section)
    if field is None or name not in getattr(field.annotation, "model_fields", ()):
        raise SettingsError(f"no setting is called {path!r}: tocsin config show lists them all")
    return f"TOCSIN_{section}__{name}".upper()


def is_secret(place: Sequence[str | int]) -> bool:
    """Whether a secret stands at a place of the settings, or anywhere below it."""
    kind: Any = Settings
    for part in place:
        fields = getattr(kind, "model_fields", None)
        if fields is None:
            kind = (get_args(kind) or (Any,))[-1]  # a table's values are all of one kind
        elif part in fields:
            kind = fields[part].annotation
        else:
            return False
    return _holds_secret(kind)


def _holds_secret(kind: Any) -> bool:
    fields = getattr(kind, "model_fields", {}).values()
    inner = (*get_args(kind), *(field.annotation for field in fields))
    return kind is SecretStr or any(map(_holds_secret, inner))


def load_settings(**overrides: Any) -> Settings:
    """Read flags (`overrides`, nested dictionaries), environment and file, in that order.

    Raises:
        SettingsError: a value is malformed or unknown; the message names it and its place.
    """
    named = os.environ.get("TOCSIN_CONFIG")
    if named and not Path(named).is_file():
        raise SettingsError(f"TOCSIN_CONFIG names {named!r}, which is not a file")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        # What stands under a name that we do not know may be a password too.
        hidden = first["type"] == "extra_forbidden" or is_secret(first["loc"])
        got = "" if hidden else f" (got {first['input']!r})"
        raise SettingsError(f"setting {place}: {first['msg']}{got}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{named or DEFAULT_CONFIG} is no TOML: {error}") from None
    except UnreadableSettings as error:
        secrets = os.environ.get("TOCSIN_SECRETS_DIR")
        if secrets and not Path(secrets).is_dir():
            raise SettingsError(f"TOCSIN_SECRETS_DIR names {secrets!r}, no directory") from None
        raise SettingsError(f"{error}: a table is given as JSON in the environment") from None
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename}: {error.strerror}") from None
