"""Darknet's `.weights`: a header, then the float32 values of one layer after another, with no names.

    offset 0, 4, 8   int32 major, minor, revision (little-endian, as everything)
    offset 12        `seen`, the pictures trained on: 8 bytes where major * 10 + minor >= 2, else 4
    then             the values

Source: `load_weights_upto`, `save_weights_upto` (`parser.c`) of pjreddie/darknet and AlexeyAB/darknet.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.files import atomic_path
from pure_detect.graph import Graph, Node, Parameter

Array = NDArray[Any]

BATCH_NORM_ORDER = ("bias", "scale", "mean", "variance")


class Header(NamedTuple):
    """The first 16 or 20 bytes."""

    major: int
    minor: int
    revision: int
    seen: int
    bytes: int

    @property
    def transposed(self) -> bool:
        """Return whether connected layers are stored as [in][out]."""
        return self.major > 1000 or self.minor > 1000


class DarknetWeights(NamedTuple):
    """A file's parameters by name, its header and the SHA-256 of its bytes."""

    parameters: dict[str, Array]
    header: Header
    sha256: str


def stored_order(graph: Graph) -> list[tuple[Node, Parameter]]:
    """Return the graph's parameters in the order in which the file holds them, each with its node.

    A convolution's batch norm comes before its weights, a connected layer's weights before the rest of its batch
    norm.
    """
    normed_by = {n.inputs[0]: n for n in graph.nodes if n.op == "batch_norm"}
    order: list[tuple[Node, Parameter]] = []
    fused = set()
    for node in graph.nodes:
        if node.name in fused or not node.parameters:
            continue
        norm = (
            normed_by.get(node.name) if node.op in ("conv2d", "connected") and "bias" not in node.parameters else None
        )
        if norm is not None:
            fused.add(norm.name)
            vectors = [(norm, norm.parameters[key]) for key in BATCH_NORM_ORDER]
            position = len(vectors) if node.op == "conv2d" else 1
            order += [*vectors[:position], (node, node.parameters["weight"]), *vectors[position:]]
        elif node.op == "batch_norm":
            order += [(node, node.parameters[key]) for key in BATCH_NORM_ORDER]
        else:  # bias before weight; a weighted shortcut and an implicit layer have one tensor
            order += [(node, node.parameters[key]) for key in sorted(node.parameters)]
    return order


def read_darknet(path: str | Path, graph: Graph) -> DarknetWeights:
    """Read a file for a graph; every value must be accounted for.

    Raises
    ------
    InputError
        If the file cannot be read, holds more or fewer values than the graph, or NaN or infinity.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    order = stored_order(graph)
    expected = sum(parameter.size for _, parameter in order)
    header = _header(path, content, expected)
    values = np.frombuffer(content, "<f4", offset=header.bytes)
    parameters: dict[str, Array] = {}
    offset = 0
    for node, parameter in order:
        flat = values[offset : offset + parameter.size].astype(np.float32)
        if not np.isfinite(flat).all():
            first = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise InputError(
                f"{path}: expected finite values, found {flat[first]} in {parameter.name} "
                f"(value {offset + first + 1:,} of {expected:,})"
            )
        parameters[parameter.name] = _from_file(node, parameter, flat, header)
        offset += parameter.size
    return DarknetWeights(parameters, header, hashlib.sha256(content).hexdigest())


def _header(path: str | Path, content: bytes, expected: int) -> Header:
    """Read the header, whose length follows from the version.

    The two forks differ on versions of 1000 and more, which mark transposed connected layers: there the length that
    leaves no rest counts. Nowhere else is another length tried, or a file cut by one value would pass for whole.
    """
    if len(content) < 16:
        raise InputError(f"{path}: expected a Darknet header of 16 or 20 bytes, found {len(content)} bytes in all")
    major, minor, revision = struct.unpack_from("<3i", content)
    by_rule = 20 if major * 10 + minor >= 2 else 16
    allowed = {by_rule, 16} if major >= 1000 or minor >= 1000 else {by_rule}
    lengths = [n for n in allowed if len(content) == n + 4 * expected]
    if not lengths:
        found = max(0, len(content) - by_rule) / 4
        short = "too few" if found < expected else "too many"
        raise InputError(
            f"{path}: expected {expected:,} values for this network, found {found:,.10g}, {short}: "
            f"a damaged file, or weights of another cfg"
        )
    (seen,) = struct.unpack_from("<Q" if lengths[0] == 20 else "<I", content, 12)
    return Header(major, minor, revision, seen, lengths[0])


def _from_file(node: Node, parameter: Parameter, flat: Array, header: Header) -> Array:
    if node.op == "connected" and len(parameter.shape) == 2 and header.transposed:
        return np.ascontiguousarray(flat.reshape(parameter.shape[::-1]).T)
    return flat.reshape(parameter.shape)


def write_darknet(path: str | Path, graph: Graph, parameters: Mapping[str, Array], header: Header) -> None:
    """Write a `.weights` file, whole or not at all: the inverse of :func:`read_darknet`, byte for byte."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<3i", header.major, header.minor, header.revision))
        file.write(struct.pack("<Q" if header.bytes == 20 else "<I", header.seen))
        for node, parameter in stored_order(graph):
            values = np.asarray(parameters[parameter.name], "<f4")
            if node.op == "connected" and values.ndim == 2 and header.transposed:
                values = values.T
            file.write(values.tobytes())
