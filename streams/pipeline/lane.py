"""Two threads in a row: a batch is prepared on the first while the one before it is inferred.

Batches, freezes and drops pass through the same two queues, so a freeze covers exactly the
batches submitted before it. An exception on either thread reaches the future of its caller: one
that was lost between the two would leave the worker waiting for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from streams.metrics import Metrics
from streams.pipeline.batch import Batch, CameraKey, CameraWatcher, Detector, Outcome
from streams.state.store import PartitionSnapshot

T = TypeVar("T")


class Aborted(Exception):
    """The batch was not tried, because one before it failed."""


class Thread(Protocol):
    """Runs calls one after another, in the order of submission; of an executor, what is used."""

    def submit(self, call: Callable[..., object], /, *args: Any) -> object:
        """Run `call` behind those that were submitted before."""

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Run nothing any more; `wait` for what runs, or not."""


class Lane:
    """A detector's threads. Call from the event loop only.

    Args:
        detector: both halves of the work.
        metrics: told of the time that each takes.
        threads: for the halves; two of its own unless others are given.
    """

    def __init__(
        self,
        detector: Detector,
        metrics: Metrics,
        threads: tuple[Thread, Thread] | None = None,
    ) -> None:
        self._detector = detector
        self._metrics = metrics
        self._broken = False
        self._prepare, self._infer = threads or (
            ThreadPoolExecutor(1, "prepare"),
            ThreadPoolExecutor(1, "infer"),
        )

    def submit(self, batch: Batch) -> asyncio.Future[Outcome]:
        """Prepare and infer `batch`.

        After a batch has failed, those behind it fail with `Aborted` until `drop` resets the
        lane: their rows would continue from rows that were half advanced.
        """

        def prepare() -> Any:
            with self._guarded(), self._metrics.stage("prepare"):
                return self._detector.prepare(batch)

        def infer(prepared: Any) -> Outcome:
            with self._guarded(), self._metrics.stage("infer"):
                return self._detector.infer(prepared)

        return self._through(prepare, infer)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        if self._broken:
            raise Aborted("a batch before this one failed")
        try:
            yield
        except BaseException:
            self._broken = True
            raise

    def snapshot(
        self, sequence: int, markers: Mapping[int, int]
    ) -> asyncio.Future[list[PartitionSnapshot]]:
        """Copy what changed up to batch `sequence`, the last one submitted."""
        return self._through(
            lambda: self._detector.freeze(sequence),
            lambda frozen: list(self._detector.pack(frozen, markers)),
        )

    def drop(self, partitions: set[int] | None) -> asyncio.Future[None]:
        """Forget rows, after everything submitted before has run; the lane is whole again."""

        def reset(_: None) -> None:
            self._broken = False

        return self._through(lambda: self._detector.drop(partitions), reset)

    def silent(
        self, watcher: CameraWatcher, read_to: Mapping[int, float]
    ) -> asyncio.Future[Mapping[CameraKey, float]]:
        """Ask who is silent, once everything submitted before has run; see `CameraWatcher`.

        Fails with `Aborted` where a batch has failed.
        """

        def known() -> Any:
            with self._guarded():
                return watcher.known(read_to)

        def silent(known: Any) -> Mapping[CameraKey, float]:
            with self._guarded():
                return watcher.silent(known, read_to)

        return self._through(known, silent)

    def flushed(self, sequence: int) -> asyncio.Future[None]:
        """Tell the detector that rows up to batch `sequence` are stored."""
        return self._through(lambda: self._detector.flushed(sequence), lambda _: None)

    def reject(self, batch: Batch, reason: str) -> asyncio.Future[Outcome]:
        """Turn a batch that cannot be scored into dead letters."""
        return self._through(lambda: self._detector.reject(batch, reason), lambda done: done)

    def probe(self) -> asyncio.Future[None]:
        """See whether the device works, once everything submitted before has run."""
        return self._through(lambda: None, lambda _: self._detector.probe())

    def close(self) -> None:
        """Stop the threads without waiting for what they do."""
        self._prepare.shutdown(wait=False, cancel_futures=True)
        self._infer.shutdown(wait=False, cancel_futures=True)

    def _through(self, first: Callable[[], Any], second: Callable[[Any], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():  # the caller gave up on it
                return
            if isinstance(error, StopIteration):  # which a future does not take
                error = RuntimeError(f"StopIteration from a detector: {error}")
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def report(result: T | None, error: BaseException | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, error)

        def run_second(value: Any) -> None:
            try:
                report(second(value), None)
            except BaseException as error:  # noqa: BLE001 - becomes the caller's exception
                report(None, error)

        def run_first() -> None:
            try:
                self._infer.submit(context.copy().run, run_second, first())
            except BaseException as error:  # noqa: BLE001 - becomes the caller's exception
                report(None, error)

        context = copy_context()  # so that what is logged names the span of the caller
        self._prepare.submit(context.run, run_first)
        return future
