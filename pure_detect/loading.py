"""From a name to a model: a weight file, a registry name whose weights are downloaded, or a Darknet cfg."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pure_detect.detector import Classifier, Detector, Model
from pure_detect.errors import InputError
from pure_detect.models.darknet import darknet_network, read_cfg
from pure_detect.network import Network
from pure_detect.random_weights import random_parameters
from pure_detect.registry import find_network
from pure_detect.weights import WeightFile, read_header, read_parameters
from pure_detect.weights_cache import weights_of


def load(
    name: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Load a model.

    Parameters
    ----------
    name : str or path
        A weight file (`.h5`), a registry name (`yolov3`), or a Darknet `.cfg` together with `weights`.
    weights : "random" or path of a .h5 file, optional
        Where the parameters come from, unless `name` is a weight file itself. A registry name alone takes the file
        of that name in the cache folder; the first time, that file is made from the author's, which is downloaded.
    seed : int
        For random weights.
    **options
        `size` (int, or (height, width)); `engine` ("fast", the default, or "reference", the oracle); `threads` and
        `precision` ("winograd", "direct" or "bf16x3", see :func:`pure_detect.engine.plan.make_plan`) of the fast
        engine; `dtype` ("float32" or, of the reference, "float64"); `labels`.

    Returns
    -------
    Detector or Classifier

    Raises
    ------
    InputError
        If a file is missing, cannot be had, or does not fit; the message names it.
    ValueError
        If an option does not fit the network.
    """
    text = os.fspath(name)
    if weights == "random":
        network = read_header_network(text) if text.endswith(".h5") else network_of(text)
        return _model(network)(network, random_parameters(network, seed), **options)
    if text.endswith(".h5"):
        return _load_file(text, None, options)
    network = network_of(text)
    if weights is not None:
        return _load_file(weights, network, options)
    if text.endswith(".cfg"):
        raise InputError(f"{text}: expected weights beside the cfg, found none; make a .h5 file with weights-convert")
    return _load_cached(text, network, options)


def network_of(text: str) -> Network:
    """Return the network of a cfg file or a registry name."""
    return read_cfg(text) if text.endswith(".cfg") else find_network(text)


def read_header_network(path: str | Path) -> Network:
    """Return the network that a weight file is for."""
    return _network_of_file(read_header(path))


def _network_of_file(header: WeightFile) -> Network:
    try:
        return darknet_network(header.cfg, f"{header.model}.cfg") if header.cfg else find_network(header.model)
    except InputError as error:
        raise InputError(f"{header.path}: expected a network that is known here, found {error}") from None


def read_file(
    path: str | os.PathLike[str], network: Network | None = None
) -> tuple[WeightFile, Network, dict[str, NDArray[Any]]]:
    """Read a weight file whole: what it says of itself, its network, its parameters.

    Raises
    ------
    InputError
        If the file is damaged, is for another network than the one given, or for another definition of it.
    """
    header = read_header(os.fspath(path))
    network = network or _network_of_file(header)
    published = network.build(rule=header.batch_norm_rule)
    parameters = read_parameters(os.fspath(path), published)
    if published.fingerprint != header.graph_fingerprint:
        raise InputError(
            f"{path}: expected weights of this version's {network.name}, found another definition of it; "
            f"make the file anew with weights-convert"
        )
    return header, network, parameters


def _load_cached(name: str, network: Network, options: dict[str, Any]) -> Model:
    path = weights_of(name)
    try:
        return _load_file(path, network, options)
    except InputError as error:
        if not str(error).startswith(f"{path}:"):  # an option's fault, not the file's
            raise
        raise InputError(f"{error}; `pure-detect download --again {name}` makes this one anew") from None


def _load_file(path: str | os.PathLike[str], network: Network | None, options: dict[str, Any]) -> Model:
    header, network, parameters = read_file(path, network)
    defaults = {"labels": header.labels, "preprocessing": header.preprocessing}
    return _model(network)(network, parameters, batch_norm_rule=header.batch_norm_rule, **{**defaults, **options})


def _model(network: Network) -> type[Model]:
    return Classifier if network.is_classifier else Detector
