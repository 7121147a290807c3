"""Send records back to the topic and partition that they came from, and none twice unasked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from streams.dead_letters.fate import Fate, Report
from streams.dead_letters.index import Letter
from streams.dead_letters.journal import Journal
from streams.dead_letters.route import Order, Route, find_route
from streams.dead_letters.sending import Send
from streams.errors import BrokerError
from streams.pipeline.batch import Message
from streams.schemas import REPLAY_OF_HEADER
from streams.settings import Settings

CHUNK_LETTERS = 500
"""Letters claimed, sent and settled together: so many are in doubt when a run is killed."""

CHUNK_BYTES = 8 * 1024 * 1024
"""A chunk is in memory; it ends with the letter that reaches this."""


async def replay(
    settings: Settings,
    letters: AsyncGenerator[Letter, None],
    order: Order,
    report: Report,
    *,
    send: Send | None = None,
    progress: Callable[[int], None] = lambda sent: None,
) -> None:
    """Send `letters` back, in their order; without `send` only say in `report` what would be sent.

    When it is cancelled it ends the chunk that it is at.

    Raises:
        BrokerError: no broker answers, or a topic is missing. What had been claimed is in doubt.
        SettingsError: a letter is not of a dead-letter topic.
    """
    routes: dict[str, Route] = {}
    chunk: list[Letter] = []
    chosen: set[str] = set()
    size = 0

    async def end_chunk() -> None:
        nonlocal size
        journal = routes[chunk[0].dead_topic].journal if chunk else None
        if journal is not None and send is not None:
            await _to_the_end(_send_chunk(journal, chunk, send, report))
            progress(report.count(Fate.SENT))
        chunk.clear()
        size = 0

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(aclosing(letters))
        async for letter in letters:
            if chunk and chunk[0].dead_topic != letter.dead_topic:
                await end_chunk()
            if letter.dead_topic not in routes:
                route = await asyncio.to_thread(find_route, settings, letter.dead_topic)
                routes[letter.dead_topic] = route
                if route.journal is not None:
                    stack.push_async_callback(route.journal.close)
                    await route.journal.read()
            if letter.record in chosen:
                report.add(letter, Fate.TWIN)
                continue
            fate, why = routes[letter.dead_topic].fate(letter, order)
            if fate is Fate.SENT:
                chosen.add(letter.record)
            if fate is not Fate.SENT or send is None:
                report.add(letter, fate, why)
            else:
                chunk.append(letter)
                size += len(letter.content.value or b"")
            if len(chunk) >= CHUNK_LETTERS or size >= CHUNK_BYTES:
                await end_chunk()
            if len(chosen) == order.limit:
                break
        await end_chunk()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do all of `work` also when cancelled within it: half of it would leave letters in doubt."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _send_chunk(
    journal: Journal, letters: Sequence[Letter], send: Send, report: Report
) -> None:
    """Send letters of one topic back.

    1. Claim their records; what another run has claimed meanwhile is left out.
    2. Send the records, and wait for the broker.
    3. Settle them. A claim without this is in doubt: the run may have ended on either side of 2.
    """
    chunk = {letter.record: letter for letter in letters}
    try:
        # 1. Claim.
        ours = await journal.claim(chunk, send)
        records = {name: record_of(letter) for name, letter in chunk.items() if name in ours}
        # 2. Send.
        refused = await send(list(records.values()))
        failed = {name for name, record in records.items() if any(record is r for r in refused)}
        # 3. Settle.
        await journal.settle(ours - failed, send)
        await journal.withdraw(failed, send)
    except BrokerError:
        for letter in letters:
            report.add(letter, Fate.DOUBTFUL)
        raise
    for name, letter in chunk.items():
        if name in failed:
            report.add(letter, Fate.FAILED, "larger than its topic takes")
        elif name in ours:
            report.add(letter, Fate.SENT)
        elif journal.state(name) == "sent":
            report.add(letter, Fate.REPLAYED)
        else:
            report.add(letter, Fate.DOUBTFUL)


def record_of(letter: Letter) -> Message:
    """Make the record that goes back: the original one, and which letter it is from."""
    content = letter.content
    headers = [header for header in content.headers if header[0] != REPLAY_OF_HEADER]
    headers.append((REPLAY_OF_HEADER, letter.name.encode()))
    return Message(content.topic, content.key, content.value, headers, content.partition)
