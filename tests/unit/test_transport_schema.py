"""The mark of a batch topic."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.transport import BatchSchema


def test_a_batch_has_room_for_at_least_one_record() -> None:
    with pytest.raises(ValueError, match="max_records must be at least 1, got 0"):
        BatchSchema(max_records=0)


def test_decoding_leaves_the_batch_as_it_is() -> None:
    def create_event(key: Any, value: Any, headers: Any, message: Any) -> tuple[Any, ...]:
        return key, value, headers, message

    decode = BatchSchema().compile(SimpleNamespace(create_event=create_event))
    message = SimpleNamespace(value=["a record"])
    assert asyncio.run(decode(message, propagate=True)) == (None, ["a record"], None, message)
