"""Each format of the results, read back by the tool that owns it: the same boxes, scores and classes come out."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pure_detect import Detections
from pure_detect.evaluate import read_results
from pure_detect.formats import WRITERS, write_yolo
from pure_detect.labels import COCO_80, COCO_80_CATEGORY_IDS

coco = pytest.importorskip("pycocotools.coco", reason="needs the extra parity")
cocoeval = pytest.importorskip("pycocotools.cocoeval", reason="needs the extra parity")
supervision = pytest.importorskip("supervision", reason="needs the extra parity")

pytestmark = pytest.mark.parity

THOUSANDTH = 5.1e-4  # pixels: what is written to three places, and in float32 up to a few hundred pixels


def random_detections(seed: int, count: int = 40, height: int = 120, width: int = 330) -> Detections:
    """Return boxes in the picture, all COCO classes, scores with ties."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, (width - 40, height - 40), (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], axis=1)
    class_ids = rng.integers(0, 80, count)
    scores = rng.integers(1, 30, count) / 30
    return Detections(boxes, scores, class_ids, tuple(COCO_80[i] for i in class_ids), height, width)


FOUND = {7: random_detections(0), 8: random_detections(1, 1), 139: random_detections(2, height=400, width=80)}


def command_output(name: str) -> str:
    """Return what `pure-detect detect --format` prints for these pictures."""
    out = io.StringIO(newline="")
    writer = WRITERS[name](out, "tiny", COCO_80)
    for image_id, found in FOUND.items():
        writer.add(f"{image_id:012}.jpg", image_id, found)
    writer.finish()
    return out.getvalue()


def ground_truth() -> coco.COCO:
    """Return annotations with exactly these boxes."""
    annotations = []
    for image_id, found in FOUND.items():
        for box, _, class_id, _ in found:
            x1, y1, x2, y2 = box
            bbox = [x1, y1, x2 - x1, y2 - y1]
            category = COCO_80_CATEGORY_IDS[class_id]
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "bbox": bbox}
            annotations.append({**annotation, "area": bbox[2] * bbox[3], "iscrowd": 0})
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": image_id, "height": f.height, "width": f.width} for image_id, f in FOUND.items()],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in zip(COCO_80_CATEGORY_IDS, COCO_80)],
    }
    truth.createIndex()
    return truth


class TestCoco:
    def test_pycocotools_loads_every_box(self, tmp_path: Path) -> None:
        (tmp_path / "results.json").write_text(command_output("coco"))
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = ground_truth().loadRes(str(tmp_path / "results.json"))
        for image_id, found in FOUND.items():
            entries = loaded.loadAnns(loaded.getAnnIds(imgIds=[image_id]))
            boxes = np.array([entry["bbox"] for entry in entries])
            boxes[:, 2:] += boxes[:, :2]
            np.testing.assert_allclose(boxes, found.boxes_xyxy, rtol=0, atol=2 * THOUSANDTH)  # corner and size
            names = [loaded.cats[entry["category_id"]]["name"] for entry in entries]
            assert names == list(found.labels)
            np.testing.assert_array_equal(np.float32([entry["score"] for entry in entries]), found.scores)

    def test_pycocotools_gives_boxes_that_are_the_truth_an_average_precision_of_1(self) -> None:
        entries = json.loads(command_output("coco"))
        assert self._average_precision(entries) == pytest.approx(1)
        # Were ids counted from 1 without COCO's gaps, most classes would be others.
        gapless = {number: place for place, number in enumerate(COCO_80_CATEGORY_IDS, start=1)}
        wrong = [{**entry, "category_id": gapless[entry["category_id"]]} for entry in entries]
        assert self._average_precision(wrong) < 0.5

    @staticmethod
    def _average_precision(entries: list[dict]) -> float:
        truth = ground_truth()
        with contextlib.redirect_stdout(io.StringIO()):
            judge = cocoeval.COCOeval(truth, truth.loadRes(entries), "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        return float(judge.stats[0])

    def test_our_own_evaluation_reads_it(self, tmp_path: Path) -> None:
        (tmp_path / "results.json").write_text(command_output("coco"))
        results = read_results(tmp_path / "results.json")
        assert len(results.scores) == sum(map(len, FOUND.values()))


class TestSupervision:
    @pytest.mark.parametrize("found", [*FOUND.values(), FOUND[7][:0]], ids=len)
    def test_it_takes_boxes_scores_classes_and_names(self, found: Detections) -> None:
        theirs = found.to_supervision()
        assert isinstance(theirs, supervision.Detections)
        assert len(theirs) == len(found)
        np.testing.assert_array_equal(theirs.xyxy, found.boxes_xyxy)
        np.testing.assert_array_equal(theirs.confidence, found.scores)
        np.testing.assert_array_equal(theirs.class_id, found.class_ids)
        assert list(theirs["class_name"]) == list(found.labels)

    def test_what_it_picks_is_what_we_pick(self) -> None:
        found = FOUND[7]
        theirs = found.to_supervision()
        theirs = theirs[theirs.confidence > 0.5]
        np.testing.assert_array_equal(theirs.xyxy, found[found.scores > 0.5].boxes_xyxy)
        assert list(theirs["class_name"]) == list(found[found.scores > 0.5].labels)

    def test_its_reader_of_yolo_data_sets_finds_the_boxes(self, tmp_path: Path) -> None:
        for image_id, found in FOUND.items():
            Image.new("RGB", (found.width, found.height)).save(tmp_path / f"{image_id}.png")
            write_yolo(found, tmp_path / f"{image_id}.txt")
        (tmp_path / "data.yaml").write_text(json.dumps({"names": list(COCO_80)}))
        folder = str(tmp_path)
        data = supervision.DetectionDataset.from_yolo(folder, folder, str(tmp_path / "data.yaml"))
        assert data.classes == list(COCO_80)
        for path, _, theirs in data:
            found = FOUND[int(Path(path).stem)]
            np.testing.assert_allclose(theirs.xyxy, found.boxes_xyxy, rtol=0, atol=millionth(found))
            np.testing.assert_array_equal(theirs.class_id, found.class_ids)


def millionth(found: Detections) -> float:
    """Return what shares of a picture written to six places can be off by, centre and half a size, in pixels."""
    return 0.75e-6 * max(found.height, found.width) + 1e-4


class TestYolo:
    """AlexeyAB/darknet 59596d7 `src/data.c`: `read_boxes` scans "%d %f %f %f %f"; `fill_truth_detection` refuses."""

    LINE = re.compile(r"\s*([+-]?\d+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)")

    def read_boxes(self, text: str) -> list[tuple[int, list[float]]]:
        """Scan as `fscanf` does: where one box ends the next begins, whatever the lines."""
        boxes, at = [], 0
        while match := self.LINE.match(text, at):
            boxes.append((int(match[1]), [float(np.float32(match[i])) for i in range(2, 6)]))
            at = match.end()
        assert not text[at:].strip(), "fscanf stops before the end"
        return boxes

    @pytest.mark.parametrize("found", FOUND.values(), ids=len)
    def test_darknet_finds_the_boxes_and_refuses_none(self, found: Detections) -> None:
        read = self.read_boxes(found.to_yolo())
        assert [class_id for class_id, _ in read] == found.class_ids.tolist()
        for (_, (x, y, w, h)), box in zip(read, found.boxes_xyxy):
            assert 0 < x <= 1
            assert 0 < y <= 1
            assert 0 < w <= 1
            assert 0 < h <= 1
            corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
            corners *= [found.width, found.height, found.width, found.height]
            np.testing.assert_allclose(corners, box, rtol=0, atol=millionth(found))

    def test_boxes_beyond_the_picture_give_nothing_that_darknet_refuses(self) -> None:
        rng = np.random.default_rng(5)
        corner = rng.uniform(-60, 60, (200, 2))
        boxes = np.concatenate([corner, corner + rng.exponential(20, (200, 2))], axis=1)
        found = Detections(boxes, np.ones(200), np.zeros(200, int), ("a",) * 200, 30, 50)
        read = self.read_boxes(found.to_yolo())
        assert 20 < len(read) < 180
        assert all(0 < value <= 1 for _, shares in read for value in shares)

    def test_a_score_would_be_the_next_box_to_darknet(self) -> None:
        with pytest.raises(AssertionError, match="fscanf stops"):
            self.read_boxes(FOUND[7].to_yolo(scores=True))


class TestCsv:
    @pytest.mark.parametrize("source", ["command", "method"])
    def test_pythons_csv_reads_every_box(self, source: str) -> None:
        if source == "command":
            rows = list(csv.DictReader(io.StringIO(command_output("csv"), newline="")))
        else:
            texts = [found.to_csv(f"{image_id:012}.jpg") for image_id, found in FOUND.items()]
            rows = [row for text in texts for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)]
        for image_id, found in FOUND.items():
            ours = [row for row in rows if row["image"] == f"{image_id:012}.jpg"]
            boxes = np.array([[float(row[side]) for side in ("x1", "y1", "x2", "y2")] for row in ours])
            np.testing.assert_allclose(boxes, found.boxes_xyxy, rtol=0, atol=THOUSANDTH)
            np.testing.assert_allclose([float(row["score"]) for row in ours], found.scores, rtol=0, atol=5.1e-7)
            assert [int(row["class_id"]) for row in ours] == found.class_ids.tolist()
            assert [row["label"] for row in ours] == list(found.labels)
