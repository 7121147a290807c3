"""What the documents say to run or to write: each block is run, loaded or held against the files.

What needs servers runs in `tests/integration/test_pages.py`.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.main import get_command

from streams.cli.main import app
from streams.schemas import decode_label, decode_transaction
from streams.settings import Settings, load_settings
from tests.compose import FILE, services
from tests.conftest import ROOT
from tests.pages import (
    BLOCKS,
    COMMANDS,
    ELSEWHERE,
    NEVER_RUN,
    NOT_RUN_HERE,
    PAGES,
    RUN_BY,
    Block,
    Command,
    commands,
    matches,
)

RUN = ("console", "java", "python")
LOADED = ("json", "toml", "yaml")
SHOWN = ("", "text")  # drawings, and how a command is called

KUBERNETES = "\n".join(
    path.read_text() for path in sorted((ROOT / "ops" / "kubernetes").rglob("*.yaml"))
)


def of(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{block.page}:{number}")
        for number, block in enumerate(BLOCKS)
        if block.language in languages
    ]


def using(program: str) -> list[Any]:
    return [pytest.param(one, id=one.words) for one in COMMANDS if one.program == program]


def test_every_block_is_of_a_kind_that_is_run_loaded_or_only_shown() -> None:
    assert {block.language for block in BLOCKS} == {*RUN, *LOADED, *SHOWN}


def test_a_command_is_joined_where_it_goes_on_and_has_its_output() -> None:
    text = "$ one \\\n    two  # why\nsaid …\n$ three\n"
    first, second = commands(Block("page", "console", "", text))
    assert (first.words, first.prints) == ("one two", ("said …",))
    assert (second.line, second.prints, second.program) == ("three", (), "three")
    assert matches("said … here", "said something here")
    assert not matches("said", "said something")


@pytest.mark.parametrize("block", of("toml"))
def test_settings_load(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text(block.text)
    monkeypatch.setenv("TOCSIN_CONFIG", str(file))
    loaded = load_settings()
    assert loaded.model_fields_set <= set(Settings.model_fields)
    assert loaded != Settings.model_construct()


@pytest.mark.parametrize("block", of("json"))
def test_a_record_fits_its_schema(block: Block) -> None:
    decode = decode_transaction if "currency" in block.text else decode_label
    decode(block.text)
    with pytest.raises(msgspec.ValidationError):
        decode(re.sub(r'"\w+_id": ', '"no": ', block.text))


@pytest.mark.parametrize("block", of("yaml"))
def test_an_object_of_a_cluster_is_in_our_namespace(block: Block) -> None:
    found = yaml.safe_load(block.text)
    assert found["kind"]
    assert found["metadata"]["namespace"] == "tocsin"


@pytest.mark.parametrize("block", of("python"))
def test_a_program_compiles(block: Block) -> None:
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize("line", sorted(ELSEWHERE))
def test_a_command_that_is_run_elsewhere_is_there(line: str) -> None:
    assert line in {one.words for one in COMMANDS}
    path, words = ELSEWHERE[line]
    assert words in (ROOT / "tests" / path).read_text()


def test_pages_that_are_run_elsewhere_or_never_are_there() -> None:
    assert {*RUN_BY, *NEVER_RUN} <= {block.page for block in BLOCKS}
    for page, path in RUN_BY.items():
        assert page.rpartition("/")[2] in (ROOT / "tests" / path).read_text()


@pytest.mark.parametrize("one", using("tocsin"))
def test_a_command_of_ours_takes_these_words(one: Command) -> None:
    words = shlex.split(one.words)
    words = words[words.index("tocsin") + 1 :]
    command: Any = get_command(app)
    context = command.make_context("tocsin", words)
    while rest := [*context._protected_args, *context.args]:
        name, command, rest = command.resolve_command(context, rest)
        if "--help" in rest:
            break
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("one", using("make"))
def test_a_target_is_in_the_makefile(one: Command) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert shlex.split(one.words)[1] in targets


@pytest.mark.parametrize("one", using("docker"))
def test_what_docker_is_told_is_in_the_files(one: Command) -> None:
    words = shlex.split(one.words)
    options = dict(pairwise(words))
    if words[1] == "compose":
        known = services(secure="docker-compose.secure.yml" in words)
        named = [options.get("exec"), options.get("--rm")]
        named += re.findall(r"--scale (\w+)=", one.words)
        named += [words[words.index("cat") + 1]] if "cat" in words else []
        for name in filter(None, named):
            assert name in known or name.startswith("--"), name
        for at, word in enumerate(words):
            assert word != "-f" or (ROOT / words[at + 1]).is_file()
    elif words[1] == "volume":
        project, _, volume = words[-1].partition("_")
        file = FILE.read_text()
        assert file.count(f"\nname: {project}\n") == file.count(f"\n  {volume}:\n") == 1
    elif "--target" in options:
        file = (ROOT / options["--file"]).read_text()
        assert re.search(rf"^FROM .* AS {options['--target']}$", file, re.MULTILINE)
    else:
        assert "tocsin:cpu" in words or "..." in words


@pytest.mark.parametrize("one", using("kubectl"))
def test_what_kubectl_is_told_is_in_the_files(one: Command) -> None:
    words = shlex.split(one.words)
    if "-k" in words:
        assert (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").is_file()
    if "label" in words:
        assert words[-1].replace("=", ": ") in KUBERNETES
    for after in ("job", "generic"):
        if after in words:
            assert f"name: {words[words.index(after) + 1]}\n" in KUBERNETES
    if "--namespace" in words or "namespace" in words[2:3]:
        assert "namespace: tocsin\n" in KUBERNETES


def test_the_figures_of_the_readme_are_those_of_the_page() -> None:
    readme = (ROOT / "README.md").read_text()
    figures = readme.partition("\n## Figures\n")[2].partition("\n## ")[0]
    page = (ROOT / "docs" / "figures.md").read_text()
    told = re.findall(r"\d+[.,]\d+|\d+ ms", figures)
    assert len(told) > 10
    assert [one for one in told if one not in page] == []


def test_every_extra_that_a_page_names_is_one_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {one for path in PAGES for one in re.findall(r"tocsin\[(\w+)\]", path.read_text())}
    assert {"demo", "dashboard", "tracing"} <= named <= extras.keys()


def test_each_program_that_is_not_run_has_its_check_here() -> None:
    assert set(NOT_RUN_HERE) == {"docker", "kubectl", "make"}
