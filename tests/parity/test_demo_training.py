"""What the trainings of the demo networks share: scenes changed with their boxes, resumed runs; and YOLO's loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pure_detect.boxes.decode_yolo import YoloHead, decode_yolo

pytestmark = pytest.mark.parity

torch = pytest.importorskip("torch", reason="needs the extra parity")

SIDE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of three scenes: white blocks on black, of another size in each corner but one, and no object."""
    pixels = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    boxes = [(2, 3, 12, 30), (40, 5, 60, 15), (35, 33, 64, 64), (20, 10, 30, 44)]
    scenes = [0, 0, 0, 1]
    for scene, (x1, y1, x2, y2) in zip(scenes, boxes):
        pixels[scene, y1:y2, x1:x2] = 255
    np.save(tmp_path / "pixels.npy", pixels)
    np.savez(tmp_path / "boxes.npz", boxes_xyxy=np.array(boxes), class_ids=np.arange(4), starts=[0, 3, 4, 4])
    return tmp_path


def block_in(pixels: np.ndarray, box: np.ndarray) -> bool:
    """Return whether a box is filled with white and a border of one pixel around it is black."""
    x1, y1, x2, y2 = box.astype(int)
    inside = pixels[y1:y2, x1:x2]
    around = pixels[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1]
    return bool(inside.size and (inside == 255).all() and (around == 255).sum() == inside.size)


@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_boxes_stay_on_their_objects_when_scenes_are_turned_and_cropped(
    train_demo: Callable[[str], Any], folder: Path, crop: float
) -> None:
    m = train_demo("scenes_folder")
    scenes, seen = m.Scenes(folder), set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        window = SIDE if crop == 1 else round(SIDE * np.random.default_rng(seed).uniform(crop, 1.0))
        batch = scenes.batch(np.array([0, 1, 2]), window, m.Augmentation(turn=True, crop=crop), rng)
        assert batch.pixels.shape == (3, 3, window, window)
        assert len(batch.boxes_xyxy[2]) == 0
        for picture, boxes, class_ids in zip(batch.pixels, batch.boxes_xyxy, batch.class_ids):
            assert len(boxes) == len(class_ids)
            for box, class_id in zip(boxes.numpy(), class_ids.tolist()):
                assert block_in(picture.numpy()[0], box)
                seen.add((class_id, *box.tolist()))
    assert len([row for row in seen if row[0] == 3]) >= 8  # all eight images of one block under flips and turns


def test_resizing_moves_boxes_with_the_pixels(train_demo: Callable[[str], Any], folder: Path) -> None:
    m = train_demo("scenes_folder")
    batch = m.Scenes(folder).batch(np.array([1]), 2 * SIDE, m.Augmentation(), np.random.default_rng(0))
    np.testing.assert_array_equal(batch.boxes_xyxy[0].numpy(), [[40, 20, 60, 88]])
    bright = np.argwhere(batch.pixels[0, 0].numpy() > 127)
    np.testing.assert_array_equal([*bright.min(axis=0), *(bright.max(axis=0) + 1)], [20, 40, 88, 60])


def test_a_training_that_was_interrupted_ends_with_the_weights_of_one_that_was_not(
    train_demo: Callable[[str], Any], folder: Path, tmp_path: Path
) -> None:
    training = train_demo("training")

    def run(out: str, stop_at: int | None = None) -> dict[str, Any]:
        arguments = ["--scenes", str(folder), "--out", str(tmp_path / out), "--steps", "8", "--batch", "2"]
        options = training.arguments("", out="", batch=2, rate=0.01).parse_args([*arguments, "--check-minutes", "0"])
        training.start(options)
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5))
        steps = iter(range(100))

        def loss(model: Any, batch: Any) -> Any:
            if next(steps) == stop_at:
                raise KeyboardInterrupt
            return model(batch.pixels / 255).square().mean() + model[0].weight.sum()

        averaged = training.train(model, loss, options, sizes=((0.0, 32), (0.5, SIDE)))
        return dict(averaged.state_dict())

    whole = run("whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run("parts.pt", stop_at=5)
    assert training.steps_made(tmp_path / "parts.pt") == 5
    parts = run("parts.pt")
    assert training.steps_made(tmp_path / "parts.pt") == 8
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values, rtol=0, atol=0, msg=name)


def test_the_loss_reads_a_head_as_the_decoder_does(train_demo: Callable[[str], Any]) -> None:
    head = YoloHead("head", ((20.0, 30.0), (50.0, 40.0)), classes=3)
    raw = np.random.default_rng(1).normal(size=(2, 16, 4, 6))
    boxes, logits = train_demo("yolo_loss").decode(torch.from_numpy(raw), head, 128, 192)
    for i in range(2):
        ours = decode_yolo(raw[i], head, 128, 192)
        theirs = boxes[i].permute(1, 2, 0, 3).reshape(-1, 4).numpy() / [192, 128, 192, 128]
        np.testing.assert_allclose(theirs, ours.boxes_xyxy, rtol=0, atol=1e-12)
        p = logits[i].permute(1, 2, 0, 3).reshape(-1, 4).sigmoid().numpy()
        np.testing.assert_allclose(p[:, :1] * p[:, 1:], ours.scores, rtol=1e-12)


def test_a_head_that_says_where_the_objects_are_has_a_smaller_loss_than_any_other(
    train_demo: Callable[[str], Any],
) -> None:
    m = train_demo("yolo_loss")
    head = YoloHead("head", ((20.0, 30.0),), classes=2)
    right = torch.full((1, 7, 4, 4), -12.0)
    right[:, 0:4] = 0.0
    right[0, :, 1, 2] = torch.tensor([0, 0, 0, 0, 12.0, -12.0, 12.0])  # the cell's middle, the anchor's size, class 1
    objects, classes = [torch.tensor([[70.0, 33.0, 90.0, 63.0]])], [torch.tensor([1])]

    def loss(raw: Any) -> float:
        return float(m.yolo_loss({"head": raw}, [head], 128, objects, classes))

    assert loss(right) < 1e-3
    for plane, value in ((0, 3.0), (1, -3.0), (2, 0.5), (3, -0.5), (4, -2.0), (5, 3.0), (6, -3.0)):
        wrong = right.clone()
        wrong[0, plane, 1, 2] = value
        assert loss(wrong) > 0.1, plane
    false_alarm = right.clone()
    false_alarm[0, 4, 3, 0] = 5.0
    assert loss(false_alarm) > 1


@pytest.mark.parametrize("missing", ["pixels.npy", "boxes.npz"])
def test_a_folder_without_scenes_ends_a_training_with_one_line(
    train_demo: Callable[[str], Any], folder: Path, missing: str
) -> None:
    (folder / missing).unlink()
    with pytest.raises(SystemExit, match=rf"expected scenes of draw_scenes.py.*found no {missing}"):
        train_demo("scenes_folder").Scenes(folder)


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_checkpoint_that_is_none_ends_a_training_with_one_line_and_stays(
    train_demo: Callable[[str], Any], folder: Path, tmp_path: Path, content: bytes
) -> None:
    training, out = train_demo("training"), tmp_path / "mine.txt"
    out.write_bytes(content)
    options = training.arguments("", out="", batch=2, rate=0.01).parse_args(
        ["--scenes", str(folder), "--out", str(out), "--steps", "1"]
    )
    with pytest.raises(SystemExit, match="expected a checkpoint of this training"):
        training.train(torch.nn.Conv2d(3, 1, 1), lambda model, batch: model(batch.pixels).mean(), options)
    assert out.read_bytes() == content
