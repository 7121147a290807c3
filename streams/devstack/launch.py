"""Become another program that the kernel kills as soon as our parent dies.

Run as a script: ``python -I -S launch.py PARENT_PID PROGRAM [ARGUMENT ...]``. It is a step of its
own, and not a ``preexec_fn``, because Python code between fork and exec can deadlock when the
forking process has threads, and this one has Torch's.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    """Arrange to die with `parent`, then replace this process by `command`.

    The kernel acts when the *thread* that started us ends: start servers from a thread that
    outlives them. Other systems than Linux lack the call, and keep the orphan.
    """
    # Step 1. From here on the kernel sends SIGKILL when the parent is gone.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Step 2. It may have died before step 1, and then no signal comes.
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} is gone")
    # Step 3. The same process id from now on.
    os.execvp(command[0], command)  # noqa: S606  # nosec B606 # no shell is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
