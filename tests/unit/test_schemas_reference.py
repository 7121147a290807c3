"""The committed reference documents are those that the code generates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.reference import asyncapi, documents
from streams.settings import Settings

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
DOCUMENTS = documents(Settings.model_construct())


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


def test_the_asyncapi_document_follows_the_topic_names() -> None:
    settings = Settings.model_validate({"topics": {"alerts": "bank.alerts", "dead_suffix": "-dlq"}})

    addresses = {channel["address"] for channel in asyncapi(settings)["channels"].values()}

    assert {"bank.alerts", "transactions-dlq", "labels-dlq"} <= addresses
