"""What each role is allowed, and that nobody is allowed more than it uses."""

from __future__ import annotations

import hashlib

import pytest

from streams.rights import ROLES, KafkaRight, Role, kafka_rights, redis_rule, redis_user
from streams.settings import Settings
from streams.topics import topic_table

SETTINGS = Settings.model_construct()
RENAMED = Settings.model_validate(
    {
        "topics": {"alerts": "bank.alerts", "dead_suffix": "-dlq"},
        "fraud": {"group": "bank*[1]", "publish_scores": True},
        "redis": {"username": "anna", "password": "hunter2"},
    }
)


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_granted_on_everything(role: str) -> None:
    names = [right.name for right in kafka_rights(role, SETTINGS)]  # type: ignore[arg-type]
    rule = redis_rule(role, SETTINGS) or ""  # type: ignore[arg-type]

    assert names
    assert not any("*" in name for name in names)
    assert not {"~*", "allkeys", "+@all", "allcommands", "allchannels"} & set(rule.split())


def test_only_who_must_write_transactions_may() -> None:
    writers = {
        role
        for role in ROLES
        if KafkaRight("topic", "transactions", "Write") in kafka_rights(role, SETTINGS)
    }

    # The latter two send dead letters back.
    assert writers == {"payments", "simulator", "operator", "dashboard"}


def test_rights_follow_the_names_and_what_is_switched_on() -> None:
    fraud = kafka_rights("fraud", RENAMED)

    assert KafkaRight("topic", "bank.alerts", "Write") in fraud
    assert KafkaRight("topic", "transactions-dlq", "Write") in fraud
    assert KafkaRight("topic", "scores", "Write") in fraud
    assert KafkaRight("group", "bank*[1]", "Read") in fraud
    webhooks = KafkaRight("group", "tocsin-webhooks-", "Read", is_prefix=True)
    assert webhooks in kafka_rights("webhooks", RENAMED)
    assert not any(right.name == "scores" for right in kafka_rights("fraud", SETTINGS))


def test_the_page_may_look_up_what_both_agents_remember() -> None:
    rule = (redis_rule("dashboard", SETTINGS) or "").split()

    assert {"%R~tocsin-fraud:*", "%R~tocsin-labels:*", "+mget"} <= set(rule)


@pytest.mark.parametrize("role", ["operator", "dashboard", "monitor"])
def test_who_watches_is_told_of_every_topic_and_every_group(role: Role) -> None:
    rights = kafka_rights(role, SETTINGS)
    implied = ("Describe", "Read", "Write")
    seen = {(one.resource, one.name) for one in rights if one.operation in implied}
    groups = [SETTINGS.fraud.group, SETTINGS.labels.group, SETTINGS.vision.group]

    assert {("topic", spec.name) for spec in topic_table(SETTINGS)} <= seen
    assert {("group", group) for group in (*groups, SETTINGS.dashboard.group)} <= seen
    assert KafkaRight("group", "tocsin-webhooks-", "Describe", is_prefix=True) in rights


def test_a_line_of_an_acl_file_holds_a_hash_and_keys_that_match_nothing_else() -> None:
    line = redis_user("fraud", RENAMED) or ""

    assert line.startswith(f"user anna reset on #{hashlib.sha256(b'hunter2').hexdigest()} ")
    assert r"~bank\*\[1\]:*" in line.split()
    assert "hunter2" not in line
    assert redis_user("payments", RENAMED) is None
