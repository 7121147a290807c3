"""When a rule is armed: days of the week and a time of day, in a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from models.errors import DataError

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


Clock = Annotated[time, msgspec.Meta(tz=False)]
"""A time of day on the clocks of the rule's time zone, so without one of its own."""


class Schedule(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """A window of the day on some days; one that ends before it begins runs past midnight.

    Such a night belongs to the day on which it begins. Equal ends mean the whole day.
    """

    days: tuple[Day, ...] = DAYS
    begin: Clock = time(0)
    end: Clock = time(0)
    time_zone: str = ""
    """IANA name such as ``Europe/Berlin``; empty for that of the file."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        DataError: there is no such zone on this machine.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"no time zone {name!r}: write a name such as Europe/Berlin") from None


def armed(schedule: Schedule, zone: ZoneInfo, time_ms: int) -> bool:
    """Whether `time_ms` (since 1970) lies in the schedule, on the clocks of `zone`."""
    moment = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)).astimezone(zone)
    now, today = moment.time(), moment.weekday()
    begin, end = schedule.begin, schedule.end
    if begin < end:
        return DAYS[today] in schedule.days and begin <= now < end
    evening = DAYS[today] in schedule.days and now >= begin
    morning = DAYS[today - 1] in schedule.days and now < end
    return evening or morning
