"""Virtual time, and the processes that share it.

Every process has an event loop and threads of its own. Each of them is an `Actor` that does one
thing at a time; the clock lets one of those that can go on take a step, drawn by chance, and jumps
to the next timer when none can. A step is atomic: a process dies between two of them, or in the
middle of one where the code asks the store or the broker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, NoReturn

Step = Callable[[], object]


class Died(BaseException):
    """Unwinds the step in which its process died; nothing may catch it."""


class TooLong(Exception):
    """A history takes more steps than any that ends."""


class Actor:
    """A thread: steps in the order in which they were given."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.steps: deque[Any] = deque()
        self.busy = False
        """In the middle of a step: it waits for something."""
        self.queued = False
        process.actors.append(self)

    def soon(self, step: Any) -> None:
        """Take `step` behind those that were given before."""
        self.steps.append(step)
        if not self.queued:
            self.process.clock.wake(self)

    def take(self, step: Any) -> None:
        """Take a step; what is no call is for others to say."""
        step()


class Process:
    """What dies together."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.clock, self.name = clock, name
        self.actors: list[Actor] = []
        self.alive = True
        self.stopped = False
        """Between SIGSTOP and SIGCONT."""
        self.steps_left = -1
        """Dies before the step at which this is 0; never while it is negative."""
        self.on_death: Callable[[], object] = _nothing

    def die(self) -> None:
        """Take no step any more; for calls from outside the process."""
        if self.alive:
            self.alive = False
            for actor in self.actors:
                actor.steps.clear()
            self.on_death()

    def exit(self) -> NoReturn:
        """Die in the middle of a step of its own."""
        self.die()
        raise Died

    def stop(self) -> None:
        """Stand still until `go_on`."""
        self.stopped = True

    def go_on(self) -> None:
        """Take steps again."""
        self.stopped = False
        for actor in self.actors:
            self.clock.wake(actor)


class Clock:
    """Runs actors in virtual seconds.

    Args:
        random: draws who takes the next step.
        limit: steps after which a history is given up.
    """

    def __init__(self, random: Random, limit: int = 2_000_000) -> None:
        self.now = 0.0
        self.steps = 0
        self._acting: Actor | None = None
        self._limit = limit
        self._random = random.random
        self._count = 0
        self._timers: list[tuple[float, int, Process | None, Step]] = []
        self._ready: list[Actor] = []

    def wake(self, actor: Actor) -> None:
        """Let an actor that has something to do take part; harmless if it does already."""
        if not actor.queued and actor.steps and not actor.busy:
            actor.queued = True
            self._ready.append(actor)

    def at(self, when: float, step: Step, process: Process | None = None) -> None:
        """Call `step` at a time; not if `process` is dead by then."""
        self._count += 1
        heappush(self._timers, (when, self._count, process, step))

    def after(self, seconds: float, step: Step, process: Process | None = None) -> None:
        """Call `step` in a while; not if `process` is dead by then."""
        self.at(self.now + seconds, step, process)

    def run(self, until: float, done: Callable[[], bool] | None = None) -> None:
        """Take steps until a time, or until `done` says so whenever time would move on.

        Raises:
            TooLong: that takes too many.
        """
        while True:
            while self._step():
                pass
            if (done is not None and done()) or not self._timers or self._timers[0][0] > until:
                if done is None or not done():
                    self.now = max(self.now, until)
                return
            self._advance()

    def sleep(self, seconds: float) -> None:
        """Block whoever acts in the middle of its step, while the others go on.

        Raises:
            Died: its process did, meanwhile.
        """
        actor, until = self._acting, self.now + seconds
        if actor is None:
            raise RuntimeError("nobody acts")
        process = actor.process
        self.at(until, _nothing)
        while process.alive and (self.now < until or process.stopped):
            if not self._step():
                self._advance()
        if not process.alive:
            raise Died

    def _advance(self) -> None:
        """Go to the next timer, and take all that are due."""
        self.now = max(self.now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.now:
            _, _, process, step = heappop(self._timers)
            if process is None or process.alive:
                step()

    def _step(self) -> bool:
        """Let one actor take a step; whether there was one that could."""
        ready = self._ready
        while ready:
            place = int(self._random() * len(ready))
            actor = ready[place]
            process = actor.process
            if actor.busy or process.stopped or not actor.steps:
                ready[place] = ready[-1]
                ready.pop()
                actor.queued = False
                continue
            self.steps += 1
            if self.steps > self._limit:
                raise TooLong(f"{self.steps} steps and no end at {self.now:.1f} s")
            process.steps_left -= 1
            if process.steps_left == 0:
                process.die()
                continue
            self._take(actor)
            return True
        return False

    def _take(self, actor: Actor) -> None:
        before, self._acting, actor.busy = self._acting, actor, True
        try:
            actor.take(actor.steps.popleft())
        except Died:
            pass
        finally:
            self._acting, actor.busy = before, False
        if not actor.queued:
            self.wake(actor)


def _nothing() -> None:
    """Do nothing: a timer that only makes time move on."""
