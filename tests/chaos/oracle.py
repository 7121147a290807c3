"""An independent answer to what the fraud agent must have done, one event at a time.

Nothing here shares code with the data path: JSON is decoded by the standard library, the card's
features are plain arithmetic, the network is a handful of matrix products over the weights file.
`expect` computes, `observe` reads Kafka and Redis, `compare` names every difference.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from numpy.typing import NDArray
from redis import Redis
from safetensors.numpy import load_file

from models.fraud.features import CARD_STATE
from streams.settings import RedisSettings
from streams.state.redis import RedisStateStore
from streams.state.store import digests
from streams.state.table import parse_rows, row_dtype
from tests.chaos.events import Record

Place = tuple[int, int]
"""Partition and offset."""

HIDDEN_TOLERANCE = 1e-3
SCORE_TOLERANCE = 1e-4
"""Float32 in batches against float64 one by one differ by 1e-6; a transaction that is skipped or
applied twice moves a card's memory by 1e-2 and more."""

EARLIEST_MS, MAX_AMOUNT = 946_684_800_000, 1e9
LATEST_MS = 4_000_000_000_000
"""The events lie in 2018, the bad ones of the far future in 2100: no clock is needed."""

PRIOR_MEAN, PRIOR_VARIANCE = 50.0, 625.0
LARGE_RATIO, LARGE_KEPT = 2.0, 16
LAST_DAY = 60
"""Ages of a terminal's labels stop here: its table of learned rows has one more."""

DAY_MS = 86_400_000


@dataclass(slots=True)
class Card:
    """A card after some of its transactions."""

    partition: int
    hidden: NDArray[np.float64]  # (H,)
    count: int = 0
    last_time: int = 0
    last_terminal: int = 0
    mean: float = 0.0
    variance: float = 0.0
    large: list[tuple[int, float]] = field(default_factory=list)
    """Time and ratio of every transaction far above the usual amount."""
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be there once every record has had its fate."""

    cards: dict[str, Card]
    scores: dict[Place, float]
    dead: dict[Place, bytes | None]
    ends: dict[int, int]


class Network:
    """The fraud network in float64, for one transaction at a time."""

    def __init__(self, weights: Path) -> None:
        w = {name: value.astype(np.float64) for name, value in load_file(weights).items()}
        self._w = w
        self.hidden = w["gru.weight_hh_l0"].shape[1]
        # No terminal has a label here: nothing counted, every date too long ago to matter.
        unknown = [LAST_DAY / 30 - 1.0] * 7 + [0.0] * 5 + [-1.5, 0.0, 2.0, 0.0, 2.5, 0.0, 0.0]
        unknown += [0.0] * 3 + [-0.7, -1.5, -2.0]
        self._profile = w["from_profile.weight"] @ np.array(unknown)  # (P,) -> (M,)
        days = LAST_DAY + 1
        self._profile += sum(w["rows.weight"][table * days + LAST_DAY] for table in range(3))
        self._amounts = w["rows.weight"][3 * days :]  # (steps + 1, M)
        scale, shape = w["hazard"]
        self._unseen = np.exp(scale) * days**shape  # of a terminal without labels

    def step(
        self, x: NDArray[np.float64], h: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """(F,) features and (H,) memory -> score, (H,) memory."""
        w, n = self._w, self.hidden
        i = w["gru.weight_ih_l0"] @ x + w["gru.bias_ih_l0"]  # (3 H,)
        g = w["gru.weight_hh_l0"] @ h + w["gru.bias_hh_l0"]
        reset, update = _sigmoid(i[:n] + g[:n]), _sigmoid(i[n : 2 * n] + g[n : 2 * n])
        h = (1 - update) * np.tanh(i[2 * n :] + reset * g[2 * n :]) + update * h
        u = w["from_memory.weight"] @ h + w["from_memory.bias"]
        step = int((w["amount_steps"] < float(np.float32(x[0]))).sum())
        u = u + w["from_transaction.weight"] @ x + self._profile + self._amounts[step]  # (M,)
        u = _gelu(w["mix.weight"] @ _gelu(u) + w["mix.bias"])
        logit = w["out.weight"][0] @ u + w["out.bias"][0]
        hazard = np.log1p(np.exp(logit)) + self._unseen
        logit = np.log(np.expm1(hazard))
        slope, offset = w["calibration"]
        return float(_sigmoid(logit * slope + offset)), h


def expect(
    partitions: Sequence[Sequence[Record]],
    network: Network,
    poison: Collection[Place] = (),
) -> Expected:
    """Process the records of each partition in their order; `poison` cannot be scored."""
    places = (
        ((partition, offset), value)
        for partition, records in enumerate(partitions)
        for offset, (_, value) in enumerate(records)
    )
    ends = {partition: len(records) for partition, records in enumerate(partitions)}
    return expect_at(places, network, ends, poison)


def expect_at(
    records: Iterable[tuple[Place, bytes | None]],
    network: Network,
    ends: Mapping[int, int],
    poison: Collection[Place] = (),
) -> Expected:
    """Process records where they lie, those of a partition in its order."""
    cards: dict[str, Card] = {}
    scores: dict[Place, float] = {}
    dead: dict[Place, bytes | None] = {}
    for place, value in records:
        event = None if place in poison else _decoded(value)
        if event is None:
            dead[place] = value
            continue
        card = cards.get(event["card_id"])
        if card is None:
            card = cards[event["card_id"]] = Card(place[0], np.zeros(network.hidden))
        x = _advance(card, event)
        scores[place], card.hidden = network.step(x, card.hidden)
        card.offset = place[1]
    return Expected(cards, scores, dead, dict(ends))


def threshold_in_a_gap(scores: Mapping[Place, float], share: float) -> float:
    """A threshold that about `share` of the scores reach, as far from all of them as can be."""
    ranked = np.sort(np.array(list(scores.values())))
    first, last = (int(len(ranked) * (1 - share * part)) for part in (1.2, 0.8))
    window = ranked[first:last]
    widest = int(np.argmax(np.diff(window)))
    return float(window[widest] + window[widest + 1]) / 2


def _decoded(value: bytes | None) -> dict[str, Any] | None:
    """The payment in a record; None where the contract of the topic makes it a dead letter."""
    try:
        event = json.loads(value or b"")
    except ValueError:
        return None
    texts = [event.get(name) for name in ("tx_id", "card_id", "terminal_id", "currency")]
    amount, time = event.get("amount"), event.get("event_time")
    good = (
        all(isinstance(text, str) and text for text in texts)
        and isinstance(amount, int | float)
        and 0 <= amount <= MAX_AMOUNT
        and isinstance(time, int)
        and EARLIEST_MS <= time <= LATEST_MS
        and event["currency"] == "EUR"
    )
    return event if good else None


def _advance(card: Card, event: Mapping[str, Any]) -> NDArray[np.float64]:
    """Features of one transaction; its card moves on."""
    amount, time = float(event["amount"]), int(event["event_time"])
    terminal = zlib.crc32(event["terminal_id"].encode())
    known = min(card.count, 200)
    usual = (card.mean * known + PRIOR_MEAN) / (known + 1)
    deviation = math.sqrt((card.variance * known + PRIOR_VARIANCE) / (known + 1))
    times = amount / usual
    gap_s = max(time - card.last_time, 0) / 1000 if card.count else 30 * 86_400.0
    minute, weekday = time % DAY_MS // 60_000, (time // DAY_MS + 3) % 7
    clock, calendar = minute * 2 * math.pi / 1440, weekday * 2 * math.pi / 7
    features = (
        math.log(1.0 + amount) - 3.6,
        min(amount, 500.0) * 0.01 - 0.5,
        min(max((amount - usual) / deviation, -3.0), 15.0) / 3.0,
        min(math.log(max(times, 0.02)), 4.0),
        min(times, 8.0) * 0.5 - 0.5,
        math.log(usual) - 3.8,
        min(deviation / usual, 3.0) - 0.5,
        math.log(1.0 + gap_s) * 0.25 - 2.5,
        gap_s < 60,
        gap_s < 3600,
        math.sin(clock),
        math.cos(clock),
        minute < 7 * 60,
        math.sin(calendar),
        math.cos(calendar),
        weekday >= 5,
        card.count > 0 and card.last_terminal == terminal,
        math.log(1.0 + card.count) * 0.25,
    )
    if times >= LARGE_RATIO:
        card.large.append((time, min(times, 100.0)))
    counted = min(amount, 3.0 * usual) if card.count >= 3 else amount
    card.count += 1
    card.last_time, card.last_terminal = time, terminal
    share = max(1.0 / card.count, 0.005)
    off = counted - card.mean
    card.mean += share * off
    card.variance = (1.0 - share) * (card.variance + share * off**2)
    return np.array(features, np.float64)


def _gelu(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0))) for v in values.tolist()])


def _sigmoid(value: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-value))


# -- what is there --------------------------------------------------------------------------------
@dataclass(slots=True)
class Observed:
    """What Redis and Kafka hold; a test may tamper with it."""

    rows: dict[str, NDArray[Any] | None]
    """Record of each card, None where there is none."""

    hidden: dict[str, NDArray[np.float32]]
    markers: dict[int, int]
    keys: int
    """Keys of the namespace that are rows."""

    alerts: list[dict[str, Any]]
    """In the order of the topic, repeated ones included."""

    dead: list[tuple[Place, bytes | None]]
    commits: dict[int, int]
    ahead: list[tuple[int, int, int]] = field(default_factory=list)
    """Partition, commit and marker of the moments in which a commit was ahead."""

    set_back: list[tuple[int, int, int]] = field(default_factory=list)
    """Partition, marker, and the higher one before it, where nobody had touched Redis."""


def observe(
    expected: Expected,
    *,
    bootstrap: str,
    redis_url: str,
    group: str,
    topic: str,
    alerts: str,
    commits: dict[int, int],
) -> Observed:
    """Read back what the workers left behind."""
    names = list(expected.cards)
    homes = np.array([expected.cards[name].partition for name in names], np.int32)
    hidden = len(next(iter(expected.cards.values())).hidden)
    store = RedisStateStore(RedisSettings(url=redis_url), group)
    try:
        stored = store.load(homes, digests(names))
        markers = store.markers(sorted(expected.ends))
    finally:
        store.close()
    rows: dict[str, NDArray[Any] | None] = dict.fromkeys(names)
    memory = {}
    for name, value in zip(names, stored, strict=True):
        if value is not None:
            records, tails = parse_rows([value], row_dtype(CARD_STATE), hidden * 4)
            rows[name] = records.copy()[0]
            memory[name] = np.frombuffer(tails[0].tobytes(), "<f4")
    return Observed(
        rows=rows,
        hidden=memory,
        markers={p: -1 if marker is None else marker for p, marker in markers.items()},
        keys=_row_keys(redis_url, group),
        alerts=[json.loads(value or b"") for _, value, _ in read_topic(bootstrap, alerts)],
        dead=[
            _letter(value, headers) for _, value, headers in read_topic(bootstrap, f"{topic}.dead")
        ],
        commits=commits,
    )


def read_topic(
    bootstrap: str, topic: str
) -> list[tuple[Place, bytes | None, list[tuple[str, bytes]]]]:
    """Everything on `topic`: place, value, headers; each partition in its order."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "oracle", "enable.auto.commit": False}
    )
    try:
        ends = _ends(consumer, topic)
        consumer.assign([TopicPartition(topic, p, 0) for p in ends])
        left, found = sum(ends.values()), []
        while left > 0:
            for message in consumer.consume(min(left, 5000), 5.0):
                assert message.error() is None, message.error()
                place = message.partition(), message.offset()
                found.append((place, message.value(), message.headers() or []))
                left -= 1
        return sorted(found, key=lambda record: record[0])
    finally:
        consumer.close()


COORDINATOR_S = 60.0
"""Until a broker that restarts on a busy machine knows its groups again."""


class Commits:
    """Watches the commits of a group."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0}
        )
        self._topic = topic

    def now(self) -> dict[int, int]:
        """Commit of each partition, 0 where there is none; waits for a broker that restarts."""
        deadline = time.monotonic() + COORDINATOR_S
        while True:
            try:
                known = self._consumer.list_topics(self._topic, 10).topics[self._topic].partitions
                asked = [TopicPartition(self._topic, p) for p in known]
                found = self._consumer.committed(asked, 10)
            except KafkaException:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return {tp.partition: max(tp.offset, 0) for tp in found}

    def lags(self) -> dict[int, int]:
        """Records of each partition that are not committed."""
        commits = self.now()
        return {p: end - commits[p] for p, end in _ends(self._consumer, self._topic).items()}

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def _ends(consumer: Consumer, topic: str) -> dict[int, int]:
    known = consumer.list_topics(topic, 10).topics[topic].partitions
    return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in known}


def _row_keys(redis_url: str, group: str) -> int:
    """Count the keys of a namespace that are neither owner, marker nor identity."""
    fences = (b"}:owner:", b"}:marker:", b":identity")
    with Redis.from_url(redis_url, protocol=2) as client:
        keys = list(client.scan_iter(f"{group}:*", count=10_000))
    return sum(1 for key in keys if not any(fence in key for fence in fences))


def _letter(value: bytes | None, headers: list[tuple[str, bytes]]) -> tuple[Place, bytes | None]:
    ours = dict(headers)
    return (int(ours["tocsin-partition"]), int(ours["tocsin-offset"])), value


# -- the difference -------------------------------------------------------------------------------
@dataclass(slots=True)
class Report:
    """What is wrong (`problems`, empty if nothing) and what is worth knowing."""

    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    borderline: int = 0
    """Alerts that rounding may decide either way."""

    repeated: list[Place] = field(default_factory=list)
    """Alerts that went out again under the same id, once for each repetition."""

    repeated_letters: int = 0
    """Dead letters that went out again."""

    hidden_error: float = 0.0
    score_error: float = 0.0

    def wrong(self, what: str, example: str, count: int = 1) -> None:
        """Add `count` problems of one kind."""
        if count:
            self.problems[what] += count
            self.examples.setdefault(what, example)


def compare(expected: Expected, observed: Observed, *, topic: str, threshold: float) -> Report:
    """Hold what is there to what must be there."""
    report = Report()
    for name, card in expected.cards.items():
        _compare_card(report, name, card, observed)
    extra = observed.keys - len(expected.cards)
    report.wrong("unknown rows", f"{observed.keys} rows", max(extra, 0))
    _compare_alerts(report, expected, observed, topic, threshold)
    letters = {place for place, _ in observed.dead}
    report.repeated_letters = len(observed.dead) - len(letters)
    for place in expected.dead.keys() - letters:
        report.wrong("dead letters lost", f"{place}")
    for place in letters - expected.dead.keys():
        report.wrong("dead letters invented", f"{place}")
    for place, value in observed.dead:
        due = expected.dead.get(place, value)
        report.wrong("dead letters changed", f"{place}", value != due)
    for partition, end in expected.ends.items():
        commit, marker = observed.commits.get(partition, 0), observed.markers[partition]
        report.wrong("commits off the log end", f"{commit}, not {end}", commit != end)
        report.wrong("markers off the log end", f"{marker}, not {end - 1}", marker != end - 1)
    for partition, commit, marker in observed.ahead:
        told = f"partition {partition}: commit {commit}, marker {marker}"
        report.wrong("commits ahead of the state", told)
    for partition, marker, before in observed.set_back:
        report.wrong("markers set back", f"partition {partition}: {marker} after {before}")
    return report


def _compare_card(report: Report, name: str, card: Card, observed: Observed) -> None:
    row = observed.rows.get(name)
    if row is None:
        report.wrong("cards lost", name)
        return
    state, offset = row["state"], int(row["offset"])
    count = int(state["count"])
    told = f"{name}: {count} events up to offset {offset}, not {card.count} up to {card.offset}"
    report.wrong("events lost", told, max(card.count - count, 0))
    report.wrong("events applied twice", told, max(count - card.count, 0))
    report.wrong("offsets wrong", told, offset != card.offset)
    exact = (int(state["last_time"]), int(state["last_terminal"]))
    report.wrong("last times wrong", told, exact != (card.last_time, card.last_terminal))
    usual = np.array([state["mean"], state["variance"]])
    close = np.allclose(usual, [card.mean, card.variance], rtol=1e-9, atol=1e-9)
    report.wrong("usual amounts wrong", f"{name}: {usual}", not close)
    kept = range(max(len(card.large) - LARGE_KEPT, 0), len(card.large))
    places = [number % LARGE_KEPT for number in kept]
    due = np.array([card.large[number] for number in kept]).reshape(-1, 2)
    remembered = (
        int(state["large_count"]) == len(card.large)
        and (state["large_time"][places] == due[:, 0]).all()
        and np.allclose(state["large_ratio"][places], due[:, 1], rtol=1e-5)
    )
    report.wrong("large transactions wrong", f"{name}: not {len(card.large)}", not remembered)
    error = float(np.abs(observed.hidden[name] - card.hidden).max())
    report.hidden_error = max(report.hidden_error, error)
    report.wrong("memories wrong", f"{name}: off by {error}", not error <= HIDDEN_TOLERANCE)


def _compare_alerts(
    report: Report, expected: Expected, observed: Observed, topic: str, threshold: float
) -> None:
    seen: set[Place] = set()
    for alert in observed.alerts:
        source = alert["source"]
        place = (source["partition"], source["offset"])
        name = f"{topic}:{place[0]}:{place[1]}:fraud"
        report.wrong("alert ids wrong", f"{alert['id']}, not {name}", alert["id"] != name)
        if place in seen:
            report.repeated.append(place)
        seen.add(place)
        if place in expected.scores:
            error = abs(alert["score"] - expected.scores[place])
            report.score_error = max(report.score_error, error)
            report.wrong("scores wrong", f"{name}: off by {error}", error > SCORE_TOLERANCE)
    due = {place for place, score in expected.scores.items() if score >= threshold}
    for place in due ^ seen:
        distance = abs(expected.scores.get(place, math.inf) - threshold)
        if distance < SCORE_TOLERANCE:
            report.borderline += 1
        else:
            report.wrong("alerts lost" if place in due else "alerts invented", f"{place}")
