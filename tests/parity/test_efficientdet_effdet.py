"""EfficientDet against effdet 0.4.1, whose `tf_` models are google/automl's, on random weights of effdet's own kind."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from pure_detect.boxes.anchors import anchors_cxcywh
from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.boxes.decode import decode
from pure_detect.boxes.scored import select
from pure_detect.boxes.soft_nms import soft_nms
from pure_detect.boxes.suppression import suppress
from pure_detect.detections import Detections
from pure_detect.detector import Detector
from pure_detect.graph import Graph
from pure_detect.image import prepare
from pure_detect.models.bifpn import fusion_nodes
from pure_detect.models.efficientdet import IMAGENET_PILLOW
from pure_detect.network import Network
from pure_detect.random_weights import noise_pictures
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import find_network
from tests.parity.torchvision_cpu import import_torchvision
from tests.tolerances import EFFDET
from weights_convert.sources import convert

torch = pytest.importorskip("torch", reason="needs the extra parity")
import_torchvision()
effdet = pytest.importorskip("effdet", reason="needs the extra parity")

pytestmark = pytest.mark.parity

# name, height, width: the larger networks at small inputs, odd ones where effdet builds its network for them.
CASES = [
    ("efficientdet-d0", 256, 192),
    ("efficientdet-d0", 127, 193),
    ("efficientdet-d0-effdet", 192, 256),
    ("efficientdet-d0-effdet", 129, 127),
    ("efficientdet-d1", 128, 192),
    ("efficientdet-d3", 128, 128),
    ("efficientdet-lite0", 160, 192),
]


def effdet_name(name: str) -> str:
    return "efficientdet_d0" if name == "efficientdet-d0-effdet" else f"tf_{name.replace('-', '_')}"


def effdet_model(name: str, height: int, width: int) -> Any:
    """Return effdet's model, initialised by itself; statistics and fusion weights drawn, some of them negative."""
    torch.manual_seed(0)
    options = {"pretrained": False, "pretrained_backbone": False, "image_size": (height, width)}
    model = effdet.create_model(effdet_name(name), **options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        for key, parameter in model.named_parameters():
            if key.endswith("edge_weights"):
                parameter.uniform_(-0.3, 1.5, generator=generator)
            elif key in ("class_net.predict.conv_pw.bias", "class_net.predict.conv_pw.weight"):
                parameter.normal_(0, 1, generator=generator)  # scores that differ from anchor to anchor
    return model


class Pair(NamedTuple):
    model: Any
    network: Network
    parameters: dict[str, np.ndarray]


def pair(name: str, height: int, width: int, folder: Path) -> Pair:
    """Return effdet's model, and its weights by way of a file and `weights-convert`."""
    model, network = effdet_model(name, height, width), find_network(name)
    torch.save(model.state_dict(), folder / "model.pth")
    parameters, _ = convert(folder / "model.pth", network, network.batch_norm_rule)
    return Pair(model, network, parameters)


def network_input(height: int, width: int) -> np.ndarray:
    return 4 * noise_pictures((1, 3, height, width), np.random.default_rng(2)) - 2


def assert_close(ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    assert ours.shape == theirs.shape, name
    assert np.abs(ours - theirs).max() <= EFFDET * np.abs(theirs).max(), name


def hooked(model: Any) -> dict[str, Any]:
    """Return a dictionary that effdet's intermediate maps come into, under our names, when the model runs."""
    maps: dict[str, Any] = {}

    def backbone(_module: Any, _inputs: Any, outputs: Any) -> None:
        # The list itself is extended by what follows.
        maps.update(zip(("stage3", "stage5", "stage7"), list(outputs)[:3], strict=True))

    model.backbone.register_forward_hook(backbone)
    lowest, highest = model.config.min_level, model.config.max_level
    for i, layer in enumerate(model.fpn.cell):
        for node, theirs in zip(fusion_nodes(lowest, highest), layer.fnode, strict=True):
            name = f"fpn.cell{i}.{node.name}.batch_norm"
            theirs.register_forward_hook(lambda _m, _i, out, name=name: maps.__setitem__(name, out))
    return maps


def stage_output(graph: Graph, stage: str) -> str:
    """Return the name of the last node of a backbone's stage."""
    return [node.name for node in graph.nodes if node.name.startswith(f"backbone.{stage}.")][-1]


@pytest.mark.parametrize(("name", "height", "width"), CASES)
def test_features_cells_and_raw_heads_agree(name: str, height: int, width: int, tmp_path: Path) -> None:
    model, network, parameters = pair(name, height, width, tmp_path)
    maps, x = hooked(model), network_input(height, width)
    with torch.no_grad():
        classes, boxes = model(torch.from_numpy(x))
    graph = network.build(height, width)
    theirs = {stage_output(graph, key) if key.startswith("stage") else key: value for key, value in maps.items()}
    theirs.update(zip(graph.outputs, [*classes, *boxes], strict=True))
    ours = ReferenceExecutor(graph, parameters, np.float32)(x, list(theirs))
    assert len(theirs) == 3 + 8 * len(model.fpn.cell) + 10
    for key, value in theirs.items():
        assert_close(ours[key], value.numpy(), key)


@pytest.mark.parametrize("name", ["efficientdet-d0", "efficientdet-d7", "efficientdet-d7x"])
def test_anchors_are_effdets_in_the_same_order(name: str) -> None:
    from effdet.anchors import Anchors
    from effdet.config import get_efficientdet_config

    config = get_efficientdet_config(effdet_name(name))
    theirs = Anchors.from_config(config).boxes.numpy()[:, [1, 0, 3, 2]]
    network = find_network(name)
    graph = network.build()
    shapes = dict(zip(graph.outputs, graph.output_shapes, strict=True))
    head = graph.heads[0]
    placed = []
    for tensor in head.box_tensors:
        height, width = shapes[tensor][1:]
        placed.append(anchors_cxcywh(head.anchors.in_units(height, width), height, width))
    ours = cxcywh_to_xyxy(np.concatenate(placed)) * network.input_shape[1]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=4 * np.spacing(np.float32(2048)))


class Heads(NamedTuple):
    outputs: dict[str, np.ndarray]
    classes: list[Any]
    boxes: list[Any]


def random_heads(network: Network, height: int, width: int, seed: int) -> Heads:
    """Return raw heads, most of them far from any object, some logits equal."""
    rng = np.random.default_rng(seed)
    graph = network.build(height, width)
    outputs = {}
    for name, shape in zip(graph.outputs, graph.output_shapes, strict=True):
        spread = (2.0, -6.0) if name.startswith("class_net") else (0.7, 0.0)
        outputs[name] = rng.normal(spread[1], spread[0], shape).astype(np.float32)
    count = len(graph.outputs) // 2
    tensors = [torch.from_numpy(outputs[name])[None] for name in graph.outputs]
    return Heads(outputs, tensors[:count], tensors[count:])


@cache
def bench(soft: bool) -> Any:
    model = effdet.create_model(
        "tf_efficientdet_d0",
        bench_task="predict",
        pretrained=False,
        pretrained_backbone=False,
        soft_nms=soft,
        image_size=(256, 384),
    )
    return model.eval()


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("seed", range(3))
def test_detections_agree_on_the_same_raw_heads(seed: int, soft: bool) -> None:
    """Top 5000, decoding, clipping to the picture, suppression, the first 100; the picture fills 200 of 256 rows."""
    network, predictor = find_network("efficientdet-d0"), bench(soft)
    heads = random_heads(network, 256, 384, seed)
    predictor.model.forward = lambda _x: (list(heads.classes), list(heads.boxes))
    info = {"img_scale": torch.tensor([0.5]), "img_size": torch.tensor([[192.0, 100.0]])}
    with torch.no_grad():
        rows = predictor(torch.zeros(1, 3, 256, 384), info)[0].numpy()
    rows = rows[rows[:, 4] > 0]
    scored = decode(heads.outputs, network.build(256, 384).heads[0], 256, 384)
    candidates = select(scored, 0.0, total=5000)
    pixels = candidates.boxes_xyxy * np.array([384, 256, 384, 256], np.float32)
    clipped = candidates._replace(boxes_xyxy=pixels.clip(0, [384, 200, 384, 200]))
    kept = suppress(clipped, "gaussian" if soft else "iou", iou=0.5, score=0.001 if soft else 0.0, limit=100)
    np.testing.assert_array_equal(clipped.class_ids[kept.indices] + 1, rows[:, 5])
    np.testing.assert_allclose(kept.scores, rows[:, 4], rtol=1e-4)
    np.testing.assert_allclose(clipped.boxes_xyxy[kept.indices] / 2, rows[:, :4], atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_soft_nms_is_effdets_with_ties(seed: int) -> None:
    from effdet.soft_nms import batched_soft_nms

    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 80, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (60, 2))], axis=1).astype(np.float32)
    boxes[30:40] = boxes[:10]  # the same boxes again
    scores = rng.uniform(0.05, 1, 60).astype(np.float32)
    scores[30:40] = scores[:10]
    classes = rng.integers(0, 3, 60)
    classes[30:40] = classes[:10]
    arguments = [torch.from_numpy(array) for array in (boxes, scores, classes)]
    expected, decayed = batched_soft_nms(*arguments, score_threshold=0.001)
    kept, ours = soft_nms(boxes, scores, classes)
    np.testing.assert_array_equal(kept, expected.numpy())
    np.testing.assert_allclose(ours, decayed.numpy(), rtol=1e-4)


SIZES = [(640, 480), (333, 500), (41, 97), (1000, 31), (512, 512), (700, 1001)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_top_left_pillow_makes_effdets_pixels(height: int, width: int) -> None:
    from effdet.data.transforms import ResizePad, resolve_fill_color

    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (IMAGENET_PILLOW.mean, IMAGENET_PILLOW.std))
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    transform = ResizePad(512, interpolation="bicubic", fill_color=resolve_fill_color("mean", IMAGENET_PILLOW.mean))
    picture, annotations = transform(Image.fromarray(pixels), {})
    theirs = (torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).astype(np.float32)) - mean) / std
    ours, placement = prepare(pixels, 512, 512, IMAGENET_PILLOW)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=3e-6)
    assert placement.scale == pytest.approx(1 / annotations["img_scale"], rel=1e-12)


PHOTOGRAPHS = ["dog", "eagle", "giraffe", "horses", "person", "scream"]
PHOTOGRAPHS += [f"seed_img{i}" for i in range(1, 5)]


@pytest.fixture(scope="module")
def d0(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair("efficientdet-d0", 512, 512, tmp_path_factory.mktemp("d0"))


def our_detections(path: Path, d0: Pair) -> Detections:
    """Return what we find by effdet's rules, pixels included."""
    network = replace(d0.network, suppression="iou", clip_first=True)
    return Detector(network, d0.parameters, preprocessing=IMAGENET_PILLOW)(path, score=0.0)


class Prepared(NamedTuple):
    x: Any
    scale: float
    size: tuple[float, float]


def prepared_by_effdet(path: Path) -> Prepared:
    from effdet.data.transforms import ResizePad, resolve_fill_color

    picture = Image.open(path).convert("RGB")
    fill = resolve_fill_color("mean", IMAGENET_PILLOW.mean)
    resized, annotations = ResizePad(512, interpolation="bicubic", fill_color=fill)(picture, {})
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (IMAGENET_PILLOW.mean, IMAGENET_PILLOW.std))
    x = (torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).astype(np.float32)) - mean) / std
    return Prepared(x[None], annotations["img_scale"], (float(picture.width), float(picture.height)))


@pytest.mark.shared_data
@pytest.mark.parametrize("photograph", ["dog", "person"])
def test_whole_detections_of_a_photograph_agree(photograph: str, data: Path, d0: Pair) -> None:
    """Pixels, network, suppression: each side its own. The boxes mean nothing; their agreement does."""
    from effdet.bench import DetBenchPredict

    path = data / "images" / f"{photograph}.jpg"
    prepared = prepared_by_effdet(path)
    info = {"img_scale": torch.tensor([prepared.scale]), "img_size": torch.tensor([prepared.size])}
    with torch.no_grad():
        rows = DetBenchPredict(d0.model)(prepared.x, info)[0].numpy()
    found = our_detections(path, d0)
    assert len(found.scores) == len(rows) == 100
    np.testing.assert_allclose(found.scores, rows[:, 4], rtol=1e-3)
    matched = sum(
        bool(((rows[:, 5] == class_id + 1) & (np.abs(rows[:, :4] - box).max(axis=1) < 0.1)).any())
        for box, class_id in zip(found.boxes_xyxy, found.class_ids, strict=True)
    )
    assert matched >= 98  # along an edge, scores tie within a rounding; which neighbour is kept then differs


@pytest.mark.shared_data
@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_every_box_found_in_a_photograph_is_among_effdets_candidates(photograph: str, data: Path, d0: Pair) -> None:
    """Where scores tie within a rounding the kept boxes differ; what is chosen from does not."""
    from effdet.anchors import Anchors, clip_boxes_xyxy, decode_box_outputs
    from effdet.bench import _post_process

    path = data / "images" / f"{photograph}.jpg"
    prepared, config = prepared_by_effdet(path), d0.model.config
    with torch.no_grad():
        heads = d0.model(prepared.x)
        logits, codes, indices, classes = (values[0] for values in _post_process(*heads, 5, config.num_classes))
        boxes = decode_box_outputs(codes, Anchors.from_config(config).boxes[indices], output_xyxy=True)
        boxes = clip_boxes_xyxy(boxes, torch.tensor(prepared.size) / prepared.scale) * prepared.scale
    found = our_detections(path, d0)
    assert len(found.scores) == 100
    for box, score, class_id in zip(found.boxes_xyxy, found.scores, found.class_ids, strict=True):
        same = (classes.numpy() == class_id) & (np.abs(boxes.numpy() - box).max(axis=1) < 0.01)
        assert np.isclose(logits.sigmoid().numpy()[same, 0], score, rtol=1e-5, atol=0).any()
