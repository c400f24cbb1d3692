"""`demo-ssdlite` in torchvision with its own post-processing: what its average precision here is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes_folder import LIMIT
from ssdlite import detect
from ssdlite_module import torchvision_ssdlite

from pure_detect.demo.networks import SSDLITE_FIRST, SSDLITE_ROWS
from pure_detect.loading import read_file
from weights_convert.names.ssdlite import torchvision_ssdlite as names

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes_xyxy in pixels, scores, class ids from 0, the best first
Detect = Callable[[np.ndarray], Found]


def model_of(weights: Path) -> Any:
    """Return torchvision's model with the parameters of a weight file, as detectors are run: in evaluation mode."""
    _, _, parameters = read_file(weights)
    model = torchvision_ssdlite()
    state = model.state_dict()
    state.update({pair.theirs: torch.from_numpy(parameters[pair.ours]) for pair in names(SSDLITE_ROWS, SSDLITE_FIRST)})
    model.load_state_dict(state)
    return model.eval()


def torchvision(weights: Path) -> Detect:
    """Return a function from a picture (H, W, 3), RGB, to its objects."""
    model = model_of(weights)

    def run(pixels: np.ndarray) -> Found:
        batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        boxes, scores, class_ids = detect(model, batch)[0]
        return boxes[:LIMIT], scores[:LIMIT], class_ids[:LIMIT]

    return run


DETECTORS: dict[str, Callable[[Path], Detect]] = {"torchvision": torchvision}
