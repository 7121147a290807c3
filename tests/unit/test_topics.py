"""The table of topics."""

from __future__ import annotations

from streams.settings import Settings
from streams.topics import readers, topic_table

SETTINGS = Settings.model_validate(
    {
        "topics": {"transactions": "tx", "dead_suffix": ".dlq", "retention_days": 3},
        "kafka": {"max_request_bytes": 5_000_000},
    }
)


def test_the_table_holds_every_topic_under_its_configured_name() -> None:
    assert [spec.name for spec in topic_table(SETTINGS)] == [
        "tx",
        "labels",
        "frames",
        "alerts",
        "scores",
        "tracks",
        "audit",
        "tx.dlq",
        "labels.dlq",
        "frames.dlq",
        "alerts.dlq",
        "tx.dlq.replayed",
        "labels.dlq.replayed",
        "forgotten",
    ]


def test_retention_is_explicit_and_nothing_but_journals_and_what_is_forgotten_is_compacted() -> (
    None
):
    for spec in topic_table(SETTINGS):
        if spec.name.endswith((".replayed", "forgotten")):
            assert (spec.partitions, spec.config["cleanup.policy"]) == (1, "compact")
            assert "retention.ms" not in spec.config
            continue
        days = {"frames": 6 / 24, "tracks": 6 / 24, "audit": 400}.get(spec.name, 3)
        days += 8 * spec.name.endswith(".dlq")  # no letter goes before its record
        assert spec.config["retention.ms"] == str(round(days * 86_400_000))
        assert spec.config["cleanup.policy"] == "delete"


def test_a_dead_letter_may_be_as_large_as_any_record_that_we_produce() -> None:
    sizes = {
        spec.name: int(spec.config.get("max.message.bytes", 0)) for spec in topic_table(SETTINGS)
    }

    assert sizes["tx.dlq"] == 5_000_000
    assert sizes["tx"] == 1024 * 1024 + 12
    assert sizes["frames"] > SETTINGS.vision.max_frame_bytes


def test_the_groups_of_webhooks_are_found_without_their_settings() -> None:
    known = ["tocsin-webhooks-soc", "tocsin-webhooks", "tocsin-fraud-v3", "tocsin-webhooks-pager"]
    found = readers(SETTINGS, known)
    assert list(found) == [
        "tocsin-fraud",
        "tocsin-labels",
        "tocsin-vision",
        "tocsin-dashboard",
        "tocsin-webhooks-pager",
        "tocsin-webhooks-soc",
    ]
    assert found["tocsin-webhooks-soc"] == ("alerts",)


def test_an_endpoint_that_never_ran_is_a_reader_where_its_settings_are() -> None:
    endpoint = {"url": "http://soc.example/", "secret": "0123456789abcdef"}
    settings = Settings.model_validate({"webhooks": {"endpoints": {"soc": endpoint}}})
    assert "tocsin-webhooks-soc" in readers(settings, [])
