"""The committed reference documents are those that the code generates."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from streams.cli.main import COMMANDS
from streams.cli.schemas import everything
from streams.reference import asyncapi
from streams.settings import Settings, variable_of

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
DOCUMENTS = everything()


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_committed_document_is_up_to_date(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")

    assert committed == DOCUMENTS[name], "run `tocsin schemas export`"


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(DOCUMENTS["asyncapi.json"])
    references = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            references.extend(v for k, v in node.items() if k == "$ref")
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(document)

    assert references
    for reference in references:
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_the_page_of_settings_names_each_with_its_variable() -> None:
    page = DOCUMENTS["settings.md"]
    for section, field in Settings.model_fields.items():
        for name in field.annotation.model_fields:
            if f"{section}.{name}" != "dashboard.oidc":  # a table of settings
                assert f"| `{section}.{name}`<br>`{variable_of(f'{section}.{name}')}` |" in page
    assert "| `kafka.ssl_cafile`<br>`TOCSIN_KAFKA__SSL_CAFILE` | file | unset | Authorities" in page
    assert "| `fraud.alerts_burst`<br>`TOCSIN_FRAUD__ALERTS_BURST` | number, 1 or more |" in page
    assert "`TOCSIN_DASHBOARD__OIDC__ISSUER`" in page
    assert "| `webhooks.endpoints.NAME.url` | text | required |" in page


def test_the_page_of_settings_tells_of_each_what_it_is() -> None:
    rows = re.findall(r"^\| `([\w.]+)`.*\| (.*) \|$", DOCUMENTS["settings.md"], re.MULTILINE)

    assert len(rows) > 100
    assert [name for name, said in rows if not said] == []


def test_the_page_of_metrics_has_their_labels_and_all_that_alarms_are_made_of() -> None:
    page = DOCUMENTS["metrics.md"]
    assert "| `tocsin_lag_records` | gauge | `agent`, `partition` |" in page
    assert "| `tocsin_camera_frames_total` | counter | `camera`, `fate` |" in page
    assert "| `tocsin_batch_size` | histogram | `agent` |" in page
    alarms = (FOLDER.parents[1] / "ops" / "prometheus" / "rules.yml").read_text()
    used = {
        re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\btocsin_\w+", alarms)
    }
    assert len(used) > 10
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_the_page_of_commands_has_every_command() -> None:
    for name in COMMANDS:
        assert f"### `tocsin {name}`\n" in DOCUMENTS["commands.md"]
    assert (
        "* `--doubtful`: Also what a run that was killed may have sent." in DOCUMENTS["commands.md"]
    )


def test_the_asyncapi_document_follows_the_topic_names() -> None:
    settings = Settings.model_validate({"topics": {"alerts": "bank.alerts", "dead_suffix": "-dlq"}})

    addresses = {channel["address"] for channel in asyncapi(settings)["channels"].values()}

    assert {"bank.alerts", "transactions-dlq", "labels-dlq"} <= addresses
