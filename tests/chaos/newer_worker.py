"""The slow worker of a version whose rows are others'.

A program: ``python newer_worker.py [options]``, options as of `slow_worker`. It writes rows of
version `NEWER`, and takes no others; all else is the same.
"""

from __future__ import annotations

import sys

import streams.state.table
from tests.chaos.slow_worker import main

NEWER = streams.state.table.ROW_VERSION + 1

if __name__ == "__main__":
    streams.state.table.ROW_VERSION = NEWER
    sys.exit(main())
