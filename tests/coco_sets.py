"""Data sets that try the evaluators: random ones and adversarial ones, all from seeded generators.

Each is a pair of what COCO's two files hold: the instances object and the list of results.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pure_detect.evaluate import Category, GroundTruth, Image, Results

# As COCO's own: from 1 to 90, with gaps.
GAPPED_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


class CocoSet(NamedTuple):
    name: str
    instances: dict[str, Any]
    results: list[dict[str, Any]]


def instances(images: list[int], categories: list[int], objects: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Objects are (image, category, box) or (image, category, box, area) or (image, category, box, area, crowd)."""
    annotations = []
    for number, (image, category, box, *rest) in enumerate(objects, start=1):
        area = float(rest[0]) if rest else float(box[2] * box[3])
        crowd = int(rest[1]) if len(rest) > 1 else 0
        row = {"id": number, "image_id": image, "category_id": category, "bbox": [float(v) for v in box]}
        annotations.append(row | {"area": area, "iscrowd": crowd})
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in images],
        "categories": [{"id": c, "name": f"class {c}"} for c in categories],
        "annotations": annotations,
    }


def detection(image: int, category: int, box: Any, score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": [float(v) for v in box], "score": float(score)}


def arrays(coco: CocoSet) -> tuple[Results, GroundTruth]:
    """The same set as plain arrays."""
    rows, found = coco.instances["annotations"], coco.results
    truth = GroundTruth(
        [row["image_id"] for row in rows],
        [row["category_id"] for row in rows],
        [row["bbox"] for row in rows],
        [row["area"] for row in rows],
        [row["iscrowd"] for row in rows],
        images=[Image(row["id"], row["file_name"], row["width"], row["height"]) for row in coco.instances["images"]],
        categories=[Category(row["id"], row["name"]) for row in coco.instances["categories"]],
    )
    fields = ("image_id", "category_id", "bbox", "score")
    return Results(*[[row[field] for row in found] for field in fields]), truth


def random_set(
    seed: int,
    images: int = 20,
    categories: list[int] | None = None,
    objects: int = 6,
    found: int = 12,
    crowd: float = 0.1,
    score_levels: int | None = None,
    whole_pixels: bool = False,
) -> CocoSet:
    """Objects of all sizes, detections near them and elsewhere; means an image; boxes reach outside the picture."""
    random = np.random.default_rng(seed)
    ids = sorted(random.choice(1000, images, replace=False).tolist())
    random.shuffle(ids)
    categories = GAPPED_IDS[:8] if categories is None else categories
    rows, results = [], []
    for image in ids:
        boxes = _random_boxes(random, random.poisson(objects), whole_pixels)
        classes = random.choice(categories, len(boxes))
        for box, category in zip(boxes, classes):
            area = box[2] * box[3] * random.uniform(0.4, 1)
            rows.append((image, int(category), box, area, int(random.random() < crowd)))
        chosen = random.integers(0, len(boxes), random.poisson(found)) if len(boxes) else np.empty(0, int)
        near = _jitter(random, boxes[chosen])
        elsewhere = _random_boxes(random, random.poisson(found // 3), whole_pixels)
        guesses = [*classes[chosen], *random.choice(categories, len(elsewhere))]
        for box, guess in zip(np.concatenate([np.round(near) if whole_pixels else near, elsewhere]), guesses):
            score = random.random() if score_levels is None else random.integers(score_levels) / score_levels
            category = guess if random.random() < 0.8 else random.choice(categories)
            results.append(detection(image, int(category), np.maximum(box, (-1e9, -1e9, 1, 1)), score))
    order = random.permutation(len(results))
    return CocoSet(f"random-{seed}", instances(ids, categories, rows), [results[i] for i in order])


def _random_boxes(random: np.random.Generator, count: int, whole_pixels: bool) -> np.ndarray:
    sizes = np.exp(random.uniform(np.log(4), np.log(300), (count, 2)))
    boxes = np.concatenate([random.uniform(-50, 600, (count, 2)), sizes], axis=1)
    return np.round(boxes) if whole_pixels else boxes


def _jitter(random: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """Move corners by some share of the size; half of them so little that the strict thresholds are passed too."""
    amount = random.choice([0.03, 0.2], (len(boxes), 1))
    moved = boxes.copy()
    moved[:, :2] += random.normal(0, 1, (len(boxes), 2)) * amount * boxes[:, 2:]
    moved[:, 2:] *= np.exp(random.normal(0, 1, (len(boxes), 2)) * amount)
    return moved


def adversarial_sets() -> list[CocoSet]:
    """One set for each rule that an evaluator can get wrong."""
    box = (10, 10, 40, 40)
    one = instances([1], [1], [(1, 1, box)])
    return [
        CocoSet("one-detection", one, [detection(1, 1, box, 0.5)]),
        CocoSet("one-detection-that-misses", one, [detection(1, 1, (300, 300, 5, 5), 0.5)]),
        CocoSet("no-object", instances([1, 2], [1, 3], []), [detection(2, 3, box, 0.5)]),
        CocoSet("empty-images-and-classes", instances([9, 2, 5], [7, 1, 90], [(2, 7, box)]),
                [detection(5, 7, box, 0.9), detection(2, 7, box, 0.8), detection(9, 90, box, 0.7)]),
        CocoSet("score-zero-and-negative", one, [detection(1, 1, box, 0.0), detection(1, 1, box, -0.5)]),
        _all_crowds(),
        _crowd_absorbs_several(),
        _areas_on_the_borders(),
        _outside_the_picture(),
        _ious_on_the_thresholds(),
        _equal_ious(),
        _ignored_objects_by_iou(),
        _more_than_the_limit(),
        _thousands_of_ties(),
        _recall_on_the_points(),
        random_set(77, categories=GAPPED_IDS, found=30),
    ]  # fmt: skip


def _all_crowds() -> CocoSet:
    coco = random_set(5, crowd=1.0)
    return coco._replace(name="all-crowds")


def _crowd_absorbs_several() -> CocoSet:
    """Detections inside a crowd, beside an object that lies in the same crowd."""
    objects = [(1, 1, (0, 0, 200, 200), 30000, 1), (1, 1, (20, 20, 60, 60)), (2, 1, (0, 0, 50, 50))]
    inside = [detection(1, 1, (10 * i, 10 * i, 50, 50), 0.9 - 0.01 * i) for i in range(14)]
    missed = [detection(1, 1, (400, 10 * i, 50, 50), 0.85 - 0.01 * i) for i in range(5)]
    return CocoSet("crowd-absorbs-several", instances([1, 2], [1], objects), inside + missed)


def _areas_on_the_borders() -> CocoSet:
    """Objects and detections of exactly 32² and 96², and a hair beside."""
    areas = [0.0, 1024, np.nextafter(1024, 0), np.nextafter(1024, 2000), 9216, np.nextafter(9216, 0), 1e10, 2e10]
    boxes = [(0, 0, 32, 32), (50, 0, 16, 64), (0, 100, 96, 96), (200, 100, 48, 192), (300, 0, 32.0000001, 32)]
    objects = [(1 + i, 1, boxes[i % 5], area) for i, area in enumerate(areas)]
    objects += [(20, 1, box) for box in boxes]
    results = [detection(image, 1, box, 0.9) for image, _, box, *_ in objects]
    results += [detection(21, 1, (300, 300, *box[2:]), 0.95) for box in boxes]
    return CocoSet("areas-on-the-borders", instances([*range(1, 9), 20, 21], [1], objects), results)


def _outside_the_picture() -> CocoSet:
    objects = [(1, 1, (-100, -80, 160, 120)), (1, 1, (600, 450, 500, 500)), (2, 1, (-1e6, -1e6, 2e6, 2e6))]
    results = [detection(image, 1, np.array(box) * (1, 1, 0.97, 1.01), 0.5 + 0.1 * image) for image, _, box in objects]
    return CocoSet("outside-the-picture", instances([1, 2], [1], objects), results)


def _ious_on_the_thresholds() -> CocoSet:
    """Against a box of 20 x 1 whole pixels, detections whose IoU is n / 20: .5, .55 and so on, and one step under."""
    objects, results = [], []
    for image, n in enumerate(range(9, 21), start=1):
        objects.append((image, 1, (0, 0, 20, 1)))
        results.append(detection(image, 1, (0, 0, n, 1), 0.5))
        objects.append((image, 2, (5, 5, 100, 100)))
        results.append(detection(image, 2, (5, 5, np.nextafter(5.0 * n, 0), 100), 0.5))
    return CocoSet("ious-on-the-thresholds", instances(list(range(1, 13)), [1, 2], objects), results)


def _equal_ious() -> CocoSet:
    """A detection between two objects, equally near: the later one is taken, so the next detection misses or not."""
    objects = [(1, 1, (0, 0, 10, 10)), (1, 1, (4, 0, 10, 10)), (2, 1, (4, 0, 10, 10)), (2, 1, (0, 0, 10, 10))]
    objects += [(3, 1, (0, 0, 10, 10), 100, 1), (3, 1, (0, 0, 10, 10)), (3, 1, (0, 0, 10, 10), 2000)]
    results = [detection(i, 1, (2, 0, 10, 10), 0.9) for i in (1, 2)]
    results += [detection(i, 1, (0, 0, 10, 10), 0.8) for i in (1, 2)]
    results += [detection(3, 1, (0, 0, 10, 10), s) for s in (0.9, 0.9, 0.9, 0.5)]
    return CocoSet("equal-ious", instances([1, 2, 3], [1], objects), results)


def _ignored_objects_by_iou() -> CocoSet:
    """Objects whose masks are too small for the range of their boxes: among these, too, the greatest IoU is taken.

    The first detection overlaps both, the second only the first object: whether that is free decides if the second
    detection is left out or a false alarm.
    """
    objects = [(1, 1, (0, 0, 50, 50), 900), (1, 1, (12, 0, 50, 50), 900), (1, 1, (200, 200, 50, 50))]
    objects += [(2, 1, (12, 0, 50, 50), 900), (2, 1, (0, 0, 50, 50), 900, 1), (2, 1, (0, 0, 50, 50), 900)]
    boxes = [((10, 0, 50, 50), 0.9), ((0, 10, 50, 50), 0.8), ((200, 200, 50, 50), 0.7)]
    results = [detection(image, 1, box, score) for image in (1, 2) for box, score in boxes]
    return CocoSet("ignored-objects-by-iou", instances([1, 2], [1], objects), results)


def _more_than_the_limit() -> CocoSet:
    """250 detections an image and class; objects are hit by the 1st, 2nd, 10th, 11th, 100th, 101st and later."""
    objects, results = [], []
    for image in (3, 1, 2):
        objects += [(image, 1, (rank * 50, image, 40, 40)) for rank in (0, 1, 9, 10, 99, 100, 101, 249)]
        results += [detection(image, 1, (rank * 50, image, 40, 40), 1 - rank / 300) for rank in range(250)]
    random = np.random.default_rng(3)
    return CocoSet(
        "more-than-the-limit", instances([3, 1, 2], [1], objects), [results[i] for i in random.permutation(750)]
    )


def _thousands_of_ties() -> CocoSet:
    """Three scores for thousands of detections, within images and across them."""
    coco = random_set(11, images=40, categories=[1, 5], objects=10, found=120, score_levels=3, whole_pixels=True)
    return coco._replace(name="thousands-of-ties")


def _recall_on_the_points() -> CocoSet:
    """100 and 10 objects, found one by one: recall meets every one of the 101 points."""
    objects = [(1, 1, (i * 50, 0, 40, 40)) for i in range(100)] + [(1, 2, (i * 50, 0, 40, 40)) for i in range(10)]
    results = [detection(1, c, b, 1 - i / 200) for i, (_, c, b) in enumerate(objects)]
    results += [detection(1, 1, (i * 50, 900, 40, 40), 1 - i / 70) for i in range(0, 100, 7)]
    return CocoSet("recall-on-the-points", instances([1], [1, 2], objects), results)
