"""What an agent's workers say of themselves, followed until they are ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich.console import Console

from streams.errors import WorkerError
from streams.scrape import readiness, scrape

EVERY_S: Final = 1.0


def follow(
    agent: str, addresses: Sequence[str], *, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Block until workers of `agent` answer and all that do are ready; say what they wait for.

    On standard error: on a terminal in one line that changes, else in a new line for each change.
    """
    console, told = Console(stderr=True, highlight=False), ""
    with console.status("") as line:
        while waits := list(_waits(agent, addresses)):
            text = "; ".join(waits)
            line.update(text)
            if text != told and not console.is_terminal:
                console.print(text, soft_wrap=True)
            told = text
            sleep(EVERY_S)


def _waits(agent: str, addresses: Sequence[str]) -> Iterator[str]:
    """Say what each worker of `agent` that answers waits for, and whether none does."""
    nobody = True
    for address in addresses:
        try:
            samples = scrape(f"{address}/metrics").values
            if ("tocsin_ready", frozenset({("agent", agent)})) not in samples:
                continue  # another agent's
            reasons = readiness(f"{address}/readyz")
        except WorkerError:  # not there yet, or not any more
            continue
        nobody = False
        if reasons:
            yield f"{address}: {', '.join(reasons)}"
    if nobody:
        yield f"no {agent} worker answers yet: start the agent"
