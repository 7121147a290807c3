"""Errors of the servers that we start ourselves.

::

    TocsinError
    ├── ServerMissing    a program or package that the server needs is not installed
    └── ServerFailed     the server ended, or did not answer before its deadline
"""

from streams.errors import TocsinError


class ServerMissing(TocsinError):
    """A program or package that the server needs is not installed; the message names it."""


class ServerFailed(TocsinError):
    """The server ended or did not answer in time; the message ends with its last log lines."""
