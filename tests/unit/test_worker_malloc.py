"""What a worker tells glibc about the arrays that come and go."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from streams.worker import _tune_malloc
_tune_malloc(sys.argv[1])
np.ones(1 << 18).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(1 << 18).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 50 * 512
"""Of 50 arrays of 2 MiB."""


@pytest.mark.parametrize(("agent", "mapped"), [("vision", False), ("fraud", True)])
def test_only_the_agent_that_sees_keeps_arrays_mapped(agent: str, mapped: bool) -> None:
    command = [sys.executable, "-c", PROGRAM, agent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (int(done.stdout) > PAGES / 2) is mapped
