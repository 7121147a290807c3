"""The one way back from a batch that failed: forget, replay, halve down to the culprit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from streams.errors import Stuck, TocsinError
from streams.pipeline.batch import Batch, Outcome
from streams.pipeline.lane import Lane

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 64
"""Records that fail one after another. One is poison; this many in a row are a broken network or
device, and burying the whole topic one record at a time would be worse than stopping."""

PROBES_S = (0.0, 0.1, 0.5, 2.0)
"""Pauses before each look at a device that fails. One that is short of memory may be back at once;
one that is lost needs another process."""


class Recovery:
    """Replays batches one at a time from the last flush.

    Args:
        lane: whose rows are dropped first, so that each batch finds them as they were flushed.
        publish: step 4 of the delivery contract.
        write: step 5; takes snapshots, the sequence that they cover, and the outcomes.
        release: step 6; publishes what was held until then.
        covered: gives the markers of a flush of batches up to these offsets, by partition.
    """

    def __init__(
        self,
        lane: Lane,
        publish: Callable[[Outcome], Awaitable[None]],
        write: Callable[[list[Any], int, Sequence[Outcome]], Awaitable[None]],
        release: Callable[[Sequence[Outcome]], Awaitable[None]],
        covered: Callable[[Mapping[int, int]], Mapping[int, int]],
    ) -> None:
        self._lane, self._publish, self._write = lane, publish, write
        self._release, self._covered = release, covered
        self._held: list[tuple[Batch, str]] = []

    async def replay(self, batches: Sequence[Batch]) -> None:
        """Give every record of `batches` its fate; all of it is flushed on return.

        Alerts that went out before the failure go out again under the same ids.

        Raises:
            Stuck: the device fails, or record after record does; none of those was buried.
        """
        await self._lane.drop(None)
        for batch in batches:
            await self._settle(batch)
        ends, buried = await self._bury()
        if buried:
            await self._flush(batches[-1], ends, buried)

    async def _settle(self, batch: Batch) -> None:
        """Score `batch`, or halve it until the record that fails stands alone.

        1. Try it. 2. If it fails, halve it. 3. A record that fails alone while the device works is
        tried once more: the device may have been away. 4. Hold it if that fails too. 5. Publish.
        6. Flush, so that a later failure does not come back to here; then what was held goes out.
        """
        outcome = await self._try(batch)  # Step 1.
        if isinstance(outcome, Exception) and len(batch.records) > 1:  # Step 2.
            for half in batch.halves():
                await self._settle(half)
            return
        if isinstance(outcome, Exception):  # Step 3.
            await self._probe()
            outcome = await self._try(batch)
        if isinstance(outcome, Exception):  # Step 4.
            self._hold(batch, outcome)
            return
        ends, buried = await self._bury()  # Step 5.
        await self._publish(outcome)
        await self._flush(batch, {**ends, **batch.ends}, [*buried, outcome])  # Step 6.
        await self._release([outcome])

    async def _try(self, batch: Batch) -> Outcome | Exception:
        """Score `batch`; where it fails, go back to the last flush and return why."""
        try:
            return await self._lane.submit(batch)
        except TocsinError:
            raise  # not the record's fault
        except Exception as error:  # noqa: BLE001 - becomes a dead letter
            await self._lane.drop(None)
            return error

    async def _probe(self) -> None:
        """Return once the device can infer anything at all: then it is the record.

        Raises:
            Stuck: it cannot.
        """
        why: Exception | None = None
        for pause_s in PROBES_S:
            await asyncio.sleep(pause_s)
            try:
                await self._lane.probe()
            except Exception as error:  # noqa: BLE001 - ends the process
                why = error
            else:
                return
        raise Stuck(
            f"nothing can be scored ({why}): check the model and the device, then start the worker "
            "again; nothing was lost"
        ) from why

    def _hold(self, batch: Batch, error: Exception) -> None:
        """Keep a record that fails alone until another one succeeds: then it is the record."""
        reason = f"scoring failed: {type(error).__name__}: {error}"
        log.error("offset %d: %s", batch.records[0].offset, reason)
        self._held.append((batch, reason))
        if len(self._held) > GIVE_UP_AFTER:
            raise Stuck(
                f"{len(self._held)} records in a row cannot be scored ({error}): check the model "
                "and the device, then start the worker again; nothing was lost"
            ) from error

    async def _bury(self) -> tuple[dict[int, int], list[Outcome]]:
        """Publish what was held as dead letters; return how far that reaches, to be flushed."""
        held, self._held = self._held, []
        ends: dict[int, int] = {}
        buried = []
        for batch, reason in held:
            buried.append(await self._lane.reject(batch, reason))
            await self._publish(buried[-1])
            ends.update(batch.ends)
        return ends, buried

    async def _flush(self, batch: Batch, ends: dict[int, int], outcomes: list[Outcome]) -> None:
        snapshot = self._lane.snapshot(batch.sequence, self._covered(ends))
        await self._write(await snapshot, batch.sequence, outcomes)
