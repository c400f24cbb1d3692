"""The models that are served, and the names by which a request may choose one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pure_detect.detector import Detector
from pure_detect.errors import InputError
from pure_detect.loading import load, read_header_network
from pure_detect.registry import find_network
from pure_detect.serve.errors import ServiceError
from pure_detect.weights_cache import weights_of

# The names of the seed's models, and which family each stands for.
FAMILIES = {"yolo": "yolo", "mobilenet": "ssdlite", "efficientdet": "efficientdet"}

# A picture on which most networks find something over the score: enough for every kernel, too little to take long.
WARMING_SCORE = 0.01
WARMING = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


class Served(NamedTuple):
    """A model and its name: the registry's, or the stem of its file."""

    name: str
    detector: Detector


class Catalog:
    """The models, by name. The first is the one that a request gets that names none."""

    def __init__(self, models: Iterable[Served]) -> None:
        self._models = {model.name: model for model in models}
        self._aliases = dict(self._other_names())

    def __iter__(self) -> Iterator[Served]:
        """Yield the models in the order in which they were named."""
        return iter(self._models.values())

    def find(self, name: str | None) -> Served:
        """Return the model of a name, or the first where there is no name.

        Raises
        ------
        ServiceError
            If there is no such model.
        """
        if name is None:
            return next(iter(self))
        found = self._models.get(name) or self._aliases.get(name)
        if found is None:
            known = ", ".join([*self._models, *self._aliases])
            raise ServiceError("unknown_model", f"model: expected one of {known}, found no model of that name")
        return found

    def describe(self) -> dict[str, Any]:
        """Return what `GET /models` answers."""
        return {"default": next(iter(self)).name, "models": [self._describe(model) for model in self]}

    def _describe(self, model: Served) -> dict[str, Any]:
        _, height, width = model.detector.graph.input.shape
        return {
            "name": model.name,
            "aliases": [alias for alias, target in self._aliases.items() if target is model],
            "network": model.detector.network.name,
            "family": model.detector.network.family,
            "width": width,
            "height": height,
            "labels": list(model.detector.labels),
        }

    def _other_names(self) -> Iterator[tuple[str, Served]]:
        """Yield what else a model is called: its network, where it alone has it, and the seed's name of its family."""
        for name in {model.detector.network.name: None for model in self}:
            of_network = [model for model in self if model.detector.network.name == name]
            if name not in self._models and len(of_network) == 1:
                yield name, of_network[0]
        for alias, family in FAMILIES.items():
            of_family = [model for model in self if model.detector.network.family == family]
            if alias not in self._models and of_family:
                yield alias, of_family[0]


def served_names(sources: Iterable[str]) -> dict[str, str]:
    """Return the source of each served name.

    Raises
    ------
    InputError
        If two have the same name.
    """
    found: dict[str, str] = {}
    for source in sources:
        name = Path(source).stem if source.endswith(".h5") else source
        if name in found:
            raise InputError(f"--models: expected different names, found {name} twice: {found[name]} and {source}")
        found[name] = source
    return found


def check_models(sources: Iterable[str]) -> None:
    """Find out whether every model can be served before a process is started; weights that are not here are downloaded.

    Raises
    ------
    InputError
        If two have the same name, one is no detector, or one is not there and cannot be had.
    """
    for source in served_names(sources).values():
        is_file = source.endswith(".h5")
        network = read_header_network(source) if is_file else find_network(source)
        if network.is_classifier:
            raise _no_detector(source)
        if not is_file:
            weights_of(source)


def load_catalog(sources: Iterable[str]) -> Catalog:
    """Load models, and run each once, so that no request waits for a kernel to be compiled or read.

    Raises
    ------
    InputError
        If two have the same name, one is no detector, or one cannot be loaded.
    """
    models = [Served(name, load(source)) for name, source in served_names(sources).items()]
    for model in models:
        if not isinstance(model.detector, Detector):
            raise _no_detector(model.name)
        model.detector(WARMING, score=WARMING_SCORE)
    return Catalog(models)


def _no_detector(name: str) -> InputError:
    return InputError(f"{name}: expected a detector, found a classifier")
