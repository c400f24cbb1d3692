"""Record what Darknet's C code makes of random heads: boxes, probabilities, and what its NMS keeps.

    python tests/golden/record_darknet_boxes.py .../darknet/libdarknet.so

Build pjreddie/darknet (f6afaab) and AlexeyAB/darknet (59596d7, with AVX=0 LIBSO=1) for the CPU and run this
once with each library; the fork is told from the library's symbols. It writes
`darknet_boxes_<fork>_<case>.npz` beside this file.

Each network is one max-pool over blocks of STRIDE by STRIDE pixels and the head. Fed with an image in which
every block holds one number of the random head, the pool hands exactly that head on: no weights are needed,
and the network input is larger than the grid.

Arrays of a recording, for n boxes and C classes, in Darknet's order:

    raw            (planes, h, w) float32, the head's input
    boxes_cxcywh   (n, 4) float32, relative to the network input
    scores         (n, C) float32, 0 unless over `threshold`
    kept           (n, C) bool, scores that are not 0 after NMS
    threshold, nms_threshold, network_height, network_width
    generator      how it was made
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

COMMAND = "python tests/golden/record_darknet_boxes.py PATH_OF_LIBDARKNET.so"
FOLDER = Path(__file__).parent

H, W, STRIDE, CLASSES = 3, 5, 8, 4
THRESHOLD, NMS_THRESHOLD = 0.005, 0.3
NMS_KINDS = {"default": 0, "greedynms": 1, "diounms": 2}

YOLO = f"classes={CLASSES}\nnum=4\nmask=1,2,3\nanchors=9,99, 20,14, 34,30, 60,26\n"
REGION = f"classes={CLASSES}\nnum=3\ncoords=4\nanchors=1.25,0.75, 2.5,2, 3.5,1.5\n"


class Case(NamedTuple):
    """One recording: the head's section of a cfg, and how its NMS is called."""

    fork: str
    name: str
    section: str
    planes_per_anchor: int = 5 + CLASSES
    nms_kind: str = "default"
    beta: float = 0.6


CASES = (
    Case("pjreddie", "yolo", "[yolo]\n" + YOLO),
    Case("pjreddie", "region", "[region]\nsoftmax=1\n" + REGION),
    Case("pjreddie", "region_logistic", "[region]\nsoftmax=0\n" + REGION),
    Case("alexeyab", "yolo_scaled", "[yolo]\nscale_x_y=1.2\n" + YOLO, nms_kind="greedynms"),
    Case("alexeyab", "yolo_new_coords", "[yolo]\nscale_x_y=2.0\nnew_coords=1\n" + YOLO, 9, "diounms", 0.8),
    Case("alexeyab", "region", "[region]\nsoftmax=1\n" + REGION),
    Case("alexeyab", "gaussian", "[Gaussian_yolo]\nscale_x_y=1.1\n" + YOLO, 9 + CLASSES),
    Case("alexeyab", "gaussian_left_top", "[Gaussian_yolo]\nyolo_point=left_top\n" + YOLO, 9 + CLASSES),
    Case("alexeyab", "gaussian_right_bottom", "[Gaussian_yolo]\nyolo_point=right_bottom\n" + YOLO, 9 + CLASSES),
)


def load(name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one recording."""
    with np.load(FOLDER / f"darknet_boxes_{name}.npz") as recording:
        return dict(recording)


class PjreddieDetection(Structure):
    """`detection` of pjreddie's `include/darknet.h`."""

    _fields_ = (
        ("bbox", c_float * 4),
        ("classes", c_int),
        ("prob", POINTER(c_float)),
        ("mask", c_void_p),
        ("objectness", c_float),
        ("sort_class", c_int),
    )


class AlexeyABDetection(Structure):
    """`detection` of AlexeyAB's `include/darknet.h`."""

    _fields_ = (
        ("bbox", c_float * 4),
        ("classes", c_int),
        ("best_class_idx", c_int),
        ("prob", POINTER(c_float)),
        ("mask", c_void_p),
        ("objectness", c_float),
        ("sort_class", c_int),
        ("uc", c_void_p),
        ("points", c_int),
        ("embeddings", c_void_p),
        ("embedding_size", c_int),
        ("sim", c_float),
        ("track_id", c_int),
    )


def random_head(case: Case, seed: int) -> NDArray[np.float32]:
    """Return a head (planes, h, w) with boxes near their anchors' sizes and a fair share of high scores."""
    random = np.random.default_rng(seed)
    raw = random.normal(0, 1.5, (3, case.planes_per_anchor, H, W))
    if "new_coords" in case.section:  # such a head comes out of a logistic convolution
        raw = 1 / (1 + np.exp(-raw))
    elif "Gaussian" in case.section:
        raw[:, [4, 6]] /= 4
    else:
        raw[:, 2:4] /= 4
    return raw.reshape(-1, H, W).astype(np.float32)


def run_darknet(library: ctypes.CDLL, case: Case, raw: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return boxes, scores and what NMS keeps, by the C code."""
    alexeyab = case.fork == "alexeyab"
    detection = AlexeyABDetection if alexeyab else PjreddieDetection
    library.load_network.restype = c_void_p
    library.load_network.argtypes = [c_char_p, c_char_p, c_int]
    predict = library.network_predict_ptr if alexeyab else library.network_predict
    predict.argtypes = [c_void_p, POINTER(c_float)]
    library.get_network_boxes.restype = POINTER(detection)
    common: list[Any] = [c_void_p, c_int, c_int, c_float, c_float, c_void_p, c_int, POINTER(c_int)]
    library.get_network_boxes.argtypes = [*common, c_int] if alexeyab else common

    with tempfile.TemporaryDirectory() as folder:
        cfg = Path(folder) / "head.cfg"
        net = f"[net]\nbatch=1\nwidth={W * STRIDE}\nheight={H * STRIDE}\nchannels={len(raw)}\n"
        cfg.write_text(f"{net}[maxpool]\nsize={STRIDE}\nstride={STRIDE}\npadding=0\n{case.section}")
        network = library.load_network(str(cfg).encode(), None, 0)
    image = np.ascontiguousarray(raw.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2))
    predict(network, image.ctypes.data_as(POINTER(c_float)))
    count = c_int()
    stretch = (0,) if alexeyab else ()
    size = (W * STRIDE, H * STRIDE)
    found = library.get_network_boxes(network, *size, THRESHOLD, 0.5, None, 1, byref(count), *stretch)

    boxes = np.array([found[i].bbox[:] for i in range(count.value)], np.float32)
    scores = np.array([found[i].prob[:CLASSES] for i in range(count.value)], np.float32)
    # NMS sorts the detections; each keeps its own array of probabilities, which tells them apart.
    number = {ctypes.addressof(found[i].prob.contents): i for i in range(count.value)}
    suppress(library, case, found, count.value)
    kept = np.zeros(scores.shape, np.bool_)
    for i in range(count.value):
        kept[number[ctypes.addressof(found[i].prob.contents)]] = np.array(found[i].prob[:CLASSES]) != 0
    return {"boxes_cxcywh": boxes, "scores": scores, "kept": kept}


def suppress(library: ctypes.CDLL, case: Case, found: Any, count: int) -> None:
    """Call the NMS that Darknet's `detector test` calls for this `nms_kind`."""
    if case.nms_kind == "default":
        library.do_nms_sort(found, count, CLASSES, c_float(NMS_THRESHOLD))
    else:
        kind = NMS_KINDS[case.nms_kind]
        library.diounms_sort(found, count, CLASSES, c_float(NMS_THRESHOLD), kind, c_float(case.beta))


def main() -> None:
    """Record every case of the fork whose library is given."""
    path = Path(sys.argv[1]).resolve()
    library = ctypes.CDLL(str(path))
    fork = "alexeyab" if hasattr(library, "diounms_sort") else "pjreddie"
    git = ["git", "-C", str(path.parent), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    for seed, case in enumerate(CASES):
        if case.fork != fork:
            continue
        raw = random_head(case, seed)
        made = f"{fork}/darknet {commit}, CPU; {COMMAND}; seed {seed}"
        generator = f"{made}; nms_kind {case.nms_kind}, beta {case.beta}; {case.section!r}"
        arrays: dict[str, Any] = {
            "raw": raw,
            "threshold": THRESHOLD,
            "nms_threshold": NMS_THRESHOLD,
            "network_height": H * STRIDE,
            "network_width": W * STRIDE,
            "generator": generator,
            **run_darknet(library, case, raw),
        }
        np.savez_compressed(FOLDER / f"darknet_boxes_{fork}_{case.name}.npz", **arrays)


if __name__ == "__main__":
    main()
