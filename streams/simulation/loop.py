"""An asyncio event loop, a thread pool and single threads on the virtual clock."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

from typing_extensions import override

from streams.simulation.clock import Actor, Died, Process

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Duration = Callable[[], float]


class _LoopActor(Actor):
    """Runs the handles of a loop, which is the running one meanwhile and until another's turn."""

    def __init__(self, process: Process, loop: VirtualLoop) -> None:
        super().__init__(process)
        self._loop = loop

    @override
    def take(self, step: Any) -> None:
        if not step._cancelled:
            if events._get_running_loop() is not self._loop:
                events._set_running_loop(self._loop)
            step._run()


class VirtualLoop(asyncio.AbstractEventLoop):
    """The event loop of one process: what asyncio's tasks, locks and timeouts need, no more.

    Args:
        process: whose loop it is.
        duration: draws the seconds that a call on the thread pool takes.
    """

    def __init__(self, process: Process, duration: Duration) -> None:
        self._clock = process.clock
        self._process = process
        self._actor = _LoopActor(process, self)
        self._duration = duration
        self._idle: list[Thread] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self.errors: list[BaseException] = []
        """What a callback raised; nobody else hears of it."""

    # -- what runs on it ----------------------------------------------------------------------
    @override
    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if self._process.alive:
            self._actor.soon(handle)
        return handle

    call_soon_threadsafe = call_soon

    @override
    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)

        def due() -> None:
            if not handle.cancelled():
                self._actor.soon(handle)

        self._clock.at(when, due, self._process)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled handle is skipped when its time comes."""

    @override
    def time(self) -> float:
        return self._clock.now

    @override
    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    @override
    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **options)
        self._tasks.append(task)
        return task

    def abandon(self) -> None:
        """Close what never ended, once its process is dead and no step of it is under way."""
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine: Any = task.get_coro()
                coroutine.close()
        self._tasks.clear()

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call `func` on a thread of its own, in a while."""
        thread = self._idle.pop() if self._idle else Thread(self._process, self._duration)
        future: asyncio.Future[T] = self.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def call() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - becomes the caller's exception
                self.call_soon(settle, None, error)
            else:
                self.call_soon(settle, result, None)
            self._idle.append(thread)

        thread.submit(call)
        return future

    # -- what it is asked ---------------------------------------------------------------------
    @override
    def is_running(self) -> bool:
        return True

    @override
    def is_closed(self) -> bool:
        return not self._process.alive

    @override
    def get_debug(self) -> bool:
        return False

    @override
    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised, for the history to fail with.

        Whatever else asyncio complains of (a task that is destroyed, an exception that nobody has
        fetched) is the end of a process, or has been told to someone.
        """
        error = context.get("exception")
        if isinstance(error, Died):
            return
        if "handle" in context and error is not None:
            self.errors.append(error)


class Thread:
    """A thread on which calls run one after another; each takes `duration` seconds first.

    It stands in for `ThreadPoolExecutor(1)`: of that, `submit` and `shutdown`.
    """

    def __init__(self, process: Process, duration: Duration) -> None:
        self._actor = Actor(process)
        self._duration = duration
        self._waiting: list[Callable[[], object]] = []
        self._working = False

    def submit(self, call: Callable[..., object], /, *args: Any) -> None:
        """Run `call` behind those that were submitted before; what it raises is lost."""
        process = self._actor.process
        if not process.alive:
            return
        self._waiting.append(lambda: call(*args))
        if not self._working:
            self._working = True
            self._next(process)

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Run nothing any more."""
        del wait
        if cancel_futures:
            self._waiting.clear()

    def _next(self, process: Process) -> None:
        process.clock.after(self._duration(), lambda: self._actor.soon(self._work), process)

    def _work(self) -> None:
        try:
            if self._waiting:
                self._waiting.pop(0)()
        finally:
            self._working = bool(self._waiting)
            if self._working and self._actor.process.alive:
                self._next(self._actor.process)
