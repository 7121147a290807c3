"""Dead letters as text. Their bytes are hostile: nothing of them reaches the terminal as it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from streams.dead_letters.index import Letter

MAX_SHOWN = 4096
"""Bytes of a value that are shown; `--save` writes all of them."""

_ROW = 16


def utc(ms: int) -> str:
    """A time for people, to the second."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):  # a producer may claim any time
        return str(ms)


def printable(text: str) -> str:
    """Escape what a terminal would act on."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def readable(data: bytes | None) -> str:
    """One line of key or header: text where it is text, else hexadecimal."""
    if data is None:
        return "null"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
    return printable(text)


def as_line(letter: Letter) -> str:
    """Say in one line when it was buried, where it lies, where it came from, and why."""
    content = letter.content
    again = "" if letter.replay_of is None else f", replay of {printable(letter.replay_of)},"
    return (
        f"{utc(letter.buried_at)} {printable(letter.name)} from {printable(letter.origin)}{again} "
        f"{printable(content.step)}: {printable(content.reason)}"
    )


def as_json(letter: Letter) -> dict[str, Any]:
    """The same for programs, without the bytes."""
    content = letter.content
    return {
        "letter": letter.name,
        "buried_at": letter.buried_at,
        "topic": content.topic,
        "partition": content.partition,
        "offset": content.offset,
        "timestamp": content.timestamp,
        "step": content.step,
        "reason": content.reason,
        "replay_of": letter.replay_of,
        "key": None if content.key is None else content.key.decode(errors="backslashreplace"),
        "value_bytes": None if content.value is None else len(content.value),
    }


def in_full(letter: Letter) -> Iterator[str]:
    """Everything about a letter, line by line."""
    content = letter.content
    yield f"letter    {printable(letter.name)}, buried {utc(letter.buried_at)}"
    yield f"reason    {printable(content.reason)}"
    yield f"step      {printable(content.step)}"
    yield f"from      {printable(letter.origin)}, sent {utc(content.timestamp)}"
    yield f"key       {readable(content.key)}"
    for name, value in content.headers:
        yield f"header    {printable(name)}: {readable(value)}"
    if content.value is None:
        yield "value     null"
        return
    yield f"value     {len(content.value)} bytes"
    yield from _value(content.value[:MAX_SHOWN])
    if len(content.value) > MAX_SHOWN:
        yield f"... {len(content.value) - MAX_SHOWN} bytes more: --save FILE writes all of them"


def _value(data: bytes) -> Iterator[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if len(data) < MAX_SHOWN or error.start < MAX_SHOWN - 3:  # else: a character cut in two
            yield from _dump(data)
            return
        text = data[: error.start].decode()
    lines = text.splitlines()
    if all(char.isprintable() or char == "\t" for line in lines for char in line):
        yield from lines
    else:
        yield from _dump(data)


def _dump(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _ROW):
        row = data[start : start + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{start:08x}  {row.hex(' '):<{3 * _ROW - 1}}  {text}"
