from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.checkpoint import save
from models.errors import ArtifactError, DataError
from models.vision.coco import open_coco
from models.vision.conversion import from_manifest
from models.vision.domain import SIMULATED
from models.vision.examples import HELD_OUT_WORLDS, SceneExamples
from models.vision.network import Yolox, YoloxConfig
from models.vision.training import TrainingConfig, train

SMALL = YoloxConfig(width=0.125, depthwise=False, classes=2, size=(64, 96))
QUICK = TrainingConfig(network=SMALL, epochs=12, batch=4, warmup_steps=3, learning_rate=5e-3)
LEARN = SceneExamples(4)
JUDGE = SceneExamples(2, first=HELD_OUT_WORLDS)


class Interrupt(Exception):
    """Stands for a killed process."""


def weights(network: Yolox) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def test_learning_lowers_the_loss_and_the_manifest_says_how_it_came_about(tmp_path: Path) -> None:
    steps: list[tuple[int, int, float]] = []
    config = replace(
        QUICK, epochs=40, name="tiny", domain=SIMULATED, limits="none", data={"source": "scenes"}
    )
    network, manifest = train(LEARN, JUDGE, config, on_progress=lambda *step: steps.append(step))
    assert [step for step, _, _ in steps] == list(range(1, 41))
    losses = [loss for _, _, loss in steps]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert manifest.classes == ["person", "vehicle"]
    assert manifest.domain == SIMULATED
    assert manifest.training["steps"] == 40
    assert manifest.training["fingerprint"] == LEARN.fingerprint
    assert set(manifest.metrics) >= {"ap", "ap50", "precision", "recall", "held_out"}

    sealed = save(tmp_path / "tiny", network, manifest)
    again, names = from_manifest(tmp_path / "tiny.json")
    assert names == ("person", "vehicle")
    assert sealed.sha256
    assert all(torch.equal(a, b) for a, b in zip(weights(network), weights(again), strict=True))


def test_interrupted_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    config, state_file = replace(QUICK, epochs=6, keep_every=2), tmp_path / "run.safetensors"

    def stop(step: int, _total: int, _loss: float) -> None:
        if step == 5:
            raise Interrupt

    with pytest.raises(Interrupt):
        train(LEARN, JUDGE, config, state_file=state_file, on_progress=stop)
    steps: list[int] = []
    resumed, _ = train(
        LEARN,
        JUDGE,
        config,
        state_file=state_file,
        resume=True,
        on_progress=lambda step, *_: steps.append(step),
    )
    whole, _ = train(LEARN, JUDGE, config)
    assert steps == [5, 6]
    assert not state_file.exists()
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))


def test_only_the_same_training_is_resumed(tmp_path: Path) -> None:
    config, state_file = replace(QUICK, epochs=2, keep_every=1), tmp_path / "run.safetensors"
    with pytest.raises(ArtifactError, match="nothing to resume"):
        train(LEARN, JUDGE, config, state_file=state_file, resume=True)

    def stop(*_: object) -> None:
        raise Interrupt

    with pytest.raises(Interrupt):
        train(LEARN, JUDGE, config, state_file=state_file, on_progress=stop)
    for other in (replace(config, seed=1), replace(config, learning_rate=1e-3)):
        with pytest.raises(ArtifactError, match="other options or other data"):
            train(LEARN, JUDGE, other, state_file=state_file, resume=True)
    with pytest.raises(ArtifactError, match="other options or other data"):
        train(SceneExamples(5), JUDGE, config, state_file=state_file, resume=True)
    state_file.write_bytes(state_file.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="damaged"):
        train(LEARN, JUDGE, config, state_file=state_file, resume=True)


def test_the_same_seed_trains_the_same_network() -> None:
    once = replace(QUICK, epochs=1)
    one, two, other = (train(LEARN, JUDGE, replace(once, seed=s))[0] for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(two), strict=True))
    assert not torch.equal(one.head.stems[0].conv.weight, other.head.stems[0].conv.weight)


def test_fine_tuning_keeps_what_fits_and_learns_other_classes_anew() -> None:
    torch.manual_seed(0)
    general = Yolox(replace(SMALL, classes=5))
    config = replace(QUICK, epochs=1, learning_rate=1e-9)
    network, _ = train(LEARN, JUDGE, config, begin_from=general)
    assert torch.allclose(
        network.backbone.backbone.stem.conv.conv.weight,
        general.backbone.backbone.stem.conv.conv.weight,
        atol=1e-6,
    )
    assert network.head.cls_preds[0].weight.shape[0] == 2
    with pytest.raises(DataError, match="other sizes"):
        train(LEARN, JUDGE, replace(config, network=replace(SMALL, width=0.25)), begin_from=general)


def test_too_little_data_and_a_lost_loss_are_said_plainly() -> None:
    with pytest.raises(DataError, match="do not fill a batch of 8"):
        train(SceneExamples(4), JUDGE, replace(QUICK, batch=8))
    with pytest.raises(DataError, match="smaller learning rate"):
        train(LEARN, JUDGE, replace(QUICK, learning_rate=1e12, warmup_steps=0))


def coco(folder: Path, pictures: int, *, boxes: bool = True) -> Path:
    """Grey pictures, each with a bright box in its middle."""
    images, annotations = [], []
    for number in range(pictures):
        picture = np.full((64, 96, 3), 40, np.uint8)
        picture[20:44, 30:66] = 200
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        images.append({"id": number + 1, "file_name": f"{number}.png"})
        box = {"image_id": number + 1, "category_id": 7, "bbox": [30, 20, 36, 24], "iscrowd": 0}
        annotations += [box] if boxes else []
    file = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "box"}, {"id": 9, "name": "other"}],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(file))
    return path


def test_pictures_in_cocos_format_are_learned_from(tmp_path: Path) -> None:
    learn, judge = open_coco(tmp_path, coco(tmp_path, 6), share=0.34, seed=0)
    assert (len(learn), len(judge)) == (4, 2)
    assert learn.fingerprint != judge.fingerprint
    assert sorted(learn.order(0, 0).tolist()) == [0, 1, 2, 3]
    example = learn[0]
    assert example.image.shape == (64, 96, 3)
    assert example.truth.xyxy.tolist() == [[30, 20, 66, 44]]
    network, manifest = train(learn, judge, replace(QUICK, epochs=2))
    assert manifest.classes == ["box", "other"]
    assert manifest.domain == ""
    assert network.config.classes == 2


def test_an_annotation_file_without_boxes_or_with_too_few_pictures_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="nothing to learn from"):
        open_coco(tmp_path, coco(tmp_path, 4, boxes=False), share=0.25, seed=0)
    with pytest.raises(DataError, match="too few to hold"):
        open_coco(tmp_path, coco(tmp_path, 1), share=0.25, seed=0)
    (tmp_path / "instances.json").write_text("")
    with pytest.raises(DataError, match=r"instances\.json"):
        open_coco(tmp_path, tmp_path / "instances.json", share=0.25, seed=0)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken", None])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    annotations = coco(tmp_path, 8)
    for picture in tmp_path.glob("*.png"):
        if content is None:
            picture.unlink()
        else:
            picture.write_bytes(content)
    learn, judge = open_coco(tmp_path, annotations, share=0.25, seed=0)
    with pytest.raises(DataError, match=r"\d\.png (cannot be read|is no picture)"):
        train(learn, judge, QUICK)
