"""From a picture to detections: reading, preparing, the network, decoding, suppression, and nothing else."""

from __future__ import annotations

import copy
import hashlib
import operator
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from pure_detect import jit
from pure_detect.boxes.coordinates import clip_boxes
from pure_detect.boxes.decode import decode
from pure_detect.boxes.scored import Candidates, ScoredBoxes, select
from pure_detect.boxes.suppression import Kept, suppress
from pure_detect.detections import Detections
from pure_detect.engine.executor import FastExecutor
from pure_detect.engine.plan import PRECISIONS
from pure_detect.errors import InputError
from pure_detect.graph import BatchNormRule, Graph
from pure_detect.image import Placement, Preprocessing, prepare, read_image
from pure_detect.network import Network
from pure_detect.reference import ReferenceExecutor

Array = NDArray[Any]
Picture = str | os.PathLike[str] | Image.Image | Array
Size = int | tuple[int, int]

Executor = FastExecutor | ReferenceExecutor
ENGINES = ("fast", "reference")


class Classification(NamedTuple):
    """One class of a classifier's answer."""

    label: str
    class_id: int
    score: float


class Model:
    """A network with its parameters: everything that detectors and classifiers share.

    Attributes
    ----------
    network : Network
    graph : Graph
        At the size that pictures are brought to.
    labels : tuple of str
    preprocessing : Preprocessing
    """

    def __init__(
        self,
        network: Network,
        parameters: Mapping[str, Array],
        *,
        labels: Sequence[str] = (),
        size: Size | None = None,
        engine: str | None = None,
        threads: int | None = None,
        precision: str = "winograd",
        dtype: DTypeLike = np.float32,
        batch_norm_rule: BatchNormRule | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        height, width = _height_width(size)
        self._new_executor = _executor_maker(engine, threads, precision, np.dtype(dtype))
        self.network = network
        self.preprocessing = preprocessing or network.preprocessing
        self.graph = network.build(height, width, batch_norm_rule)
        self.labels = _labels(labels or network.labels, self.graph.class_count, network.name)
        self._parameters = parameters
        self._rule = batch_norm_rule
        self._executors: dict[tuple[int, int], Executor] = {}
        self._lock = threading.Lock()

    def forward(self, x: Array, keep: Sequence[str] = ()) -> dict[str, Array]:
        """Run the network alone.

        Parameters
        ----------
        x : (N, C, H, W) float32
            As the network takes it, at any height and width that its stride divides.
        keep : sequence of str
            Names or patterns (`backbone.*`) of nodes whose activations are wanted too.

        Returns
        -------
        dict of str to (N, C, H, W) arrays
            By node name: the raw outputs, and whatever `keep` named.

        Raises
        ------
        ValueError
            If the input does not fit the network, or a pattern names no node.
        """
        x = np.asarray(x)
        channels = self.network.input_shape[0]
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(f"expected (N, {channels}, H, W), got {x.shape}")
        return self._executor(x.shape[2], x.shape[3])(x, keep)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Return every parameter by its name in the graph, as it was loaded: batch norm is not folded."""
        return self._parameters

    def parameters_sha256(self) -> str:
        """Return a hash of all parameters, names and values."""
        digest = hashlib.sha256()
        for name in sorted(self._parameters):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self._parameters[name]).tobytes())
        return digest.hexdigest()

    def with_resize(self, mode: str) -> Model:
        """Return the same model with another way of fitting pictures: one of `pure_detect.image.RESIZE_MODES`."""
        other = copy.copy(self)
        other.preprocessing = replace(self.preprocessing, resize=mode)
        return other

    def _executor(self, height: int, width: int) -> Executor:
        with self._lock:
            if (height, width) not in self._executors:
                own = self.graph.input.shape[1:] == (height, width)
                graph = self.graph if own else self.network.build(height, width, self._rule)
                self._executors[height, width] = self._new_executor(graph, self._parameters)
            return self._executors[height, width]

    def _prepare(self, pictures: Sequence[Array]) -> tuple[Array, list[Placement]]:
        _, height, width = self.graph.input.shape
        prepared = [prepare(pixels, height, width, self.preprocessing) for pixels in pictures]
        return np.stack([x for x, _ in prepared]), [placement for _, placement in prepared]


class Detector(Model):
    """A network that finds objects.

    >>> detector = pure_detect.load("xl.h5")
    >>> detections = detector("street.jpg", score=0.3)
    """

    def __call__(
        self,
        images: Picture | list[Picture] | tuple[Picture, ...],
        *,
        score: float = 0.5,
        iou: float | None = None,
        limit: int | None = None,
        clip: bool = True,
        rule: str | None = None,
        **rule_options: Any,
    ) -> Any:
        """Find the objects of one picture, or of a list of pictures in one batch.

        Parameters
        ----------
        images : path, PIL image or RGB uint8 array (H, W, 3); or a list of them
        score : float
            Only detections with a score over it, strictly.
        iou : float, optional
            Of two boxes of one class that overlap by more, the one with the lower score goes. The default is the
            network's own: 0.45 for YOLO. Giving one chooses the rule "iou" unless another is named.
        limit : int, optional
            At most so many detections a picture, the best. The default is the network's own: none for YOLO.
        clip : bool
            Whether boxes are clipped to the picture.
        rule : str, optional
            How overlapping boxes act on each other, one of :data:`pure_detect.boxes.suppression.RULES`. The default is
            the network's own: "iou" but for google/automl's EfficientDet, which was published with "gaussian".
        **rule_options
            `class_agnostic`, `beta` and `sigma`, as the rule takes them.

        Returns
        -------
        Detections, or a list of them for a list
        """
        if not isinstance(images, (list, tuple)):
            return self([images], score=score, iou=iou, limit=limit, clip=clip, rule=rule, **rule_options)[0]
        pictures = [read_image(image) for image in images]
        if not pictures:
            return []
        x, placements = self._prepare(pictures)
        outputs = self.forward(x)
        rule = rule or (self.network.suppression if iou is None else "iou")
        iou = self.network.iou if iou is None else iou
        limit = self.network.limit if limit is None else limit
        found: list[Detections] = []
        for i, (pixels, placement) in enumerate(zip(pictures, placements)):
            candidates = self._candidates(outputs, i, score, placement)
            kept = suppress(candidates, rule, iou=iou, score=score, limit=limit, **rule_options)
            found.append(self._in_picture(candidates, kept, placement, pixels.shape, clip))
        return found

    def _candidates(self, outputs: Mapping[str, Array], index: int, score: float, placement: Placement) -> Candidates:
        network = self.network
        candidates = select(
            self._decode(outputs, index, score), score, per_class=network.candidates_per_class, total=network.candidates
        )
        if not network.clip_first:
            return candidates
        return candidates._replace(boxes_xyxy=placement.clip_to_picture(candidates.boxes_xyxy))

    def _decode(self, outputs: Mapping[str, Array], index: int, score: float) -> ScoredBoxes:
        _, height, width = self.graph.input.shape
        of_picture = {name: values[index] for name, values in outputs.items()}
        boxes, scores = zip(*(decode(of_picture, head, height, width, score) for head in self.graph.heads))
        return ScoredBoxes(np.concatenate(boxes), np.concatenate(scores))

    def _in_picture(
        self, candidates: Candidates, kept: Kept, placement: Placement, shape: tuple[int, ...], clip: bool
    ) -> Detections:
        boxes = placement.to_picture(candidates.boxes_xyxy[kept.indices])
        boxes = clip_boxes(boxes, shape[0], shape[1]) if clip else boxes
        class_ids = candidates.class_ids[kept.indices]
        return Detections(
            boxes_xyxy=boxes.astype(np.float32),
            scores=kept.scores.astype(np.float32),
            class_ids=class_ids,
            labels=tuple(self.labels[class_id] for class_id in class_ids),
            height=shape[0],
            width=shape[1],
        )


class Classifier(Model):
    """A network that labels whole pictures."""

    def __call__(self, image: Picture, *, top: int = 5) -> list[Classification]:
        """Return the `top` classes of a picture with their probabilities, best first; ties by class id."""
        x, _ = self._prepare([read_image(image)])
        output = self.forward(x)[self.graph.outputs[0]]
        if output.shape[2:] != (1, 1):
            found = "x".join(map(str, output.shape[1:]))
            raise InputError(
                f"{self.network.name}: expected a network that ends in one value a class, found a map {found}"
            )
        probabilities = output.ravel()
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [Classification(self.labels[i], int(i), float(probabilities[i])) for i in best]


def _executor_maker(
    engine: str | None, threads: int | None, precision: str, dtype: np.dtype[Any]
) -> Callable[[Graph, Mapping[str, Array]], Executor]:
    """Return what makes executors; by default the fast engine, which there is for compiled float32."""
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype}")
    if engine is None:
        engine = "fast" if dtype == np.float32 and jit.is_compiling() else "reference"
    if engine not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if engine == "reference":
        return partial(ReferenceExecutor, dtype=dtype)
    if dtype != np.float32:
        raise ValueError(f"dtype: expected float32 for engine 'fast', got {dtype}; engine='reference' has both")
    return partial(FastExecutor, threads=threads, precision=precision)


def _height_width(size: Size | None) -> tuple[int | None, int | None]:
    if size is None:
        return None, None
    height, width = size if isinstance(size, tuple) else (size, size)
    return operator.index(height), operator.index(width)


def _labels(labels: Sequence[str], classes: int, name: str) -> tuple[str, ...]:
    """Return exactly one label a class: numbers where there are none, the first ones of a longer list."""
    if not labels:
        return tuple(f"class {i}" for i in range(classes))
    if len(labels) < classes:
        raise InputError(f"{name}: expected {classes} labels, found {len(labels)}")
    return tuple(labels[:classes])
