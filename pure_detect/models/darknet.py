"""Darknet cfg files as networks. The grammar is in `darknet_cfg.py`, the layers in `darknet_layers.py`."""

from __future__ import annotations

from pathlib import Path

from pure_detect.errors import InputError
from pure_detect.graph import Builder, Graph, Tensor
from pure_detect.image import Preprocessing
from pure_detect.models.darknet_cfg import Section, parse_cfg
from pure_detect.models.darknet_layers import SECTIONS, TRAINING_OPTIONS, Layers
from pure_detect.network import Definition, Network


def darknet_network(text: str, file: str) -> Network:
    """Turn a cfg's text into a network.

    Parameters
    ----------
    text : str
    file : str
        Where the text comes from, for messages; its stem is the network's name.

    Raises
    ------
    InputError
        If a section or value is not understood; the message names file and line.
    """
    sections = parse_cfg(text, file)
    net = sections[0]
    shape = tuple(net.integer(key, 0, least=1) for key in ("channels", "height", "width"))
    resize = "letterbox" if net.integer("letter_box", 0) else "stretch"
    for section in sections:
        if section.kind not in SECTIONS and section is not net:
            known = ", ".join(sorted(SECTIONS))
            raise section.error(f"unknown section; known are {known}")

    def define(builder: Builder) -> Definition:
        layers = Layers(builder)
        for section in sections[1:]:
            layers.outputs.append(_layer(section, layers))
        if layers.heads:
            return Definition([tensor for tensor, _ in layers.heads], [head for _, head in layers.heads])
        return Definition([layers.x])

    builder = Builder(shape)  # type: ignore[arg-type]
    definition = define(builder)
    graph = builder.graph(definition.outputs, definition.heads)
    _check_outputs(file, sections, builder, graph)
    for section in sections:
        section.warn_unknown(TRAINING_OPTIONS)
    stride = _largest_stride(graph) if graph.heads else 1
    for key in ("height", "width"):
        if net.integer(key, 0) % stride:
            raise net.error(
                f"{key}: expected a multiple of the network's stride {stride}, found {net.text(key, '')}", key
            )
    return Network(
        name=Path(file).stem,
        family="yolo" if graph.heads else "classifier",
        define=define,
        input_shape=shape,  # type: ignore[arg-type]
        stride=stride,
        preprocessing=Preprocessing(resize=resize if graph.heads else "crop"),
        cfg=text,
    )


def _check_outputs(file: str, sections: list[Section], builder: Builder, graph: Graph) -> None:
    """Refuse what has no layers, heads that disagree, and layers that no head needs: their weights have no place."""
    if not graph.nodes or builder.image.name in graph.outputs:
        raise InputError(f"{file}: expected layers after [net], found none")
    classes = {head.classes for head in graph.heads}
    if len(classes) > 1:
        raise InputError(f"{file}: expected heads of one number of classes, found {sorted(classes)}")
    needed = {node.name for node in graph.nodes}
    for name, node in builder.nodes.items():
        if node.parameters and name not in needed:
            index = int(name.split(".")[0].removeprefix("layer"))
            raise sections[index + 1].error(
                f"expected a layer that an output needs, found layer {index} that none does"
            )


def _layer(section: Section, layers: Layers) -> Tensor:
    try:
        return SECTIONS[section.kind](section, layers)
    except InputError:
        raise
    except ValueError as error:  # a shape that does not fit
        raise section.error(str(error)) from None


def _largest_stride(graph: Graph) -> int:
    """Return by how much the network's smallest map is reduced, so that sizes which it divides need no rounding."""
    reduction = {graph.input.name: 1.0}
    heights = {graph.input.name: graph.input.shape[1]}
    for node in graph.nodes:
        steps = node.attributes.get("stride", 1)
        step = max(steps) if isinstance(steps, tuple) else steps
        sources = [reduction[name] for name in node.inputs]
        enlarged = node.shape[1] // heights[node.inputs[0]] if node.op == "upsample_nearest" else 1
        heights[node.name] = node.shape[1]
        reduction[node.name] = max(sources) * step / enlarged
    return int(max(reduction.values()))


def read_cfg(path: str | Path) -> Network:
    """Read a cfg file as a network.

    Raises
    ------
    InputError
        If the file cannot be read or understood.
    """
    try:
        text = Path(path).read_bytes().decode("latin-1")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return darknet_network(text, str(path))
