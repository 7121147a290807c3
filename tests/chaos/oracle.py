"""An independent answer to what the fraud agent must have done, one event at a time.

Nothing here shares code with the data path: JSON is decoded by the standard library, the card's
features are plain arithmetic, the network is a handful of matrix products over the weights file.
`expect` computes, `observe` reads Kafka and Redis, `compare` names every difference.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition
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

PRIOR_COUNT, PRIOR_MEAN, PRIOR_DEVIATION = 3.0, 3.6, 0.9
DAY_MS = 86_400_000


@dataclass(slots=True)
class Card:
    """A card after some of its transactions."""

    partition: int
    hidden: NDArray[np.float64]  # (H,)
    count: int = 0
    last_time: int = 0
    last_terminal: int = 0
    log_sum: float = 0.0
    log_sumsq: float = 0.0
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
        unknown = [0.0] * 6 + [math.log(61.0) - 2.0] * 3 + [1.0] * 3 + [0.0] * 5
        self._profile = w["from_profile.weight"] @ np.array(unknown)  # (P,) -> (M,)

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
        u = np.maximum(u + w["from_transaction.weight"] @ x + self._profile, 0.0)  # (M,)
        u = np.maximum(w["mix.weight"] @ u + w["mix.bias"], 0.0)
        logit = w["out.weight"][0] @ u + w["out.bias"][0]
        return float(_sigmoid(logit)), h


def expect(partitions: Sequence[Sequence[Record]], network: Network) -> Expected:
    """Process the records of each partition in their order."""
    cards: dict[str, Card] = {}
    scores: dict[Place, float] = {}
    dead: dict[Place, bytes | None] = {}
    for partition, records in enumerate(partitions):
        for offset, (_, value) in enumerate(records):
            event = _decoded(value)
            if event is None:
                dead[partition, offset] = value
                continue
            card = cards.get(event["card_id"])
            if card is None:
                card = cards[event["card_id"]] = Card(partition, np.zeros(network.hidden))
            x = _advance(card, event)
            scores[partition, offset], card.hidden = network.step(x, card.hidden)
            card.offset = offset
    ends = {partition: len(records) for partition, records in enumerate(partitions)}
    return Expected(cards, scores, dead, ends)


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
    log_amount = math.log(1.0 + amount)
    weight = card.count + PRIOR_COUNT
    mean = (card.log_sum + PRIOR_COUNT * PRIOR_MEAN) / weight
    square = (card.log_sumsq + PRIOR_COUNT * (PRIOR_MEAN**2 + PRIOR_DEVIATION**2)) / weight
    deviation = math.sqrt(max(square - mean**2, 0.01))
    ratio = log_amount - mean
    gap_s = max(time - card.last_time, 0) / 1000 if card.count else 30 * 86_400.0
    minute, weekday = time % DAY_MS // 60_000, (time // DAY_MS + 3) % 7
    clock, calendar = minute * 2 * math.pi / 1440, weekday * 2 * math.pi / 7
    features = (
        log_amount - PRIOR_MEAN,
        min(amount, 500.0) * 0.01 - 0.5,
        min(max(ratio / deviation, -6.0), 6.0) * 0.5,
        min(max(ratio, -4.0), 4.0),
        mean - PRIOR_MEAN,
        deviation - PRIOR_DEVIATION,
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
    grain = round(log_amount * 4096) / 4096
    card.count += 1
    card.last_time, card.last_terminal = time, terminal
    card.log_sum += grain
    card.log_sumsq += grain**2
    return np.array(features, np.float64)


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


class Commits:
    """Watches the commits of a group."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        self._partitions = [TopicPartition(topic, p) for p in _ends(self._consumer, topic)]

    def now(self) -> dict[int, int]:
        """Commit of each partition; 0 where there is none."""
        found = self._consumer.committed(self._partitions, 10)
        return {tp.partition: max(tp.offset, 0) for tp in found}

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
    letters = dict(observed.dead)
    for place in expected.dead.keys() - letters.keys():
        report.wrong("dead letters lost", f"{place}")
    for place in letters.keys() - expected.dead.keys():
        report.wrong("dead letters invented", f"{place}")
    for place in letters.keys() & expected.dead.keys():
        report.wrong("dead letters changed", f"{place}", letters[place] != expected.dead[place])
    for partition, end in expected.ends.items():
        commit, marker = observed.commits.get(partition, 0), observed.markers[partition]
        report.wrong("commits off the log end", f"{commit}, not {end}", commit != end)
        report.wrong("markers off the log end", f"{marker}, not {end - 1}", marker != end - 1)
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
    sums = np.array([state["log_sum"] - card.log_sum, state["log_sumsq"] - card.log_sumsq])
    report.wrong("sums wrong", f"{name}: off by {sums}", bool((np.abs(sums) > 1e-6).any()))
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
