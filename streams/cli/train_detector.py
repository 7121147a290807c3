"""`tocsin train detector`: weights from annotated pictures, or from scenes that we draw."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streams.cli.models import cache_of
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError

if TYPE_CHECKING:
    from models.vision.examples import Examples
    from models.vision.network import YoloxConfig

_SCENES_HELD_OUT = 200
_SIMULATED_LIMITS = (
    "Learned from scenes that Tocsin draws for its simulated street camera; knows nothing of real "
    "video. Figures are of such scenes, objects of which less than half is visible left aside."
)


def detector(
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="STEM", help="Writes STEM.safetensors and its manifest STEM.json."),
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of pictures to learn from.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their boxes, in COCO's format.")
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from that many scenes of the simulated street camera."),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the pictures to judge by.")
    ] = 0.15,
    model: Annotated[
        Literal["nano", "tiny", "s", "m", "l"], typer.Option(help="Size of the YOLOX network.")
    ] = "nano",
    width: Annotated[
        float | None, typer.Option(min=0.125, max=2.0, help="Its channels, relative to large.")
    ] = None,
    dense: Annotated[
        bool | None,
        typer.Option("--dense/--depthwise", help="Its kind of 3 x 3 convolution."),
    ] = None,
    size: Annotated[
        str,
        typer.Option(metavar="HxW", help="Input in pixels, multiples of 32; 416x416 if left out."),
    ] = "",
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME|FILE", help="Fine-tune these weights."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was interrupted.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="At its highest.")] = 2e-3,
    bfloat16: Annotated[
        bool, typer.Option(help="Half precision, where the CPU has instructions for it.")
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Keep the weights in half precision: a smaller file.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the training and of its scenes.")] = 0,
    name: Annotated[str, typer.Option(help="Name that the manifest bears.")] = "detector",
    version: Annotated[str, typer.Option(help="Version that the manifest bears.")] = "1",
) -> None:
    """Train a YOLOX detector and print how well it does on pictures held out.

    While it learns, STEM.training.safetensors keeps what --resume needs.
    """
    from models.checkpoint import save  # noqa: PLC0415  torch takes seconds to import
    from models.vision.domain import SIMULATED  # noqa: PLC0415
    from models.vision.loading import load_network  # noqa: PLC0415
    from models.vision.training import TrainingConfig, train  # noqa: PLC0415

    settings = start()
    # 1. What to learn from, and with.
    learn, judge, described = _examples(images, annotations, scenes, held_out, seed)
    weights = None if begin is None else cache_of(settings).resolve(begin, torch=True)
    begin_from = None if weights is None else load_network(weights)[0]
    config = TrainingConfig(
        name=name,
        version=version,
        network=begin_from.config if begin_from is not None else _network(model, width, dense),
        seed=seed,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        bfloat16=bfloat16,
        half_weights=half,
        measure_norms=weights is not None and weights.suffix == ".onnx",
        data={**described, **({"from": _lineage(weights)} if weights is not None else {})},
        domain=SIMULATED if scenes is not None else "",
        limits=_SIMULATED_LIMITS if scenes is not None else "",
    )
    if size:
        config = replace(config, network=replace(config.network, size=_size(size)))
    # 2. Learn.
    stem = out.with_suffix("") if out.suffix in {".json", ".safetensors"} else out
    with progress_bar("training", None) as advance:
        network, manifest = train(
            learn,
            judge,
            config,
            begin_from=begin_from,
            state_file=stem.with_name(stem.name + ".training.safetensors"),
            resume=resume,
            on_progress=lambda step, total, loss: advance(step, f"of {total}, loss {loss:.3f}"),
        )
    # 3. Keep.
    sealed = save(stem, network.half() if half else network, manifest)
    print(f"{stem}.json version {sealed.version} sha256 {sealed.sha256}")
    for figure, value in {"threshold": sealed.threshold, **sealed.metrics}.items():
        print(f"{figure} {value:.4f}")


def _examples(
    images: Path | None,
    annotations: Path | None,
    scenes: int | None,
    share: float,
    seed: int,
) -> tuple[Examples, Examples, dict[str, Any]]:
    """To learn from and to judge by, and what the manifest says of them.

    Raises:
        SettingsError: none or both of the two sources are named.
    """
    from models.vision.coco import open_coco  # noqa: PLC0415  OpenCV
    from models.vision.examples import HELD_OUT_WORLDS, SceneExamples  # noqa: PLC0415

    if scenes is not None and images is None and annotations is None:
        learn = SceneExamples.of_training(scenes, seed)
        judge = SceneExamples(_SCENES_HELD_OUT, first=HELD_OUT_WORLDS)
        return learn, judge, {"source": "scenes", "scenes": scenes}
    if scenes is not None or images is None or annotations is None:
        raise SettingsError("give --images and --annotations together, or --scenes")
    parts = open_coco(images, annotations, share=share, seed=seed)
    return *parts, {"source": annotations.name, "held_out": share}


def _lineage(begin: Path) -> dict[str, Any]:
    """What the manifest says of the weights that were trained on, and of those before them."""
    from models.checkpoint import read_manifest  # noqa: PLC0415  imports torch

    if not begin.with_suffix(".json").is_file():
        return {"name": begin.name}
    given = read_manifest(begin)
    return {"name": begin.name, "sha256": given.sha256, "training": given.training}


def _network(model: str, width: float | None, dense: bool | None) -> YoloxConfig:
    from models.vision.network import PRESETS  # noqa: PLC0415  imports torch

    config = PRESETS[model]
    if width is not None:
        config = replace(config, width=width)
    return config if dense is None else replace(config, depthwise=not dense)


def _size(text: str) -> tuple[int, int]:
    """``192x320`` as (H, W)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or any(int(side) < 32 or int(side) % 32 for side in match.groups()):
        raise SettingsError(
            f"--size {text}: write HEIGHTxWIDTH, both multiples of 32, as in 192x320"
        )
    return int(match[1]), int(match[2])
