"""The start-up check names what a release of Faust or aiokafka no longer has."""

from __future__ import annotations

import pytest

from streams.errors import TransportError
from streams.transport.selfcheck import HOOKS, Attributes, Methods, check_hooks


class Renamed:
    def __init__(self) -> None:
        self.kept = 1

    def fetch(self, partitions: object, timeout: float) -> None:
        """Take two parameters."""


class Derived(Renamed):
    def __init__(self) -> None:
        super().__init__()
        self.own = 2


def test_the_installed_releases_have_every_hook() -> None:
    check_hooks()
    assert sum(1 for hook in HOOKS if isinstance(hook, Methods)) >= 5


def test_no_hooks_and_no_versions_are_nothing_to_complain_about() -> None:
    check_hooks(hooks=(), versions={})


def test_every_missing_hook_is_named() -> None:
    hooks = [
        Methods(Renamed, {"fetch": ("partitions", "timeout"), "commit": ()}),
        Attributes(Renamed, ("kept", "_acked")),
    ]
    with pytest.raises(TransportError, match=r"needs Renamed\.commit, Renamed\._acked, which"):
        check_hooks(hooks=hooks)


def test_a_method_with_other_parameters_counts_as_missing() -> None:
    hooks = [Methods(Renamed, {"fetch": ("partitions", "timeout_s")})]
    with pytest.raises(TransportError, match=r"Renamed\.fetch\(partitions, timeout_s\)"):
        check_hooks(hooks=hooks)


def test_attributes_that_a_base_class_sets_are_found() -> None:
    check_hooks(hooks=[Attributes(Derived, ("kept", "own"))])


def test_another_version_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(TransportError, match=r"aiokafka .* is installed.*pip install"):
        check_hooks(versions={"aiokafka": "99."})
