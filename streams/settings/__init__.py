"""Settings of every command: flags, environment, files of secrets, a TOML file, the defaults here.

Environment names are ``TOCSIN_`` plus the path with double underscores between the levels, for
example ``TOCSIN_KAFKA__BOOTSTRAP_SERVERS``. In the directory that ``TOCSIN_SECRETS_DIR`` names, a
file of such a name holds the value, as Docker and Kubernetes mount secrets. The TOML file is
``tocsin.toml`` in the working directory, or the one that ``TOCSIN_CONFIG`` names. Settings are
frozen, built once by `load_settings` and passed in; nothing reads the environment after that.
"""

from streams.settings.agents import (
    DeliverySettings,
    FraudSettings,
    LabelsSettings,
    ModelsSettings,
    VisionSettings,
)
from streams.settings.load import Settings, is_secret, load_settings, variable_of
from streams.settings.outlets import (
    DashboardSettings,
    DashboardUser,
    OidcSettings,
    Webhook,
    WebhooksSettings,
    access_namespace,
    picture_namespace,
)
from streams.settings.process import HealthSettings, LogSettings, TracingSettings
from streams.settings.section import TlsSettings
from streams.settings.servers import PASSWORD_IN_URL, KafkaSettings, RedisSettings, TopicSettings

__all__ = [
    "PASSWORD_IN_URL",
    "DashboardSettings",
    "DashboardUser",
    "DeliverySettings",
    "FraudSettings",
    "HealthSettings",
    "KafkaSettings",
    "LabelsSettings",
    "LogSettings",
    "ModelsSettings",
    "OidcSettings",
    "RedisSettings",
    "Settings",
    "TlsSettings",
    "TopicSettings",
    "TracingSettings",
    "VisionSettings",
    "Webhook",
    "WebhooksSettings",
    "access_namespace",
    "is_secret",
    "load_settings",
    "picture_namespace",
    "variable_of",
]
