"""`tocsin dead-letters replay` on both brokers: once, whoever dies and whoever else is at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.admin import connect
from streams.cli.main import app
from streams.dead_letters import replay as replaying
from streams.dead_letters.fate import Fate, Report
from streams.dead_letters.index import Strangers, Wanted, find_letters
from streams.dead_letters.replay import replay
from streams.dead_letters.route import Order
from streams.dead_letters.sending import Send, sending
from streams.devstack import EmbeddedBroker, KafkaBroker
from streams.errors import BrokerError
from streams.pipeline.batch import Message
from streams.schemas import decode_alert
from streams.topics import TopicSpec, topic_table
from tests.conftest import Stack
from tests.fakes.letters import letter
from tests.fakes.model import random_model
from tests.fakes.records import payment
from tests.worker import Bed, Produced, bed_on, environment_of

CUT = (("tocsin-cut-bytes", b"7"),)
REPLAY_OF = "tocsin-replay-of"


@pytest.fixture
def bed(
    broker: EmbeddedBroker | KafkaBroker,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bed:
    bed = known(bed_on(broker.bootstrap, "memory://", namespace, tmp_path), monkeypatch)
    bed.create_topics()
    return bed


def known(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Bed:
    """Put the settings into the environment, where commands in this process find them."""
    for name, value in environment_of(bed.settings).items():
        monkeypatch.setenv(name, value)
    return bed


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["dead-letters", *arguments], env={"COLUMNS": "300"})


def in_state(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["state", *arguments], env={"COLUMNS": "300"})


def told(*arguments: str, status: int = 0) -> str:
    """The last line of a replay."""
    done = run("replay", *arguments)
    assert done.exit_code == status, done.output
    return done.stdout.splitlines()[-1]


def bury(bed: Bed, numbers: Sequence[int]) -> tuple[str, str]:
    """Letters of transactions; return the names of the topic and of its dead-letter topic."""
    source = bed.settings.topics.transactions
    dead = f"{source}.dead"
    bed.produce(dead, [letter(n, topic=source, partition=n % 2) for n in numbers])
    return source, dead


def test_letters_go_back_as_they_came_and_go_once(bed: Bed) -> None:
    topics = bed.settings.topics
    source, dead = bury(bed, range(5))
    cut = letter(7, topic=source, value=None)
    bed.produce(
        dead,
        [
            letter(5, topic=source, key=None, partition=3, headers=()),
            letter(6, topic=source, value=None),
            replace(cut, headers=[*cut.headers, *CUT]),
            letter(8, topic=topics.alerts),
            letter(9, topic=source, partition=4),
        ],
    )
    bed.produce(f"{topics.labels}.dead", [letter(0, topic=topics.labels)])
    bed.produce(f"{topics.frames}.dead", [letter(0, topic=topics.frames)])
    journals = [f"{topics.transactions}.dead.replayed", f"{topics.labels}.dead.replayed"]

    # 1. A dry run says what would be, and does nothing.
    dry = run("replay")
    assert dry.exit_code == 0, dry.output
    *table, last = dry.stdout.splitlines()
    assert last == (
        "8 to be sent, 0 replayed before, 0 in doubt, 4 cannot, 0 failed, 0 buried twice; "
        "nothing was sent: --yes sends"
    )
    assert [row.split()[0] for row in table] == ["letters", "7", "1", "1", "1", "1", "1"]
    for text in ("bytes are not there", "another topic", "not have its partition", "stale by now"):
        assert f"cannot: {text}" in dry.stdout or text in dry.stdout
    assert not any(bed.read(topic) for topic in (source, topics.labels, *journals))

    # 2. Sent: bytes, key, headers and partition are those of the original.
    assert told("--yes") == (
        "8 sent, 0 replayed before, 0 in doubt, 4 cannot, 0 failed, 0 buried twice"
    )
    back = {record.headers[-1][1]: record for record in bed.read(source)}
    assert back.keys() == {f"{dead}:0:{offset}".encode() for offset in range(7)}
    for offset in range(7):
        record = back[f"{dead}:0:{offset}".encode()]
        assert record.value == (None if offset == 6 else b'{"tx_id": "t%d"}' % offset)
        assert record.key == (None if offset == 5 else b"c%d" % offset)
        assert record.partition == (offset % 2 if offset < 5 else {5: 3, 6: 0}[offset])
        expected = () if offset == 5 else (("trace", b"\x00\x01"), ("trace", None))
        assert record.headers[:-1] == expected
        assert record.headers[-1][0] == REPLAY_OF
    assert [record.offset for record in bed.read(source) if record.partition == 0] == [0, 1, 2, 3]

    # 3. Not again, unless it is asked for.
    assert told("--yes", "--topic", source).startswith("0 sent, 7 replayed before, 0 in doubt")
    assert told(f"{dead}:0:3", "--yes", "--again").startswith("1 sent, 0 replayed before")
    assert told("--again", "--limit", "2", "--topic", dead).startswith("2 to be sent, 0 replayed")
    assert len(bed.read(source)) == 8

    # 4. What is buried again says so, and is another letter.
    headers = ((REPLAY_OF, f"{dead}:0:3".encode()),)
    bed.produce(dead, [letter(11, topic=source, headers=headers)])
    each = run("list", "--each", "--topic", source).stdout.splitlines()
    assert [f"replay of {dead}:0:3," in line for line in each] == [False] * 10 + [True]
    rows = [row.split()[:2] for row in run("list", "--topic", source).stdout.splitlines()]
    assert ["10", "1"] in rows
    assert told("--yes", "--topic", source).startswith("1 sent, 7 replayed before, 0 in doubt")
    (last,) = (r for r in bed.read(source) if dict(r.headers)[REPLAY_OF] == f"{dead}:0:10".encode())
    assert len(last.headers) == 1


class Killed(Exception):
    """Stands for a process that ends there and then."""


GONE = BrokerError("gone")


async def sent_by(
    bed: Bed, wrapped: Callable[[Send], Send], report: Report | None = None
) -> Report:
    report = report or Report()
    async with sending(bed.settings.kafka) as send:
        letters = find_letters(bed.settings, Wanted(), Strangers())
        await replay(bed.settings, letters, Order(), report, send=wrapped(send))
    return report


def killed(source: str, error: Exception, *, after: bool) -> Callable[[Send], Send]:
    """End with the records of the second chunk, before or after they are sent."""
    calls = 0

    def wrap(send: Send) -> Send:
        async def one(messages: Sequence[Message]) -> list[Message]:
            nonlocal calls
            calls += messages[0].topic == source
            if calls < 2:
                return await send(messages)
            if after:
                await send(messages)
            raise error

        return one

    return wrap


@pytest.mark.parametrize(("error", "after"), [(Killed(), False), (GONE, True)])
def test_what_a_run_that_ended_early_may_have_sent_is_in_doubt_and_sent_only_when_asked(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, error: Exception, after: bool
) -> None:
    monkeypatch.setattr(replaying, "CHUNK_LETTERS", 4)
    source, _ = bury(bed, range(12))
    report = Report()
    with pytest.raises(type(error)):
        asyncio.run(sent_by(bed, killed(source, error, after=after), report))
    assert (report.count(Fate.SENT), report.count(Fate.DOUBTFUL)) == (4, 4 * (error is GONE))
    assert len(bed.read(source)) == (8 if after else 4)

    again = ("--yes", "--topic", source)
    assert told(*again, status=1).startswith("4 sent, 4 replayed before, 4 in doubt")
    assert told(*again, "--doubtful").startswith("4 sent, 8 replayed before, 0 in doubt")
    sent = [record.value for record in bed.read(source)]
    assert len(set(sent)) == 12
    assert len(sent) == (16 if after else 12)


def test_two_runs_at_once_send_each_letter_once(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "CHUNK_LETTERS", 10)
    source, _ = bury(bed, range(40))

    async def both() -> list[Report]:
        # Both have chosen the same letters, and know of no claim, when the first claim is written.
        barrier = asyncio.Barrier(2)

        def together(send: Send) -> Send:
            calls = 0

            async def one(messages: Sequence[Message]) -> list[Message]:
                nonlocal calls
                calls += 1
                if calls == 1:
                    await barrier.wait()
                return await send(messages)

            return one

        return await asyncio.gather(*(sent_by(bed, together) for _ in range(2)))

    reports = asyncio.run(both())
    assert sum(report.count(Fate.SENT) for report in reports) == 40
    assert any(report.count(Fate.DOUBTFUL) + report.count(Fate.REPLAYED) for report in reports)
    sent = [record.value for record in bed.read(source)]
    assert len(sent) == len(set(sent)) == 40
    assert told("--topic", source).startswith("0 to be sent, 40 replayed before, 0 in doubt")


def test_a_run_that_is_told_to_stop_ends_its_chunk_and_leaves_no_doubt(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "CHUNK_LETTERS", 4)
    source, _ = bury(bed, range(12))

    async def stopped() -> None:
        def stop(send: Send) -> Send:
            async def one(messages: Sequence[Message]) -> list[Message]:
                if messages[0].topic == source:
                    task.cancel()
                return await send(messages)

            return one

        task = asyncio.ensure_future(sent_by(bed, stop))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert told("--yes", "--topic", source).startswith("8 sent, 4 replayed before, 0 in doubt")
    assert len(bed.read(source)) == 12


def test_a_record_that_a_crash_buried_twice_goes_back_once(bed: Bed) -> None:
    source, dead = bury(bed, [1, 2])
    bury(bed, [1, 3, 1])  # a worker that crashed read 1 again, and again
    # Of the topic that had the name before: the same place, another record.
    bed.produce(dead, [letter(1, topic=source, timestamp=1_600_000_000_000, value=b"before")])

    rest = "0 replayed before, 0 in doubt, 0 cannot, 0 failed, 2 buried twice"
    assert told("--topic", source).startswith(f"4 to be sent, {rest};")
    assert told("--yes", "--topic", source) == f"4 sent, {rest}"
    sent = [record.value for record in bed.read(source)]
    assert sorted(sent) == [b"before", *(b'{"tx_id": "t%d"}' % n for n in (1, 2, 3))]

    # The letter that stayed is as good as sent, by name too, and `--again` sends one of the two.
    assert told(f"{dead}:0:2", "--yes").startswith("0 sent, 1 replayed before")
    assert told("--yes", "--topic", source).startswith("0 sent, 6 replayed before")
    assert told("--topic", source, "--again").startswith("4 to be sent, 0 replayed before")
    assert len(bed.read(source)) == 4


def test_what_an_earlier_version_sent_or_claimed_by_the_letters_place_is_honoured(
    bed: Bed,
) -> None:
    source, dead = bury(bed, range(4))
    bury(bed, [0, 1])
    with connect(bed.settings.kafka) as cluster:
        topic_id = cluster.describe(dead).topic_id
    for offset, state in ((0, b"sent"), (1, b"sending")):
        key = f"{topic_id}:0:{offset}:{'ab' * 16}".encode()
        bed.produce(f"{dead}.replayed", [Produced(b'{"state":"%s","at":5}' % state, key)])

    # The letters at 4 and 5 are of the records of those at 0 and 1.
    again = ("--yes", "--topic", source)
    assert told(f"{dead}:0:4", "--yes").startswith("0 sent, 1 replayed before")
    assert told(*again, status=1).startswith("2 sent, 2 replayed before, 2 in doubt")
    assert told(*again, "--doubtful").startswith("1 sent, 4 replayed before, 0 in doubt")
    assert told(*again).startswith("0 sent, 6 replayed before, 0 in doubt")
    sent = [record.value for record in bed.read(source)]
    assert sorted(sent) == [b'{"tx_id": "t%d"}' % n for n in (1, 2, 3)]


def test_letters_of_a_topic_that_was_made_again_are_others(bed: Bed) -> None:
    source, dead = bury(bed, [1, 2])
    assert told("--yes", "--topic", source).startswith("2 sent")
    with connect(bed.settings.kafka) as cluster:
        cluster.delete(topics=[dead], groups=[])
    bed.create_topics()
    bury(bed, [3])

    assert told("--yes", "--topic", source).startswith("1 sent, 0 replayed before")
    assert len(bed.read(source)) == 3


def test_a_record_that_its_topic_no_longer_takes_fails_and_is_not_in_doubt(
    kafka_broker: KafkaBroker, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = known(bed_on(kafka_broker.bootstrap, "memory://", namespace, tmp_path), monkeypatch)
    source = bed.settings.topics.transactions
    with connect(bed.settings.kafka) as cluster:
        cluster.ensure([replace(spec_of(bed, source), config={"max.message.bytes": "20000"})])
    bed.create_topics()
    values = [b"small", bytes(30_000), b"also small", bytes(40_000), b"last"]
    bed.produce(
        f"{source}.dead", [letter(n, topic=source, value=value) for n, value in enumerate(values)]
    )

    rest = "replayed before, 0 in doubt, 0 cannot, 2 failed, 0 buried twice"
    assert told("--yes", "--topic", source, status=1) == f"3 sent, 0 {rest}"
    assert told("--yes", "--topic", source, status=1) == f"0 sent, 3 {rest}"
    assert [record.value for record in bed.read(source)] == values[::2]


def spec_of(bed: Bed, topic: str) -> TopicSpec:
    (found,) = (spec for spec in topic_table(bed.settings) if spec.name == topic)
    return found


def test_what_cannot_be_done_is_one_line_that_says_so(
    embedded_broker: EmbeddedBroker, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = known(bed_on(embedded_broker.bootstrap, "memory://", namespace, tmp_path), monkeypatch)
    topics = bed.settings.topics
    dead = f"{topics.transactions}.dead"
    journal = spec_of(bed, f"{dead}.replayed")
    specs = [spec for spec in topic_table(bed.settings) if spec.name != journal.name]
    with connect(bed.settings.kafka) as cluster:
        cluster.ensure(specs)
        for topic in (dead, topics.alerts):
            bed.produce(topic, [letter(0, topic=topics.transactions)])

        def complains(text: str, *arguments: str, status: int = 1) -> None:
            done = run("replay", *arguments)
            assert done.exit_code == status, done.output
            assert text in done.stderr, done.output
            assert len(done.stderr.splitlines()) == 1

        complains(f"topic {journal.name!r} does not exist: run `tocsin topics create`")
        cluster.ensure([replace(journal, partitions=4)])
        complains("partitions 4, not 1", "--yes")
        complains("name letters, or choose them by", f"{dead}:0:0", "--topic", "x", status=2)
        complains("write TOPIC:PARTITION:OFFSET", "a", status=2)
        complains("is not there", f"{dead}:0:1", "--yes")
        complains("is no dead-letter topic: one of", f"{topics.alerts}:0:0", status=2)
    assert bed.read(topics.transactions) == []


@pytest.mark.slow
def test_what_a_missing_rate_buried_counts_once_when_it_is_replayed_and_the_state_is_rebuilt(
    real_stack: Stack, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(tmp_path)
    bed = known(bed_on(*real_stack, namespace, tmp_path, model=model, threshold=0.0), monkeypatch)
    bed.create_topics()
    source, group = bed.settings.topics.transactions, bed.settings.fraud.group
    rate = '{"USD": 0.5}'
    values = [payment(tx_id=f"t{n}", card_id=f"c{n}", currency="USD") for n in range(20)]
    bed.produce(source, [Produced(value, b"c%d" % n) for n, value in enumerate(values)])

    def all_done() -> bool:
        return bed.lag(group, source) == 0

    try:
        with bed.worker() as worker:
            worker.until(all_done, "burial")
            assert worker.metric("tocsin_dead_letters_total") == 20
            assert worker.stop() == 0
        again = ("--yes", "--topic", source, "--reason", "no rate")
        assert told(*again).startswith("20 sent, 0 replayed before")
        with bed.worker(TOCSIN_FRAUD__RATES=rate) as worker:
            worker.until(all_done, "scores")
            assert worker.metric("tocsin_dead_letters_total") == 0
            assert worker.stop() == 0

        # Today the buried ones would do as well as their copies: neither a check nor a rebuild of
        # state that was lost takes both.
        monkeypatch.setenv("TOCSIN_FRAUD__RATES", rate)
        right = "20 of 20 cards compared over 40 records: 20 right, 0 wrong"
        assert right in in_state("check").stdout
        assert in_state("rebuild", "fraud", "--yes").exit_code == 0
        with bed.worker(TOCSIN_FRAUD__RATES=rate) as worker:
            worker.until_ready()
            worker.until(lambda: worker.metric("tocsin_events_total") == 20, "rebuild")
            assert worker.stop() == 0
        assert right in in_state("check").stdout
    finally:
        bed.close()
    alerts = [decode_alert(record.value) for record in bed.read(bed.settings.topics.alerts)]
    assert sorted(str(alert.detail["tx_id"]) for alert in alerts) == sorted(
        f"t{n}" for n in range(20)
    )
    assert told(*again).startswith("0 sent, 20 replayed before")
