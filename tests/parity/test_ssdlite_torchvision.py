"""SSDLite and MobileNetV3 of torchvision's line against torchvision, on the same random weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.boxes.anchors import anchors_cxcywh
from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.boxes.decode import decode
from pure_detect.boxes.nms import nms
from pure_detect.boxes.scored import select
from pure_detect.detector import Detector
from pure_detect.graph import Graph
from pure_detect.image import PLACE, prepare
from pure_detect.models.mobilenetv3 import LARGE, reduced_tail
from pure_detect.models.ssdlite import SSDLITE320_LARGE
from pure_detect.random_weights import noise_pictures, random_parameters
from pure_detect.reference import ReferenceExecutor
from tests.comparisons import assert_outputs_agree
from tests.parity.torch_models import randomize_batch_norms
from tests.parity.torchvision_cpu import import_torchvision
from weights_convert.names.frameworks import TORCH_IGNORED
from weights_convert.names.matching import match
from weights_convert.names.ssdlite import torchvision_ssdlite

torch = pytest.importorskip("torch", reason="needs the extra parity")
torchvision = import_torchvision()
pytestmark = pytest.mark.parity

Array = NDArray[Any]
ROWS = reduced_tail(LARGE)
PICTURES = [(240, 400), (333, 200)]


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Return torchvision's model with its own random weights, statistics that are not trivial, and spread scores."""
    torch.manual_seed(0)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    randomize_batch_norms(model)
    for name, parameter in model.head.named_parameters():
        if name.endswith(".1.weight") and parameter.ndim == 4 and parameter.shape[1] > 1:
            torch.nn.init.normal_(parameter, 0, 0.1)
    return model


@pytest.fixture(scope="module")
def parameters(theirs: Any) -> dict[str, Array]:
    """Return the same weights under our names; every tensor must have its place."""
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    return match("ssdlite.pth", SSDLITE320_LARGE.build(), state, torchvision_ssdlite(ROWS), TORCH_IGNORED)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    x = noise_pictures((1, 3, height, width), np.random.default_rng(height))[0]
    return np.ascontiguousarray((255 * x.transpose(1, 2, 0)).astype(np.uint8))


def as_torch(pixels: NDArray[np.uint8]) -> Any:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("size", PICTURES, ids=str)
def test_features_and_raw_heads_agree(size: tuple[int, int], theirs: Any, parameters: dict[str, Array]) -> None:
    images, _ = theirs.transform([as_torch(picture(*size))])
    with torch.no_grad():
        features = list(theirs.backbone(images.tensors).values())
        heads = theirs.head(features)
    names = ["backbone.bottleneck12.expand.activation", "backbone.last.activation"]
    names += [f"extras.{i}.expand.activation" for i in range(4)]
    graph = SSDLITE320_LARGE.build()
    ours = ReferenceExecutor(graph, parameters)(images.tensors.numpy(), keep=names)
    assert_outputs_agree(ours, {name: feature.numpy() for name, feature in zip(names, features, strict=True)})
    head = graph.heads[0]
    for tensors, columns, raw in ((head.class_tensors, 91, "cls_logits"), (head.box_tensors, 4, "bbox_regression")):
        rows = [by_anchor(ours[name][0], columns) for name in tensors]
        assert_outputs_agree({raw: np.concatenate(rows)[None]}, {raw: heads[raw].numpy()})


def test_the_input_tensor_agrees_to_the_rounding_of_floats(theirs: Any) -> None:
    for size in PICTURES:
        images, _ = theirs.transform([as_torch(picture(*size))])
        ours, _ = prepare(picture(*size), 320, 320, SSDLITE320_LARGE.preprocessing)
        assert np.abs(ours - images.tensors[0].numpy()).max() < 1e-5


def test_all_3234_anchors_are_the_same_boxes(theirs: Any) -> None:
    maps = [torch.zeros(1, 1, size, size) for size in (20, 10, 5, 3, 2, 1)]
    images = torchvision.models.detection.image_list.ImageList(torch.zeros(1, 3, 320, 320), [(320, 320)])
    expected = theirs.anchor_generator(images, maps)[0].numpy()
    head = SSDLITE320_LARGE.build().heads[0]
    placed = [anchors_cxcywh(row, size, size) for row, size in zip(head.anchors, (20, 10, 5, 3, 2, 1), strict=True)]
    ours = cxcywh_to_xyxy(np.concatenate(placed)) * 320
    assert ours.shape == expected.shape == (3234, 4)
    # torchvision computes them in float32: two roundings of numbers up to 640.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2 * np.spacing(np.float32(640)))


@pytest.mark.parametrize("seed", range(3))
def test_detections_agree_on_the_same_raw_heads(seed: int, theirs: Any) -> None:
    rng = np.random.default_rng(seed)
    graph, network = SSDLITE320_LARGE.build(), SSDLITE320_LARGE
    head = graph.heads[0]
    shapes = dict(zip(graph.outputs, graph.output_shapes, strict=True))
    outputs = {name: rng.normal(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    raw = {
        key: np.concatenate([by_anchor(outputs[name], numbers) for name in tensors])
        for key, tensors, numbers in (
            ("cls_logits", head.class_tensors, 91),
            ("bbox_regression", head.box_tensors, 4),
        )
    }
    maps = [torch.zeros(1, 1, *shapes[name][1:]) for name in head.box_tensors]
    images = torchvision.models.detection.image_list.ImageList(torch.zeros(1, 3, 320, 320), [(320, 320)])
    batch = {key: torch.from_numpy(value)[None] for key, value in raw.items()}
    expected = theirs.postprocess_detections(batch, theirs.anchor_generator(images, maps), images.image_sizes)[0]
    candidates = select(decode(outputs, head, 320, 320), 0.001, network.candidates_per_class)
    whole_input = PLACE["stretch"](320, 320, 320, 320)
    candidates = candidates._replace(boxes_xyxy=whole_input.clip_to_picture(candidates.boxes_xyxy))
    kept = nms(*candidates, network.iou, limit=network.limit)
    np.testing.assert_array_equal(candidates.class_ids[kept] + 1, expected["labels"].numpy())
    np.testing.assert_allclose(candidates.scores[kept], expected["scores"].numpy(), rtol=1e-5)
    np.testing.assert_allclose(320 * candidates.boxes_xyxy[kept], expected["boxes"].numpy(), atol=2e-3)


@pytest.mark.parametrize("size", PICTURES, ids=str)
def test_detections_of_a_picture_agree_after_each_sides_own_post_processing(size: tuple[int, int], theirs: Any) -> None:
    """On weights under which the maps differ from cell to cell; the raw heads, compared above, are torchvision's."""
    model, drawn = copy.deepcopy(theirs), random_parameters(SSDLITE320_LARGE, seed=0)
    state = model.state_dict()
    state.update({pair.theirs: torch.from_numpy(drawn[pair.ours]) for pair in torchvision_ssdlite(ROWS)})
    model.load_state_dict(state)
    pixels = picture(*size)
    images, _ = model.transform([as_torch(pixels)])
    with torch.no_grad():
        heads = model.head(list(model.backbone(images.tensors).values()))
        expected = model([as_torch(pixels)])[0]
    detector = Detector(SSDLITE320_LARGE, drawn)
    detector.forward = lambda x: as_our_tensors(heads, detector.graph)  # type: ignore[method-assign]
    found = detector(pixels, score=0.001)
    np.testing.assert_array_equal(found.class_ids + 1, expected["labels"].numpy())
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), rtol=1e-5)
    np.testing.assert_allclose(found.boxes_xyxy, expected["boxes"].numpy(), atol=5e-3)


def as_our_tensors(heads: dict[str, Any], graph: Graph) -> dict[str, Array]:
    """Return torchvision's raw heads (1, anchors, numbers) as our maps (1, A * numbers, h, w)."""
    shapes = dict(zip(graph.outputs, graph.output_shapes, strict=True))
    found: dict[str, Array] = {}
    for key, names, numbers in (
        ("cls_logits", graph.heads[0].class_tensors, 91),
        ("bbox_regression", graph.heads[0].box_tensors, 4),
    ):
        rows, start = heads[key][0].numpy(), 0
        for name in names:
            channels, h, w = shapes[name]
            stop = start + channels // numbers * h * w
            maps = rows[start:stop].reshape(h, w, -1, numbers).transpose(2, 3, 0, 1)
            found[name], start = np.ascontiguousarray(maps).reshape(1, channels, h, w), stop
    return found


def by_anchor(raw: Array, numbers: int) -> Array:
    """Return (A * numbers, h, w) as torchvision's heads give it: (h * w * A, numbers)."""
    return raw.reshape(-1, numbers, *raw.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, numbers)
