"""YOLOv3's loss, written for whole batches.

As in the paper (Redmon and Farhadi 2018, section 2.1) the centre's cell and the anchor that fits an object best must
find it, boxes that overlap an object well without being chosen are ignored, and classes are told apart by independent
logistic classifiers. Three later customs of AlexeyAB/darknet and Ultralytics make a short training go further:

* every anchor that fits an object by more than `FITS` is chosen too (darknet's `iou_thresh`);
* boxes are compared by complete IoU (Zheng et al. 2020), not by the squares of their t_x, t_y, t_w, t_h;
* the objectness to be learnt is the box's IoU with its object, so that of two boxes the better one wins suppression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from pure_detect.boxes.decode_yolo import YoloHead

FITS = 0.35  # IoU of anchor and object, both centred
IGNORED = 0.6  # IoU of a box and an object that it need not find
BOX_WEIGHT, OBJECTNESS_WEIGHT, CLASS_WEIGHT = 3.0, 1.0, 1.0
TINY = 1e-7


def decode(raw: Tensor, head: YoloHead, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return boxes and logits of a raw head: the rule that stands in `pure_detect/boxes/decode_yolo.py`.

    Parameters
    ----------
    raw : tensor (N, B (5 + C), h, w)
    head : YoloHead
    height, width : int
        Of the network input.

    Returns
    -------
    boxes_xyxy : tensor (N, B, h, w, 4)
        In pixels of the network input.
    logits : tensor (N, B, h, w, 1 + C)
        Of the objectness and the classes.
    """
    N, _, h, w = raw.shape
    cells = raw.view(N, len(head.anchors), 5 + head.classes, h, w).permute(0, 1, 3, 4, 2)
    corner_y, corner_x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    corners = torch.stack([corner_x, corner_y], -1).to(raw.dtype)
    anchors = torch.tensor(head.anchors, dtype=raw.dtype)[:, None, None]
    step = torch.tensor([width / w, height / h], dtype=raw.dtype)
    centres = (cells[..., :2].sigmoid() + corners) * step
    sizes = cells[..., 2:4].clamp(max=8).exp() * anchors
    return torch.cat([centres - sizes / 2, centres + sizes / 2], -1), cells[..., 4:]


def yolo_loss(
    raw: Mapping[str, Tensor],
    heads: Sequence[YoloHead],
    size: int,
    boxes_xyxy: Sequence[Tensor],
    class_ids: Sequence[Tensor],
) -> Tensor:
    """Return the loss of a batch: sums over cells and chosen boxes, by the number of chosen boxes.

    Parameters
    ----------
    raw : mapping of str to tensor (N, B (5 + C), h, w)
    heads : sequence of YoloHead
    size : int
        Height and width of the network input.
    boxes_xyxy, class_ids : N tensors (n, 4) and (n,)
    """
    pictures = torch.repeat_interleave(torch.tensor([len(boxes) for boxes in boxes_xyxy]))
    objects, classes = torch.cat(list(boxes_xyxy)), torch.cat(list(class_ids))
    padded = torch.nn.utils.rnn.pad_sequence(list(boxes_xyxy), batch_first=True)
    chosen = _choose_anchors(objects, torch.tensor([anchor for head in heads for anchor in head.anchors]))
    total, count, first = torch.zeros(()), 0, 0
    for head in heads:
        boxes, logits = decode(raw[head.tensor], head, size, size)
        rows, anchors = chosen[:, first : first + len(head.anchors)].nonzero(as_tuple=True)
        first, count = first + len(head.anchors), count + len(rows)
        places = (pictures[rows], anchors, *_cells(objects[rows], boxes.shape[2:4], size))
        total = total + _head_loss(boxes, logits, padded, places, objects[rows], classes[rows])
    return total / max(count, 1)


def _head_loss(
    boxes: Tensor, logits: Tensor, padded: Tensor, places: tuple[Tensor, ...], objects: Tensor, classes: Tensor
) -> Tensor:
    """Return the sum over one head of the losses of boxes, objectness and classes."""
    overlaps, complete = complete_iou(boxes[places], objects)
    wanted = torch.zeros_like(logits[..., 0])
    with torch.no_grad():
        counted = 1 - (_best_overlaps(boxes, padded) > IGNORED).to(wanted.dtype)
        counted[places] = 1.0
        wanted[places] = overlaps.clamp(0, 1)
    objectness = F.binary_cross_entropy_with_logits(logits[..., 0], wanted, weight=counted, reduction="sum")
    one_hot = F.one_hot(classes, logits.shape[-1] - 1).to(logits.dtype)
    class_loss = F.binary_cross_entropy_with_logits(logits[places][:, 1:], one_hot, reduction="sum")
    return BOX_WEIGHT * (1 - complete).sum() + OBJECTNESS_WEIGHT * objectness + CLASS_WEIGHT * class_loss


def _choose_anchors(objects: Tensor, anchors: Tensor) -> Tensor:
    """Return for M objects and A anchors whether the anchor shall find the object, bool (M, A)."""
    sizes = objects[:, None, 2:] - objects[:, None, :2]
    common = torch.minimum(sizes, anchors).prod(-1)
    fit = common / (sizes.prod(-1) + anchors.prod(-1) - common)
    chosen = fit > FITS
    chosen[torch.arange(len(objects)), fit.argmax(1)] = True
    return chosen


def _cells(objects: Tensor, grid: torch.Size, size: int) -> tuple[Tensor, Tensor]:
    """Return row and column of the cells in which the objects' centres lie."""
    h, w = grid
    centres = (objects[:, :2] + objects[:, 2:]) / 2
    rows, columns = (centres[:, 1] * h / size).long(), (centres[:, 0] * w / size).long()
    return rows.clamp(0, h - 1), columns.clamp(0, w - 1)


def _best_overlaps(boxes: Tensor, padded: Tensor) -> Tensor:
    """Return each box's largest IoU with an object of its picture: (N, B, h, w)."""
    if padded.shape[1] == 0:
        return torch.zeros(boxes.shape[:-1])
    flat = boxes.flatten(1, 3)[:, :, None]
    return iou(flat, padded[:, None])[0].amax(-1).view(boxes.shape[:-1])


def iou(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and area of the union of boxes, whose shapes broadcast."""
    sides = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    common = sides.clamp(min=0).prod(-1)
    areas = ((box[..., 2:] - box[..., :2]).prod(-1) for box in (one, other))
    union = sum(areas) - common
    return common / (union + TINY), union


def complete_iou(boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and complete IoU of M pairs: IoU less the centres' distance and the difference of the aspect ratios.

    Source: Zheng et al. 2020, "Distance-IoU Loss", equations 7 to 11.
    """
    plain, _ = iou(boxes, objects)
    outer = torch.maximum(boxes[:, 2:], objects[:, 2:]) - torch.minimum(boxes[:, :2], objects[:, :2])
    apart = ((boxes[:, :2] + boxes[:, 2:] - objects[:, :2] - objects[:, 2:]) / 2).square().sum(-1)
    angles = [torch.atan2(b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]) for b in (boxes, objects)]
    aspect = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        weight = aspect / (1 - plain + aspect + TINY)
    return plain.detach(), plain - apart / (outer.square().sum(-1) + TINY) - weight * aspect
