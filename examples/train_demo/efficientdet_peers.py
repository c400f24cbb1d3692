"""`demo-efficientdet` in effdet with its own pixels and post-processing: the other side of its average precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from effdet_module import ROW, SIZE, effdet, effdet_model, normalized
from PIL import Image

from pure_detect.image import IMAGENET_MEAN
from pure_detect.loading import read_file
from pure_detect.models.efficientnet import TIMM
from weights_convert.names.efficientdet import effdet_names

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes_xyxy in pixels, scores, class ids from 0, the best first
Detect = Callable[[np.ndarray], Found]


def model_of(weights: Path) -> torch.nn.Module:
    """Return effdet's model with the parameters of a weight file."""
    _, _, parameters = read_file(weights)
    model = effdet_model()
    state = model.state_dict()
    for pair in effdet_names(ROW, TIMM):
        state[pair.theirs] = torch.from_numpy(parameters[pair.ours]).reshape(state[pair.theirs].shape)
    model.load_state_dict(state)
    return model


def effdet_predictor(weights: Path) -> Detect:
    """Return a function from a picture (H, W, 3), RGB, to its objects."""
    bench = effdet.DetBenchPredict(model_of(weights)).eval()
    transforms = effdet.data.transforms
    fit = transforms.ResizePad(
        SIZE, interpolation="bicubic", fill_color=transforms.resolve_fill_color("mean", IMAGENET_MEAN)
    )

    @torch.no_grad()
    def run(pixels: np.ndarray) -> Found:
        height, width = pixels.shape[:2]
        picture, annotations = fit(Image.fromarray(pixels), {})
        x = torch.from_numpy(np.asarray(picture, np.float32).transpose(2, 0, 1)[None])
        info = {"img_scale": torch.tensor([annotations["img_scale"]]), "img_size": torch.tensor([[width, height]])}
        rows = bench(normalized(x), info)[0].numpy()
        rows = rows[rows[:, 5] > 0]  # the others only fill up to a hundred
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64) - 1

    return run


DETECTORS: dict[str, Callable[[Path], Detect]] = {"effdet": effdet_predictor}
