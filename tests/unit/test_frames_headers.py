"""The headers of a frame: there and back, and what is wrong with those that are not."""

from __future__ import annotations

import pytest

from streams.frames import FrameHeaders, parse_headers

FULL = FrameHeaders(
    camera_id="gate",
    captured_at=1_700_000_000_123,
    seq=7,
    width=640,
    height=480,
    source="stream",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
AT = ("captured_at", b"1700000000123")


def test_headers_come_back_as_they_went() -> None:
    assert parse_headers(b"gate", FULL.to_headers()) == FULL


def test_the_key_alone_may_name_the_camera() -> None:
    assert parse_headers(b"gate", [AT]).camera_id == "gate"
    assert parse_headers(None, [("camera_id", b"gate"), AT]).camera_id == "gate"


def test_other_headers_are_ignored() -> None:
    assert parse_headers(b"gate", [AT, ("colour", b"\xff"), ("seq", None)]).seq is None


@pytest.mark.parametrize(
    ("key", "headers", "reason"),
    [
        (None, [AT], "camera_id"),
        (b"", [AT], "camera_id"),
        (b"\xff", [AT], "the key is not UTF-8"),
        (b"gate", [], "captured_at"),
        (b"gate", [("captured_at", b"yesterday")], "captured_at"),
        (b"gate", [("captured_at", b"-1")], "captured_at"),
        (b"gate", [AT, AT], "captured_at is there twice"),
        (b"gate", [AT, ("camera_id", b"door")], "the key is 'gate' and header camera_id 'door'"),
        (b"gate", [AT, ("width", b"0")], "width"),
        (b"gate", [AT, ("seq", b"1.5")], "seq"),
        (b"gate", [AT, ("seq", b"\xff")], "header seq is not UTF-8"),
        (b"gate", [AT, ("source", b"oracle")], "source"),
    ],
)
def test_what_is_wrong_is_named(
    key: bytes | None, headers: list[tuple[str, bytes | None]], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_headers(key, headers)
