"""Record what py-faster-rcnn's VOC evaluation makes of random objects and detections.

    python tests/golden/record_voc_eval.py .../py-faster-rcnn/lib/datasets/voc_eval.py

Take that file from rbgirshick/py-faster-rcnn at 781a917. It is Python 2; its print statements, cPickle and the
retired np.bool are put right while it is loaded, nothing else. Writes `voc_eval.npz` beside this file.

Arrays of the recording; boxes are xmin, ymin, xmax, ymax in pixels numbered from 1, both ends within:

    truth_image, truth_class, truth_difficult   (N,)
    truth_boxes                                 (N, 4), whole numbers
    image, class_, scores                       (D,), no two scores are equal: the order of ties is left open there
    boxes                                       (D, 4), one decimal, as py-faster-rcnn writes them
    recall_<c>, precision_<c>                   (D of class c,), from the best score down
    area, eleven                                (classes,) average precision
    generator                                   how it was made
"""

from __future__ import annotations

import pickle
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

COMMAND = "python tests/golden/record_voc_eval.py PATH_OF_VOC_EVAL.PY"
FOLDER = Path(__file__).parent
IMAGES, CLASSES, SIZE = 12, 3, 300


def load(path: Path) -> ModuleType:
    """Return voc_eval.py as a module of Python 3."""
    source = path.read_text().replace("print '", "_ = '")
    source = source.replace("import cPickle\n", "").replace("np.bool)", "bool)")
    source = re.sub(r"open\(cachefile, '([wr])'\)", r"open(cachefile, '\1b')", source)
    module = ModuleType("voc_eval")
    module.__dict__["cPickle"] = pickle
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def random_case(random: np.random.Generator) -> dict[str, Any]:
    count = 60
    corner = random.integers(1, SIZE - 60, (count, 2))
    truth = np.concatenate([corner, corner + random.integers(0, 60, (count, 2))], axis=1)
    source = random.integers(0, count, 150)
    spread = random.choice([0.05, 0.25], (150, 1)) * (truth[source, 2:] - truth[source, :2] + 4).mean(axis=1)[:, None]
    boxes = np.sort((truth[source] + random.normal(0, spread, (150, 4))).reshape(150, 2, 2), axis=1).reshape(150, 4)
    classes, images = random.integers(0, CLASSES, count), random.integers(0, IMAGES - 1, count)
    return {
        "truth_image": images,
        "truth_class": classes,
        "truth_difficult": random.random(count) < 0.2,
        "truth_boxes": truth,
        "image": np.where(random.random(150) < 0.9, images[source], IMAGES - 1),  # the last image has no object
        "class_": classes[source],
        "scores": random.permutation(150) / 150,
        "boxes": np.round(boxes, 1),
    }


def annotation(case: dict[str, Any], image: int) -> str:
    objects = []
    for i in np.flatnonzero(case["truth_image"] == image):
        edges = zip(("xmin", "ymin", "xmax", "ymax"), case["truth_boxes"][i])
        box = "".join(f"<{name}>{value}</{name}>" for name, value in edges)
        difficult = int(case["truth_difficult"][i])
        objects.append(
            f"<object><name>c{case['truth_class'][i]}</name><pose>Left</pose><truncated>0</truncated>"
            f"<difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"
        )
    return f"<annotation>{''.join(objects)}</annotation>"


def main(path: Path) -> None:
    oracle, case = load(path), random_case(np.random.default_rng(0))
    recorded: dict[str, Any] = {"area": np.zeros(CLASSES), "eleven": np.zeros(CLASSES)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "set.txt").write_text("\n".join(map(str, range(IMAGES))))
        for image in range(IMAGES):
            (folder / f"{image}.xml").write_text(annotation(case, image))
        for c in range(CLASSES):
            rows = np.flatnonzero(case["class_"] == c)
            numbers = np.column_stack([case["scores"], case["boxes"]]).tolist()
            lines = [f"{case['image'][i]} {' '.join(map(repr, numbers[i]))}" for i in rows]
            (folder / f"c{c}.txt").write_text("\n".join(lines))
            arguments = (str(folder / "{}.txt"), str(folder / "{}.xml"), str(folder / "set.txt"), f"c{c}")
            recall, precision, area = oracle.voc_eval(*arguments, str(folder / "cache"))
            eleven = oracle.voc_eval(*arguments, str(folder / "cache"), use_07_metric=True)[2]
            recorded |= {f"recall_{c}": recall, f"precision_{c}": precision}
            recorded["area"][c], recorded["eleven"][c] = area, eleven
    generator = f"rbgirshick/py-faster-rcnn 781a917 lib/datasets/voc_eval.py, numpy {np.__version__}; {COMMAND}"
    np.savez_compressed(FOLDER / "voc_eval.npz", **case, **recorded, generator=np.array(generator))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
