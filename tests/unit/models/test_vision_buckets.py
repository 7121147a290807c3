from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from models.vision.buckets import SIZES, Buckets


class Full(Exception):
    pass


class Device:
    """Takes at most `room` frames a call, and notes the sizes of the calls."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.calls: list[int] = []

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.calls.append(len(frames))
        if len(frames) > self.room:
            raise Full
        return frames.astype(np.float32) * 2


def frames(count: int) -> npt.NDArray[np.uint8]:
    return np.arange(1, count + 1, dtype=np.uint8)[:, None]


@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 31, 32, 33, 70])
@pytest.mark.parametrize("room", [1, 3, 100])
def test_every_frame_is_answered_in_order(count: int, room: int, *, pad: bool) -> None:
    outputs = Buckets(Full, pad=pad).run(frames(count), Device(room))
    np.testing.assert_array_equal(outputs, frames(count).astype(np.float32) * 2)


def test_padded_calls_have_one_of_the_sizes() -> None:
    device = Device(100)
    buckets = Buckets(Full, pad=True)
    for count in range(1, 71):
        buckets.run(frames(count), device)
    assert set(device.calls) == set(SIZES)


def test_without_padding_a_call_is_as_large_as_it_is() -> None:
    device = Device(100)
    Buckets(Full, pad=False).run(frames(37), device)
    assert device.calls == [32, 5]


def test_when_memory_runs_out_the_batch_is_halved_for_good() -> None:
    device = Device(9)
    buckets = Buckets(Full, pad=True)
    buckets.run(frames(32), device)
    assert device.calls == [32, 16, 8, 8, 8, 8]
    assert buckets.limit == 8
    buckets.run(frames(20), device)
    assert device.calls[6:] == [8, 8, 4]


def test_a_single_frame_that_does_not_fit_is_an_error() -> None:
    device = Device(0)
    with pytest.raises(Full):
        Buckets(Full, pad=True).run(frames(3), device)
    assert device.calls == [4, 2, 1]


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    def broken(_: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        raise KeyError

    buckets = Buckets(Full, pad=True)
    with pytest.raises(KeyError):
        buckets.run(frames(4), broken)
    assert buckets.limit == SIZES[-1]
