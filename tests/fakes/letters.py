"""Dead letters as an agent buries them."""

from __future__ import annotations

from streams.schemas import DeadLetter
from tests.worker import Produced


def letter(number: int, *, topic: str, **changes: object) -> Produced:
    """A letter on partition 0; `changes` to the fields of its `DeadLetter`."""
    given = {
        "value": b'{"tx_id": "t%d"}' % number,
        "key": b"c%d" % number,
        "headers": (("trace", b"\x00\x01"), ("trace", None)),
        "reason": f"amount {number} EUR is above the limit",
        "step": "decode",
        "topic": topic,
        "partition": 0,
        "offset": number,
        "timestamp": 1_700_000_000_000 + number,
        **changes,
    }
    made = DeadLetter(**given)  # type: ignore[arg-type]
    return Produced(made.value, made.key, made.to_headers(), 0)  # type: ignore[arg-type]
