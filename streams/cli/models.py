"""`tocsin models`: published detector weights on this machine."""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.vision.weights import FORMATS, TABLE, Format, Weights, find
from models.vision.weights_cache import Receipt, WeightsCache, default_folder
from streams.cli.progress import Advance, progress_bar
from streams.cli.start import start
from streams.errors import SettingsError, TocsinError
from streams.settings import Settings

app = typer.Typer(
    rich_markup_mode="markdown", no_args_is_help=True, help="Published detector weights."
)

_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
_MAX_BYTES = 1 << 30
"""More than twice the largest file of the table: whoever sends more sends something else."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `tocsin models list` shows it.")]


@app.callback()
def group() -> None:
    """Published detector weights."""


@app.command("list")
def list_(
    *,
    long: Annotated[
        bool, typer.Option("--long", help="Each file with its address and checksums.")
    ] = False,
) -> None:
    """Show what can be pulled, and what is here."""
    cache = cache_of(start())
    table = Table("name", "input", "COCO AP", "licence", *FORMATS, box=None, pad_edge=False)
    for weights in TABLE.values():
        states = [cache.state(weights.files[form]) for form in FORMATS]
        size = f"{weights.size[0]} x {weights.size[1]}"
        table.add_row(weights.name, size, f"{weights.coco_ap}", weights.licence, *states)
    Console(highlight=False).print(table)
    print(f"in {cache.folder}")
    if long:
        for file in (file for weights in TABLE.values() for file in weights.files.values()):
            known = " or ".join(file.known) or "unknown: trusted on first use"
            print(f"{file.url}\n  sha256 {known}")


@app.command()
def pull(
    name: Name,
    *,
    form: Annotated[
        Format, typer.Option("--format", help="onnx for the CPU; pth for CUDA and training.")
    ] = "onnx",
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take this copy, without the internet."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Checksum that the file must have.")
    ] = None,
) -> None:
    """Fetch weights, check them and keep them.

    A file of which no checksum is known is trusted on first use: its checksum is printed and
    recorded, and every later pull must bring the same file, unless --sha256 says otherwise.
    """
    weights = _named(name)
    if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise SettingsError(f"--sha256 {sha256}: a checksum is 64 hexadecimal digits")
    cache = cache_of(start())
    file = weights.files[form]
    if source is not None:
        receipt = cache.admit(file, source, given=sha256)
    else:
        with tempfile.TemporaryDirectory(prefix="tocsin-") as folder:
            fetched = Path(folder) / file.name
            with progress_bar(file.name, None) as advance:
                download(file.url, fetched, advance)
            receipt = cache.admit(file, fetched, given=sha256)
    _say(receipt)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All, if left out.")] = None,
) -> None:
    """Compute the checksums of what is here anew. Exit 1 if a file has changed or is missing."""
    chosen = list(TABLE.values()) if name is None else [_named(name)]
    cache = cache_of(start())
    here = 0
    for weights in chosen:
        for form in FORMATS:
            file = weights.files[form]
            state = cache.state(file)
            if state == "missing":
                continue
            here += 1
            if state == "changed":
                raise TocsinError(
                    f"{cache.path(file)} has changed since it was pulled: "
                    f"tocsin models pull {weights.name} --format {form}"
                )
            print(f"{cache.path(file)}: good")
    if not here and name is not None:
        raise TocsinError(f"{name} is not in {cache.folder}: tocsin models pull {name}")
    if not here:
        print(f"nothing is in {cache.folder}")


@app.command()
def export(
    weights: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A pulled network, or a weights file.")
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="STEM", help="Writes STEM.safetensors, STEM.json and STEM.onnx."),
    ],
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Input in pixels, multiples of 32; 256x416 for 16:9."),
    ] = None,
) -> None:
    """Convert weights into Tocsin's own files: for torch, and for ONNX Runtime with any batch."""
    settings = start()
    from models.vision.export import write  # noqa: PLC0415  imports torch
    from models.vision.loading import load_network  # noqa: PLC0415

    path = cache_of(settings).resolve(weights)
    network, names = load_network(path)
    manifest = write(network, names, out, source=path, size=_size(size))
    print(f"{out}.safetensors, {out}.json, {out}.onnx: sha256 {manifest.sha256}")


def cache_of(settings: Settings) -> WeightsCache:
    """The cache that the settings name."""
    return WeightsCache(settings.models.cache_dir or default_folder())


def download(url: str, target: Path, advance: Advance) -> None:
    """Fetch `url` into `target`.

    Raises:
        TocsinError: it cannot be had; says how to go on without.
    """
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:  # noqa: S310  # nosec B310 # of our table
            while chunk := answer.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > _MAX_BYTES:
                    raise TocsinError(f"{url} is larger than any weights that we know")
                file.write(chunk)
                advance(done >> 20, "MiB")
    except OSError as error:  # urllib's errors, time-outs and a full disk
        reason = getattr(error, "reason", None) or error.strerror or error
        raise TocsinError(
            f"cannot download {url}: {reason}: fetch it elsewhere and give it with --from FILE"
        ) from error


def _named(name: str) -> Weights:
    weights = find(name)
    if weights is None:
        raise SettingsError(f"no weights are called {name!r}: {', '.join(TABLE)} are")
    return weights


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise SettingsError(f"--size {text}: write HEIGHTxWIDTH, as in 256x416")
    return int(height), int(width)


def _say(receipt: Receipt) -> None:
    print(f"{receipt.path}: sha256 {receipt.sha256}")
    match receipt.trust:
        case "first use":
            print(
                "No checksum of this file is known: it is trusted on first use, and recorded. "
                "Compare it with one that you trust, or insist with --sha256."
            )
        case "recorded":
            print("It is the file that was recorded when it was first pulled.")
        case "given" | "known":
            pass
