"""Any Darknet cfg as a graph: one function a section type, in the order in which the C code would make layers.

The layer with index i in Darknet's own listing gives the nodes `layer00i.*`; the last of them is what other layers
refer to. Heads (`[yolo]`, `[Gaussian_yolo]`, `[region]`) make no node: the network's outputs are the raw tensors that
they would read, and the head's numbers go to `boxes/decode_yolo.py`.

Source: the `parse_*` functions of AlexeyAB/darknet `parser.c` (commit 59596d7); where pjreddie's differs, it is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from pure_detect.boxes.decode_yolo import GaussianYoloHead, RegionHead, YoloHead
from pure_detect.graph import Builder, Tensor
from pure_detect.models.darknet_cfg import Section
from pure_detect.network import Head
from pure_detect.ops.geometry import darknet_pool_padding

ACTIVATIONS = {
    "linear": None,
    "leaky": "leaky_relu",
    "logistic": "sigmoid",
    "relu": "relu",
    "relu6": "relu6",
    "mish": "mish",
    "swish": "swish",
}

# Options that only training, or only printing, reads.
TRAINING_OPTIONS = frozenset(
    """absolute adam adversarial_lr angle aspect assisted_excitation atoms B1 B2 badlabels_rejection_percentage batch
    batch_normalize_momentum beta_nms bias_match blur burn_in class_scale cls_normalizer coord_scale
    counters_per_class cutmix decay delta_normalizer dets_for_show dets_for_track
    dropblock dropblock_size_abs dropblock_size_rel dynamic_minibatch ema_alpha embedding_layer eps
    equidistant_point exposure flip focal_loss gaussian_noise grad_centr hue ignore_thresh iou_loss
    iou_normalizer iou_thresh iou_thresh_kind jitter label_smooth_eps learning_rate learning_rate_min letter_box
    loss_scale max max_batches max_chart_loss max_crop max_delta max_epochs mean min_crop mixup momentum mosaic
    mosaic_bound nms_kind no_bbox noobject_scale num num_sigmas_reject_badlabels obj_normalizer object_scale
    objectness_smooth optimized_memory policy power probability random ratio_aspect_hue rescore resize
    saturation scale scale_wh scales seen sequential_subdivisions sgdr_cycle sgdr_mult show_details
    show_receptive_field sim_thresh size_per_crop stat std step steps stopbackward stream subdivisions thresh
    time_steps track track_ciou_norm track_history_size train_only_bn truth_thresh try_fix_nan type
    uc_normalizer use_cuda_graph wait_stream weight_decay weights_reject_freq workspace_size_limit_MB""".split()
)


@dataclass
class Layers:
    """What has been built so far, and the layer that is being built."""

    net: Builder
    outputs: list[Tensor] = field(default_factory=list)
    heads: list[tuple[Tensor, Head]] = field(default_factory=list)
    head_indices: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Return what the names of this layer's nodes start with."""
        return f"layer{len(self.outputs):03d}"

    @property
    def x(self) -> Tensor:
        """Return the output of the layer before this one."""
        if len(self.outputs) - 1 in self.head_indices:
            raise ValueError("expected a [route] after a detection head, whose output is no map, found none")
        return self.outputs[-1] if self.outputs else self.net.image

    def at(self, section: Section, key: str, index: int) -> Tensor:
        """Return the output of the layer that a `layers=` or `from=` names; negative counts back from here."""
        absolute = len(self.outputs) + index if index < 0 else index
        if not 0 <= absolute < len(self.outputs):
            here = len(self.outputs)
            raise section.error(f"{key}: expected layers before this one (0 to {here - 1}), found {index}", key)
        if absolute in self.head_indices:
            raise section.error(f"{key}: layer {absolute} is a detection head, whose output is no map", key)
        return self.outputs[absolute]

    def activate(self, x: Tensor, section: Section, default: str) -> Tensor:
        """Apply the section's `activation=`."""
        function = ACTIVATIONS[section.choice("activation", default, ACTIVATIONS)]
        return self.net.activation(x, function, name=f"{self.name}.activation") if function else x


def _convolutional(s: Section, layers: Layers) -> Tensor:
    s.require_default(
        antialiasing=0,
        binary=0,
        xnor=0,
        flipped=0,
        sway=0,
        rotate=0,
        stretch=0,
        stretch_sway=0,
        coordconv=0,
        reverse=0,
    )
    if "share_index" in s.options:
        raise s.error("share_index is not supported", "share_index")
    size = s.integer("size", 1, least=1)
    stride = s.integer("stride", 1, least=1)
    dilation = s.integer("dilation", 1, least=1)
    dilation = 1 if size == 1 else dilation
    padding = s.integer("padding", 0, least=0)
    padding = size // 2 if s.integer("pad", 0) else padding
    batch_normalize = bool(s.integer("batch_normalize", 0)) or bool(s.integer("cbn", 0))
    x = layers.net.conv(
        layers.x,
        s.integer("filters", 1, least=1),
        kernel=size,
        stride=(s.integer("stride_y", stride, least=1), s.integer("stride_x", stride, least=1)),
        padding=padding * dilation,  # AlexeyAB scales the padding too, so that the map keeps its size
        dilation=dilation,
        groups=s.integer("groups", 1, least=1),
        bias=not batch_normalize,
        name=f"{layers.name}.conv",
    )
    if batch_normalize:
        x = layers.net.batch_norm(x, name=f"{layers.name}.batch_norm")
    return layers.activate(x, s, "logistic")  # Darknet's default is logistic, not linear


def _connected(s: Section, layers: Layers) -> Tensor:
    batch_normalize = bool(s.integer("batch_normalize", 0))
    x = layers.net.connected(
        layers.x, s.integer("output", 1, least=1), bias=not batch_normalize, name=f"{layers.name}.connected"
    )
    if batch_normalize:
        x = layers.net.batch_norm(x, name=f"{layers.name}.batch_norm")
    return layers.activate(x, s, "logistic")


def _batchnorm(s: Section, layers: Layers) -> Tensor:
    return layers.net.batch_norm(layers.x, name=f"{layers.name}.batch_norm")


def _pool(s: Section, layers: Layers, add: Callable[..., Tensor], name: str) -> Tensor:
    stride = s.integer("stride", 1, least=1)
    size = s.integer("size", stride, least=1)
    return add(
        layers.x,
        kernel=size,
        stride=(s.integer("stride_y", stride, least=1), s.integer("stride_x", stride, least=1)),
        padding=darknet_pool_padding(s.integer("padding", size - 1, least=0)),
        name=f"{layers.name}.{name}",
    )


def _maxpool(s: Section, layers: Layers) -> Tensor:
    s.require_default(maxpool_depth=0, antialiasing=0)
    return _pool(s, layers, layers.net.max_pool, "max_pool")


def _local_avgpool(s: Section, layers: Layers) -> Tensor:
    return _pool(s, layers, layers.net.average_pool, "average_pool")


def _avgpool(s: Section, layers: Layers) -> Tensor:
    return layers.net.global_average_pool(layers.x, name=f"{layers.name}.global_average_pool")


def _route(s: Section, layers: Layers) -> Tensor:
    indices = s.integers("layers", [])
    if not indices:
        raise s.error("expected layers=, the layers to stack")
    sources = [layers.at(s, "layers", index) for index in indices]
    groups, group = s.integer("groups", 1, least=1), s.integer("group_id", 0, least=0)
    if groups > 1:  # pjreddie's code ignores it
        sources = [_group(s, layers, source, groups, group, i) for i, source in enumerate(sources)]
    return sources[0] if len(sources) == 1 else layers.net.concat(sources, name=f"{layers.name}.route")


def _group(s: Section, layers: Layers, source: Tensor, groups: int, group: int, position: int) -> Tensor:
    channels = source.shape[0] // groups
    if source.shape[0] % groups or group >= groups:
        raise s.error(f"group_id {group} of {groups} groups does not fit {source.shape[0]} channels", "groups")
    name = f"{layers.name}.group" + (str(position) if position else "")
    return layers.net.channel_slice(source, start=group * channels, stop=(group + 1) * channels, name=name)


def _shortcut(s: Section, layers: Layers) -> Tensor:
    s.require_default(alpha=1, beta=1)
    indices = s.integers("from", [])
    if not indices:
        raise s.error("expected from=, the layers to add")
    sources = [_same_size(s, layers, layers.at(s, "from", index), i) for i, index in enumerate(indices)]
    weights = s.choice("weights_type", "none", ("none", "per_layer", "per_feature", "per_channel"))
    normalization = s.choice("weights_normalization", "none", ("none", "relu", "avg_relu", "softmax"))
    name, inputs = f"{layers.name}.shortcut", [layers.x, *sources]
    if weights == "none":
        x = layers.net.add(inputs, name=name)
    else:
        normalization = normalization.removeprefix("avg_")
        per_channel = weights == "per_channel"
        x = layers.net.weighted_add(inputs, name=name, per_channel=per_channel, normalization=normalization)
    return layers.activate(x, s, "linear")


def _same_size(s: Section, layers: Layers, source: Tensor, position: int) -> Tensor:
    """Take every k-th cell of a map k times as large, as pjreddie's `shortcut_cpu` does for its ResNets."""
    target = layers.x.shape
    step = source.shape[2] // target[2]
    if source.shape[1:] == target[1:]:
        return source
    if step < 1 or source.shape[1] // target[1] != step or -(-source.shape[2] // step) != target[2]:
        raise s.error(f"from: expected a map of {target[1:]} or a multiple, found {source.shape[1:]}", "from")
    name = f"{layers.name}.subsample" + (str(position) if position else "")
    return layers.net.max_pool(source, kernel=1, stride=step, name=name)


def _scale_channels(s: Section, layers: Layers) -> Tensor:
    """Serve `[scale_channels]` and `[sam]`: the layer `from` times this one, a channel, a position or a value each."""
    if "from" not in s.options:
        raise s.error("expected from=, the layer to scale")
    source = layers.at(s, "from", s.integer("from", 0))
    x = layers.net.multiply(source, layers.x, name=f"{layers.name}.{s.kind}")
    return layers.activate(x, s, "linear")


def _implicit(s: Section, layers: Layers) -> Tensor:
    shape = (s.integer("filters", 128, least=1), s.integer("atoms", 1, least=1), 1)
    return layers.net.constant(shape, name=f"{layers.name}.implicit")


def _upsample(s: Section, layers: Layers) -> Tensor:
    s.require_default(scale=1)
    return layers.net.upsample(layers.x, factor=s.integer("stride", 2, least=1), name=f"{layers.name}.upsample")


def _reorg(s: Section, layers: Layers) -> Tensor:
    s.require_default(reverse=0, flatten=0, extra=0)
    return layers.net.reorg(layers.x, stride=s.integer("stride", 1, least=1), name=f"{layers.name}.reorg")


def _softmax(s: Section, layers: Layers) -> Tensor:
    s.require_default(spatial=0)
    if "tree" in s.options:
        raise s.error("tree= (YOLO9000's hierarchy) is not supported", "tree")
    groups, temperature = s.integer("groups", 1, least=1), s.number("temperature", 1.0)
    return layers.net.softmax(layers.x, groups=groups, temperature=temperature, name=f"{layers.name}.softmax")


def _unchanged(s: Section, layers: Layers) -> Tensor:
    return layers.x


def _anchors(s: Section, count: int) -> list[tuple[float, float]]:
    values = s.numbers("anchors", [])
    if len(values) < 2 * count or len(values) % 2:
        raise s.error(f"anchors: expected {count} pairs (num={count}), found {len(values)} numbers", "anchors")
    if not all(0 < value < math.inf for value in values):
        raise s.error("anchors: expected positive numbers, found " + s.text("anchors", ""), "anchors")
    return list(zip(values[0 : 2 * count : 2], values[1 : 2 * count : 2]))


def _masked_anchors(s: Section) -> tuple[tuple[float, float], ...]:
    count = s.integer("num", 1, least=1)
    anchors, mask = _anchors(s, count), s.integers("mask", list(range(count)))
    if not all(0 <= index < count for index in mask):
        raise s.error(f"mask: expected indices of the {count} anchors, found {s.text('mask', '')}", "mask")
    return tuple(anchors[index] for index in mask)


def _yolo(s: Section, layers: Layers) -> Tensor:
    head = YoloHead(
        tensor=layers.x.name,
        anchors=_masked_anchors(s),
        classes=s.integer("classes", 20, least=1),
        scale_x_y=s.number("scale_x_y", 1.0),
        new_coords=bool(s.integer("new_coords", 0)),
    )
    return _head(s, layers, head, 5 + head.classes)


def _gaussian_yolo(s: Section, layers: Layers) -> Tensor:
    head = GaussianYoloHead(
        tensor=layers.x.name,
        anchors=_masked_anchors(s),
        classes=s.integer("classes", 20, least=1),
        scale_x_y=s.number("scale_x_y", 1.0),
        point=s.choice("yolo_point", "center", ("center", "left_top", "right_bottom")),
    )
    return _head(s, layers, head, 9 + head.classes)


def _region(s: Section, layers: Layers) -> Tensor:
    s.require_default(coords=4, background=0, sqrt=0, log=0)
    for key in ("tree", "map"):
        if key in s.options:
            raise s.error(f"{key}= (YOLO9000's hierarchy) is not supported", key)
    head = RegionHead(
        tensor=layers.x.name,
        anchors=tuple(_anchors(s, s.integer("num", 1, least=1))),
        classes=s.integer("classes", 20, least=1),
        softmax=bool(s.integer("softmax", 0)),
    )
    return _head(s, layers, head, 5 + head.classes)


def _head(s: Section, layers: Layers, head: Head, planes: int) -> Tensor:
    expected, found = len(head.anchors) * planes, layers.x.shape[0]
    if found != expected:
        raise s.error(f"expected {expected} channels before it, {len(head.anchors)} anchors of {planes}, found {found}")
    layers.heads.append((layers.x, head))
    layers.head_indices.add(len(layers.outputs))
    return layers.x


SECTIONS: dict[str, Callable[[Section, Layers], Tensor]] = {
    "convolutional": _convolutional,
    "connected": _connected,
    "batchnorm": _batchnorm,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "local_avgpool": _local_avgpool,
    "route": _route,
    "shortcut": _shortcut,
    "scale_channels": _scale_channels,
    "sam": _scale_channels,
    "implicit": _implicit,
    "upsample": _upsample,
    "reorg": _reorg,
    "softmax": _softmax,
    "dropout": _unchanged,
    "cost": _unchanged,
    "empty": _unchanged,
    "region": _region,
    "yolo": _yolo,
    "Gaussian_yolo": _gaussian_yolo,
}
