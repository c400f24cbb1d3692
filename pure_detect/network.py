"""What a network is to the rest of the package: how to build its graph, and what surrounds the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pure_detect.boxes.decode import Head
from pure_detect.graph import BatchNormRule, Builder, Graph, Tensor
from pure_detect.image import Preprocessing
from pure_detect.ops.geometry import Shape


class Definition(NamedTuple):
    """What a network function returns: the tensors it ends in, and how a detector's are decoded."""

    outputs: Sequence[Tensor]
    heads: Sequence[Head] = ()


@dataclass(frozen=True)
class Network:
    """A network that can be built at any input size.

    Attributes
    ----------
    name : str
        The registry name, or the cfg file's stem.
    family : str
        `yolo`, `ssdlite`, `efficientdet` or `classifier`.
    define : callable
        Records the network in a Builder: the one definition.
    input_shape : (channels, height, width)
        As published.
    stride : int
        Heights and widths of the input must be multiples of it.
    labels : tuple of str
        Class names, empty if only the weight file knows them.
    preprocessing : Preprocessing
    batch_norm_rule : BatchNormRule
        Unless the weight file says otherwise.
    suppression : str
        One of :data:`pure_detect.boxes.suppression.RULES`, as published with the network.
    iou : float
        At which overlap non-maximum suppression acts, as published with the network.
    candidates, candidates_per_class : int or None
        How many pairs of box and class, the best of all or of each class, go into the suppression.
    clip_first : bool
        Whether boxes are clipped to the picture before the suppression compares them, or only after it.
    limit : int or None
        How many boxes a picture come out of it, the best.
    cfg : str or None
        The Darknet cfg's text, for networks that came from one.
    """

    name: str
    family: str
    define: Callable[[Builder], Definition]
    input_shape: Shape
    stride: int = 1
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    batch_norm_rule: BatchNormRule = BatchNormRule()
    suppression: str = "iou"
    iou: float = 0.45
    candidates: int | None = None
    candidates_per_class: int | None = None
    clip_first: bool = False
    limit: int | None = None
    cfg: str | None = None

    @property
    def is_classifier(self) -> bool:
        """Return whether the network labels whole pictures."""
        return self.family == "classifier"

    @property
    def class_count(self) -> int:
        """Return the number of classes."""
        return self.build().class_count

    def build(self, height: int | None = None, width: int | None = None, rule: BatchNormRule | None = None) -> Graph:
        """Return the graph at an input size, the published one by default.

        Raises
        ------
        ValueError
            If the network's stride does not divide the size.
        """
        height = self.input_shape[1] if height is None else height
        width = self.input_shape[2] if width is None else width
        for name, size in (("height", height), ("width", width)):
            if size < 1 or size % self.stride:
                raise ValueError(f"{self.name}: {name} must be a multiple of {self.stride}, got {size}")
        builder = Builder((self.input_shape[0], height, width), rule or self.batch_norm_rule)
        definition = self.define(builder)
        return builder.graph(definition.outputs, definition.heads)
