"""A TCP proxy that is in the way."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from streams.devstack.ports import HOST, free_ports


class Proxy:
    """Passes connections on to `port`, late or not at all.

    Attributes:
        port: where it listens.
        delay_s: how late it passes on what comes back.
        delayed: how often it did.
        cuts: connections that it has cut.
    """

    def __init__(self, port: int) -> None:
        self._behind = port
        (self.port,) = free_ports(1)
        self.delay_s = 0.0
        self.delayed = self.cuts = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, HOST, self.port)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async def end() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
            self.cuts += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        there = None
        try:
            answers, there = await asyncio.open_connection(HOST, self._behind)
            await asyncio.gather(self._pass(reader, there, 0), self._pass(answers, writer, 1))
        except OSError:
            pass  # one of the two is gone
        finally:
            self._open.discard(writer)
            writer.transport.abort()
            if there is not None:
                there.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: int
    ) -> None:
        while data := await reader.read(65_536):
            if late and self.delay_s:
                self.delayed += 1
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
