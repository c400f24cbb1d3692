"""COCO's protocol against pycocotools: every figure and every entry of the arrays, within 1e-12."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest

from pure_detect.evaluate import evaluate, read_coco, read_results
from tests.coco_sets import GAPPED_IDS, CocoSet, adversarial_sets, arrays, random_set

coco = pytest.importorskip("pycocotools.coco", reason="needs the extra parity")
cocoeval = pytest.importorskip("pycocotools.cocoeval", reason="needs the extra parity")

pytestmark = pytest.mark.parity

RANDOM_SETS = [random_set(seed) for seed in range(10)] + [
    random_set(20, score_levels=4),
    random_set(21, score_levels=10, whole_pixels=True),
    random_set(22, images=3, categories=[1], objects=40, found=400),
    random_set(23, images=60, categories=[2, 90], objects=2, found=3, crowd=0.5),
    random_set(24, images=5, objects=0),
    random_set(25, images=2, categories=[0, 1], objects=3, found=8),
]
SETS = adversarial_sets() + RANDOM_SETS


def pycocotools_eval(instances: dict, results: list) -> cocoeval.COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = copy.deepcopy(instances)
        truth.createIndex()
        judge = cocoeval.COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def assert_equal_to_pycocotools(ours, instances: dict, results: list) -> None:
    theirs = pycocotools_eval(instances, results)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_allclose(getattr(ours, name), theirs.eval[name], rtol=0, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(list(ours.figures().values()), theirs.stats, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", SETS, ids=lambda case: case.name)
def test_figures_and_arrays_equal_pycocotools(case: CocoSet) -> None:
    assert_equal_to_pycocotools(evaluate(*arrays(case)), case.instances, case.results)


def test_the_sets_are_not_trivial() -> None:
    """A set where nothing is ever hit, or everything is, would pass with many a defect."""
    figures = [evaluate(*arrays(case)).figures() for case in RANDOM_SETS[:10]]
    for name in figures[0]:
        values = [row[name] for row in figures]
        assert min(values) > 0, name
        assert max(values) < 1, name


def test_files_yield_the_same_as_arrays(tmp_path: Path) -> None:
    case = random_set(3, categories=GAPPED_IDS)
    (tmp_path / "instances.json").write_text(json.dumps(case.instances))
    (tmp_path / "results.json").write_text(json.dumps(case.results))
    ours = evaluate(read_results(tmp_path / "results.json"), read_coco(tmp_path / "instances.json"))
    assert_equal_to_pycocotools(ours, case.instances, case.results)


@pytest.mark.shared_data
@pytest.mark.parametrize("levels", [None, 5], ids=["all-scores-differ", "ties"])
def test_real_annotations_with_crowds_equal_pycocotools(data: Path, tmp_path: Path, levels: int | None) -> None:
    """The detections are the objects themselves, moved a little, some with another class, and some duplicates."""
    path = data / "coco_val80" / "instances_val2017.json"
    instances = json.loads(path.read_text())
    random = np.random.default_rng(1)
    results = []
    for row in instances["annotations"] * 3:
        x, y, w, h = row["bbox"] + random.normal(0, 0.08, 4) * (row["bbox"][2:] * 2)
        category = row["category_id"] if random.random() < 0.9 else int(random.choice(GAPPED_IDS))
        score = random.random() if levels is None else random.integers(levels) / levels
        box = [x, y, max(w, 0.5), max(h, 0.5)]
        results.append({"image_id": row["image_id"], "category_id": category, "bbox": box, "score": score})
    (tmp_path / "results.json").write_text(json.dumps(results))
    ours = evaluate(read_results(tmp_path / "results.json"), read_coco(path))
    assert 0.05 < ours.figures()["AP"] < 0.9
    assert_equal_to_pycocotools(ours, instances, results)
