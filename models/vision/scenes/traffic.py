"""Who is on the street when: everything that moves, as a function of the seed and of time alone.

Each stream (a pavement in one direction, a lane, the crossing) has slots of a few seconds; what
comes in slot k is drawn from (seed, stream, k). So any moment can be asked for, in any order and at
any frame rate, and is always the same.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from models.vision.scenes import people, vehicles
from models.vision.scenes.street import Street

PERSON, VEHICLE = 0, 1

_PAST_S = 90.0  # slots begin that long before t = 0: longer than anyone stays


@dataclass(frozen=True, slots=True)
class Actor:
    """Someone or something on its way through the view.

    Attributes:
        object_id: unique in its world.
        times: (K,) seconds, rising; it is there from the first to the last.
        xs: (K,) metres, where it is at these times.
        zs: (K,) metres.
    """

    object_id: int
    look: people.PersonLook | vehicles.VehicleLook
    times: tuple[float, ...]
    xs: tuple[float, ...]
    zs: tuple[float, ...]

    @property
    def class_id(self) -> int:
        """`PERSON` or `VEHICLE`."""
        return PERSON if isinstance(self.look, people.PersonLook) else VEHICLE

    def way(self, t: float) -> float:
        """Metres walked or driven by then."""
        way = 0.0
        for k in range(1, len(self.times)):
            leg = math.hypot(self.xs[k] - self.xs[k - 1], self.zs[k] - self.zs[k - 1])
            way += leg * self._done(k, t)
        return way

    def at(self, t: float) -> tuple[float, float]:
        """(x, z) in metres; before its first and after its last moment it stands at the ends."""
        k = min(max(1, bisect.bisect_right(self.times, t)), len(self.times) - 1)
        done = self._done(k, t)
        x = self.xs[k - 1] + done * (self.xs[k] - self.xs[k - 1])
        return x, self.zs[k - 1] + done * (self.zs[k] - self.zs[k - 1])

    def _done(self, k: int, t: float) -> float:
        """Part of the k-th leg that is behind it, in [0, 1]."""
        took = self.times[k] - self.times[k - 1]
        return min(1.0, max(0.0, (t - self.times[k - 1]) / took)) if took else 1.0


@dataclass(frozen=True, slots=True)
class _Stream:
    kind: str
    near: bool
    direction: float
    period_s: float
    chance: float
    speed: float
    stay_s: float


class Traffic:
    """All actors of a world."""

    def __init__(self, seed: int, street: Street) -> None:
        self._seed, self._street = seed, street
        rng = np.random.default_rng([seed, 1])
        self._streams = _streams(rng)
        self._parked = _parked(rng, street)
        self._cache: dict[tuple[int, int], list[Actor]] = {}

    def present(self, t: float) -> list[Actor]:
        """Those who are on the street at `t` seconds, t >= 0; some of them beside the view."""
        found = list(self._parked)
        for number, stream in enumerate(self._streams):
            last = math.floor((t + _PAST_S) / stream.period_s)
            first = max(0, last - math.ceil(stream.stay_s / stream.period_s))
            for slot in range(first, last + 1):
                actors = self._slot(number, slot)
                found += [actor for actor in actors if actor.times[0] <= t <= actor.times[-1]]
        return found

    def _slot(self, number: int, slot: int) -> list[Actor]:
        key = (number, slot)
        if key not in self._cache:
            if len(self._cache) > 4096:
                self._cache.clear()
            self._cache[key] = self._draw(number, slot)
        return self._cache[key]

    def _draw(self, number: int, slot: int) -> list[Actor]:
        stream = self._streams[number]
        rng = np.random.default_rng([self._seed, 2, number, slot])
        if rng.random() > stream.chance:
            return []
        # No later than a third of the slot: 13 m from one bus to the next at the slowest.
        begin = slot * stream.period_s - _PAST_S + float(rng.uniform(0, 0.3)) * stream.period_s
        # Room for two in a slot and for the parked vehicles below.
        identity = (slot * len(self._streams) + number + 1) * 2 + len(self._parked)
        if stream.kind == "lane":
            return [_drive(rng, self._street, stream, begin, identity)]
        walk = _cross if stream.kind == "crossing" else _stroll
        first = walk(rng, self._street, stream, begin, identity)
        if rng.random() > 0.25:
            return [first]
        # A companion: the same way, a step behind and beside.
        back, aside = float(rng.uniform(0.5, 1.0)), float(rng.choice([-0.4, 0.4]))
        return [
            first,
            Actor(
                identity + 1,
                people.draw_look(rng),
                first.times,
                tuple(x - back * stream.direction for x in first.xs),
                tuple(z + aside for z in first.zs),
            ),
        ]


def _streams(rng: np.random.Generator) -> tuple[_Stream, ...]:
    busy = float(rng.uniform(0.5, 1.1))
    streams = []
    for direction in (-1.0, 1.0):
        streams += [
            _Stream("pavement", False, direction, 9.0, 0.75 * busy, 0.0, 75.0),
            _Stream("pavement", True, direction, 8.0, 0.75 * busy, 0.0, 60.0),
            _Stream("crossing", False, direction, 17.0, 0.7 * busy, 0.0, 40.0),
            _Stream(
                "lane", direction > 0, direction, 3.5, 0.7 * busy, float(rng.uniform(5.5, 9)), 12.0
            ),
        ]
    return tuple(streams)


def _drive(
    rng: np.random.Generator, street: Street, stream: _Stream, begin: float, identity: int
) -> Actor:
    """At the lane's speed, so that nobody runs into the one ahead."""
    look, z = vehicles.draw_look(rng), street.lane_z(stream.near)
    reach = street.reach(z) + look.length_m / 2
    ends = (-reach * stream.direction, reach * stream.direction)
    return Actor(identity, look, (begin, begin + 2 * reach / stream.speed), ends, (z, z))


def _stroll(
    rng: np.random.Generator, street: Street, stream: _Stream, begin: float, identity: int
) -> Actor:
    """Along a pavement; one in five stops for a while."""
    low, high = (
        (7.6, street.near_kerb_z - 0.5)
        if stream.near
        else (
            street.far_kerb_z + 0.6,
            street.houses_z - 0.5,
        )
    )
    z0, z1 = rng.uniform(low, high, 2).tolist()
    reach = street.reach(max(z0, z1)) + 1.0
    speed = float(rng.uniform(0.9, 1.7))
    stops = float(rng.uniform(2.0, 12.0)) if rng.random() < 0.2 else 0.0
    part = float(rng.uniform(0.2, 0.8))
    x0, x1 = -reach * stream.direction, reach * stream.direction
    rest_x, rest_z = x0 + part * (x1 - x0), z0 + part * (z1 - z0)
    walk = 2 * reach / speed
    times = (begin, begin + part * walk, begin + part * walk + stops, begin + walk + stops)
    return Actor(
        identity, people.draw_look(rng), times, (x0, rest_x, rest_x, x1), (z0, rest_z, rest_z, z1)
    )


def _cross(
    rng: np.random.Generator, street: Street, stream: _Stream, begin: float, identity: int
) -> Actor:
    """From one pavement, over the crossing, to the other; waits at the kerb."""
    far, near = (street.far_kerb_z + street.houses_z) / 2, float(rng.uniform(8.0, 10.5))
    x = street.crossing_x + float(rng.uniform(-0.35, 0.35)) * street.crossing_m
    side = float(rng.choice([-1.0, 1.0]))
    start, end = (far, near) if stream.direction > 0 else (near, far)
    kerbs = (street.far_kerb_z + 0.4, street.near_kerb_z - 0.4)
    kerb = kerbs[0 if stream.direction > 0 else 1]
    xs = [side * (street.reach(start) + 1.0), x, x, x, x, -side * (street.reach(end) + 1.0)]
    zs = [start, start, kerb, kerb, end, end]
    speed, wait = float(rng.uniform(1.0, 1.6)), float(rng.uniform(0.0, 5.0))
    times = [begin]
    for k in range(1, len(xs)):
        way = math.hypot(xs[k] - xs[k - 1], zs[k] - zs[k - 1])
        times.append(times[-1] + (way / speed if way > 0 else wait))
    return Actor(identity, people.draw_look(rng), tuple(times), tuple(xs), tuple(zs))


def _parked(rng: np.random.Generator, street: Street) -> tuple[Actor, ...]:
    """Up to two cars that stand in the bay and never leave."""
    z = street.bay_z + 0.5
    reach = street.reach(z)
    parked: list[Actor] = []
    for number in range(int(rng.integers(0, 3))):
        look = vehicles.draw_look(rng)
        x = (number - 0.5) * reach + float(rng.uniform(-0.35, 0.35)) * reach
        if look.body in ("lorry", "bus") or abs(x - street.crossing_x) < 4.3:
            continue
        ever = (0.0, math.inf)
        parked.append(Actor(len(parked) + 1, look, ever, (x, x), (z, z)))
    return tuple(parked)
