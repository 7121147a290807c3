"""`tocsin dead-letters` as a command, on both brokers: what is listed, and what is shown."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.devstack import EmbeddedBroker, KafkaBroker
from tests.fakes.letters import letter
from tests.nursery import nursery
from tests.worker import TOCSIN, Bed, Produced, bed_on, environment_of

BYTES = bytes(range(256)) * 40


@pytest.fixture
def bed(broker: EmbeddedBroker | KafkaBroker, namespace: str, tmp_path: Path) -> Bed:
    bed = bed_on(broker.bootstrap, "memory://", namespace, tmp_path)
    bed.create_topics()
    return bed


def run(bed: Bed, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [*TOCSIN, "dead-letters", *arguments]
    given = {**environment_of(bed.settings), "COLUMNS": "300"}
    return nursery().run(command, given, bed.folder)


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_letters_are_listed_by_kind_and_one_by_one_and_shown_byte_by_byte(
    bed: Bed, tmp_path: Path
) -> None:
    topics = bed.settings.topics
    assert lines(run(bed, "list")) == ["no dead letters"]
    dead, labels = f"{topics.transactions}.dead", f"{topics.labels}.dead"
    letters = [letter(n, topic=topics.transactions) for n in range(5)]
    odd = letter(9, topic=topics.transactions, reason="no rate", value=BYTES, key=None)
    bed.produce(dead, [*letters, odd, Produced(b"no letter", partition=0)])
    bed.produce(labels, [letter(0, topic=topics.labels, reason="too old", value=None)])

    # 1. Kinds, the most frequent first.
    table = run(bed, "list")
    assert table.stderr == (
        f"warning: 1 records are no dead letters, for example {dead}:0:6: not a dead letter: "
        "header tocsin-reason is missing\n"
    )
    head, *rows = lines(table)
    assert head.split() == [
        "letters",
        "again",
        "topic",
        "step",
        "first",
        "last",
        "newest",
        "reason",
    ]
    assert [row.split()[0] for row in rows] == ["5", "1", "1"]
    assert f"{dead}:0:4" in rows[0]
    assert "amount N EUR is above the limit" in rows[0]
    kinds = [json.loads(line) for line in lines(run(bed, "list", "--json", "--limit", "1"))]
    assert [kind["letters"] for kind in kinds] == [5]

    # 2. One by one: by topic, by reason, by time, the newest.
    each = lines(run(bed, "list", "--each"))
    assert len(each) == 7
    found = [json.loads(line) for line in lines(run(bed, "list", "--each", "--json"))]
    assert [one["letter"] for one in found[:6]] == [f"{dead}:0:{n}" for n in range(6)]
    assert len(lines(run(bed, "list", "--each", "--topic", topics.labels))) == 1
    assert len(lines(run(bed, "list", "--each", "--reason", "NO RATE"))) == 1
    at = [one["buried_at"] for one in found]
    assert lines(run(bed, "list", "--each", "--since", "0s")) == []
    assert len(lines(run(bed, "list", "--each", "--since", "1h"))) == 7
    assert lines(run(bed, "list", "--each", "--until", "1h")) == []
    newest = [json.loads(x) for x in lines(run(bed, "list", "--each", "--json", "--limit", "2"))]
    assert [one["buried_at"] for one in newest] == sorted(at)[-2:]

    # 3. In full.
    file = tmp_path / "original"
    shown = lines(run(bed, "show", f"{dead}:0:5", "--save", str(file)))
    assert file.read_bytes() == BYTES
    assert f"from      {topics.transactions}:0:9, sent 2023-11-14 22:13:20" in shown
    assert "header    trace: \\x00\\x01" in shown
    assert "header    trace: null" in shown


def test_what_is_no_letter_is_one_line_that_says_so(bed: Bed, tmp_path: Path) -> None:
    topics = bed.settings.topics
    dead = f"{topics.transactions}.dead"
    bed.produce(dead, [Produced(b"no letter", partition=0), letter(1, topic="x", value=None)])
    complaints = {
        ("show", f"{dead}:0:0"): (1, "not a dead letter: header tocsin-reason is missing"),
        ("show", f"{dead}:0:2"): (1, f"{dead}:0:2 is not there"),
        ("show", f"{dead}:99:0"): (1, f"{dead}:99:0 is not there"),
        ("show", "nothing:0:0"): (1, "topic 'nothing' does not exist"),
        ("show", "nothing"): (2, "write TOPIC:PARTITION:OFFSET"),
        ("show", f"{dead}:0:1", "--save", str(tmp_path / "x")): (2, "its value is null"),
        ("list", "--topic", topics.scores): (2, f"one of {topics.transactions}, "),
        ("list", "--since", "yesterday"): (2, "2h for two hours ago"),
    }
    for arguments, (status, text) in complaints.items():
        done = run(bed, *arguments)
        assert done.returncode == status, done.stderr
        assert text in " ".join(done.stderr.replace("│", " ").split())
