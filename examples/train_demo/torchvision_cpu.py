"""torchvision, also where its compiled operators do not fit the installed torch, as beside torch's CPU build.

Its detection models need one of them, `nms`; here it is declared with a plain implementation, and the declarations of
the others are let pass.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import torch


def import_torchvision() -> Any:
    """Return the torchvision module with working detection models."""
    try:
        import torchvision

        torch.ops.torchvision.nms  # noqa: B018 - raises where the operator is missing
        return torchvision
    except (RuntimeError, AttributeError):
        return _import_with_own_nms()


def _import_with_own_nms() -> Any:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    register = torch.library.register_fake
    torch.library.register_fake = _lenient_register_fake(register)
    try:
        torchvision = importlib.import_module("torchvision")
    finally:
        torch.library.register_fake = register
    torchvision.extension._has_ops = _has_ops
    torchvision._own_nms_library = library  # the registration lives as long as this object
    return torchvision


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Keep the best box, drop what overlaps it by more, and go on: `nms_kernel.cpp` of torchvision 0.28."""
    order = scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        corners = torch.maximum(boxes[best, :2], boxes[rest, :2]), torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        inter = (corners[1] - corners[0]).clamp(min=0).prod(dim=1)
        order = rest[~(inter / (areas[best] + areas[rest] - inter) > iou_threshold)]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)


def _lenient_register_fake(register: Callable[..., Any]) -> Callable[..., Any]:
    def register_fake(name: str, *args: Any, **options: Any) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            try:
                return register(name, *args, **options)(function)
            except RuntimeError:  # an operator that is not there
                return function

        return decorate

    return register_fake


def _has_ops() -> bool:
    return True
