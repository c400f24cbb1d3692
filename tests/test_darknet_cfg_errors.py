"""What a reader is told of a broken cfg: one line that names the file and the line."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from pure_detect.errors import InputError
from pure_detect.models.darknet import darknet_network, read_cfg

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=6\nsize=3\npad=1\nactivation=linear\n"
HEAD = "[yolo]\nclasses=1\nanchors=1,2\nnum=1\n"


def marked(text: str) -> tuple[str, int]:
    """Return the text without the mark `<--`, and the number of the line that had it."""
    lines = text.splitlines()
    (number,) = [i for i, line in enumerate(lines, start=1) if line.endswith("<--")]
    return text.replace("<--", ""), number


# Each cfg, with `<--` at the line that the message must name, and words that it must hold.
BROKEN = {
    "unknown section": (NET + CONV + "[crnn]<--\n", ["[crnn]", "unknown section", "convolutional"]),
    "second net": (NET + CONV + NET.replace("[net]", "[net]<--"), ["[net]", "unknown section"]),
    "text for an integer": (NET + CONV.replace("filters=6", "filters=six<--"), ["filters", "integer", "'six'"]),
    "fraction for an integer": (NET + CONV.replace("size=3", "size=3.5<--"), ["size", "integer", "'3.5'"]),
    "list for an integer": (NET + CONV.replace("size=3", "size=3,3<--"), ["size", "integer", "'3,3'"]),
    "zero filters": (NET + CONV.replace("filters=6", "filters=0<--"), ["filters", "at least 1", "'0'"]),
    "negative padding": (NET + CONV.replace("pad=1", "padding=-1<--"), ["padding", "at least 0", "'-1'"]),
    "zero stride": (NET + CONV + "stride=0<--\n", ["stride", "at least 1", "'0'"]),
    "text for a size": (NET.replace("width=32", "width=wide<--") + CONV, ["[net]", "width", "'wide'"]),
    "zero size": (NET.replace("height=32", "height=0<--") + CONV, ["[net]", "height", "at least 1", "'0'"]),
    "no channels": ("[net]<--\nwidth=32\nheight=32\n" + CONV, ["[net]", "channels", "at least 1", "none"]),
    "unknown activation": (NET + CONV.replace("linear", "Leaky<--"), ["activation", "leaky", "mish", "'Leaky'"]),
    "missing bracket": (NET + "[convolutional<--\n", ["[section]", "'[convolutional'"]),
    "zero byte": (NET + CONV.replace("size=3", "si\0ze=3<--"), ["expected text", "zero byte"]),
    "zero byte in a comment": (NET + "# \0<--\n" + CONV, ["expected text", "zero byte"]),
    "option first": ("width=32<--\n" + NET + CONV, ["first section [net]", "'width=32'"]),
    "anchor that is no number": (NET + CONV + HEAD.replace("1,2", "1,b<--"), ["anchors", "numbers", "'1,b'"]),
    "empty anchor": (NET + CONV + HEAD.replace("1,2", "1,,2<--"), ["anchors", "numbers", "'1,,2'"]),
    "nan anchor": (NET + CONV + HEAD.replace("1,2", "1,nan<--"), ["anchors", "numbers", "'1,nan'"]),
    "hexadecimal": (NET + CONV.replace("filters=6", "filters=0x6<--"), ["filters", "'0x6'"]),
    "underscore": (NET + CONV.replace("filters=6", "filters=1_0<--"), ["filters", "'1_0'"]),
    "anchors missing": (NET + CONV + "[yolo]<--\nclasses=1\nnum=1\n", ["anchors", "1 pair", "found 0"]),
    "too few anchors": (NET + CONV + HEAD.replace("1,2", "1<--"), ["anchors", "1 pair", "found 1"]),
    "odd anchors": (NET + CONV + HEAD.replace("1,2", "1,2,3,4,5<--").replace("num=1", "num=3"), ["anchors", "found 5"]),
    "mask outside": (NET + CONV + HEAD + "mask=0,1<--\n", ["mask", "1 anchors", "0,1"]),
    "mask negative": (NET + CONV + HEAD + "mask=-1<--\n", ["mask", "-1"]),
    "wrong filters": (
        NET + CONV + HEAD.replace("[yolo]", "[yolo]<--").replace("classes=1", "classes=80"),
        ["[yolo]", "expected 85 channels", "found 6"],
    ),
    "wrong filters of region": (
        NET + CONV + HEAD.replace("[yolo]", "[region]<--").replace("classes=1", "classes=20"),
        ["[region]", "expected 25 channels", "found 6"],
    ),
    "wrong filters of gaussian": (
        NET + CONV + HEAD.replace("[yolo]", "[Gaussian_yolo]<--"),
        ["[Gaussian_yolo]", "expected 10 channels", "found 6"],
    ),
    "route too far back": (NET + CONV + "[route]\nlayers=-2<--\n", ["layers", "found -2"]),
    "route forward": (NET + CONV + "[route]\nlayers=2<--\n", ["layers", "found 2"]),
    "route to itself": (NET + CONV + "[route]\nlayers=-1,1<--\n", ["layers", "found 1"]),
    "route to the picture": (NET + "[route]\nlayers=-1<--\n" + CONV, ["layers", "found -1"]),
    "route to a head": (NET + CONV + HEAD + "[route]\nlayers=-1<--\n", ["layers", "layer 1", "head"]),
    "route to text": (NET + CONV + "[route]\nlayers=conv<--\n", ["layers", "integers", "'conv'"]),
    "route without layers": (NET + CONV + "[route]<--\n", ["layers="]),
    "route of two sizes": (NET + CONV + CONV + "stride=2\n[route]<--\nlayers=-1,-2\n", ["(6, 16, 16)", "(6, 32, 32)"]),
    "route group that is none": (
        NET + CONV + "[route]\nlayers=-1\ngroups=2<--\ngroup_id=2\n",
        ["group_id 2", "2 groups", "6 channels"],
    ),
    "route groups not dividing": (
        NET + CONV + "[route]\nlayers=-1\ngroups=4<--\ngroup_id=0\n",
        ["4 groups", "6 channels"],
    ),
    "shortcut too far back": (NET + CONV + CONV + "[shortcut]\nfrom=-3<--\n", ["from", "found -3"]),
    "shortcut forward": (NET + CONV + CONV + "[shortcut]\nfrom=4<--\n", ["from", "found 4"]),
    "shortcut to a head": (
        NET + CONV + HEAD + "[route]\nlayers=0\n[shortcut]\nfrom=1<--\n",
        ["from", "layer 1", "head"],
    ),
    "shortcut without from": (NET + CONV + "[shortcut]<--\n", ["from="]),
    "shortcut of an unfit size": (
        NET + CONV + CONV.replace("pad=1", "pad=0") + "[shortcut]\nfrom=-2<--\n",
        ["from", "(30, 30)", "(32, 32)"],
    ),
    "scale_channels of other channels": (
        NET + CONV + CONV.replace("filters=6", "filters=5") + "[avgpool]\n[scale_channels]<--\nfrom=-3\n",
        ["(6, 32, 32)", "(5, 1, 1)"],
    ),
    "groups not dividing the input": (
        NET + CONV.replace("[convolutional]", "[convolutional]<--") + "groups=2\n",
        ["groups 2", "3 input channels"],
    ),
    "groups not dividing the filters": (
        NET + CONV.replace("[convolutional]", "[convolutional]<--").replace("=6", "=7") + "groups=3\n",
        ["groups 3"],
    ),
    "window larger than the map": (
        NET + CONV.replace("[convolutional]", "[convolutional]<--").replace("pad=1", "").replace("size=3", "size=33"),
        ["window of 33", "32"],
    ),
    "reorg of an odd size": (NET + CONV + "[reorg]<--\nstride=3\n", ["stride 3", "(6, 32, 32)"]),
    "softmax groups": (NET + CONV + "[softmax]<--\ngroups=5\n", ["groups 5"]),
    "softmax temperature": (NET + CONV + "[softmax]<--\ntemperature=0\n", ["temperature", "0"]),
    "yolo_point": (NET + CONV + "[Gaussian_yolo]\nanchors=1,2\nyolo_point=top<--\n", ["yolo_point", "'top'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_cfg_is_one_line_that_names_file_and_line(case: str) -> None:
    text, words = BROKEN[case]
    text, line = marked(text)
    with pytest.raises(InputError) as raised:
        darknet_network(text, "dir/bad.cfg")
    message = str(raised.value)
    assert message.startswith(f"dir/bad.cfg, line {line}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("anchors", ["1,-2", "0,1", "1e999,2"])
def test_an_anchor_is_positive_and_finite(anchors: str) -> None:
    with pytest.raises(InputError, match=r"^bad\.cfg, line \d+: \[yolo\] .*anchors"):
        darknet_network(NET + CONV + HEAD.replace("1,2", anchors), "bad.cfg")


def test_anchors_come_in_pairs() -> None:
    with pytest.raises(InputError, match=r"^bad\.cfg, line 12: \[yolo\] anchors.*3"):
        darknet_network(NET + CONV + HEAD.replace("1,2", "1,2,3"), "bad.cfg")


@pytest.mark.parametrize("line", ["foo bar", "width", "=5", "width=", "width ="])
def test_a_line_that_is_no_option_is_named(line: str) -> None:
    with pytest.raises(InputError, match=r"^bad\.cfg, line 6: .*expected option=value, found ") as raised:
        darknet_network(f"{NET}[convolutional]\n{line}\n", "bad.cfg")
    assert repr(line) in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment\n", "; another", CONV + NET, "[Net]\nwidth=1\n"], ids=repr
)
def test_a_file_that_does_not_start_with_net_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^bad\.cfg: expected a Darknet cfg that starts with \[net\], found ."):
        darknet_network(text, "bad.cfg")


def test_net_alone_is_refused() -> None:
    with pytest.raises(InputError, match=r"^bad\.cfg: expected layers after \[net\]"):
        darknet_network(NET, "bad.cfg")


@pytest.mark.parametrize(
    "content",
    [b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"PK\x03\x04\x14\0\0\0", b"\x89HDF\r\n\x1a\n\0", bytes(range(256)) * 400],
    ids=["jpeg", "zip", "hdf5", "noise"],
)
def test_a_binary_file_is_one_short_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "binary.cfg"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_cfg(path)
    message = str(raised.value)
    assert message.startswith(f"{path}, line 1: ")
    assert message.isprintable()
    assert len(message) < len(str(path)) + 200


def test_a_binary_file_without_newlines_is_a_short_message_too(tmp_path: Path) -> None:
    path = tmp_path / "binary.cfg"
    path.write_bytes(b"\x80" * 100_000)
    with pytest.raises(InputError) as raised:
        read_cfg(path)
    assert len(str(raised.value)) < len(str(path)) + 300


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.cfg: cannot be read: No such file"):
        read_cfg(tmp_path / "nothing.cfg")


UNSUPPORTED = {
    "convolutional": (
        "xnor=1", "binary=1", "antialiasing=1", "flipped=1", "sway=1", "rotate=1", "stretch=1", "stretch_sway=1",
        "coordconv=1", "reverse=1", "share_index=0",
    ),
    "maxpool": ("maxpool_depth=1", "antialiasing=1"),
    "upsample": ("scale=2",),
    "reorg": ("reverse=1", "flatten=1", "extra=1"),
    "softmax": ("tree=9k.tree", "spatial=1"),
    "shortcut": ("alpha=0.5", "beta=2"),
    "region": ("tree=9k.tree", "map=9k.map", "coords=5", "background=1"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "option"), [(kind, option) for kind, options in UNSUPPORTED.items() for option in options]
)
def test_an_option_that_would_change_the_result_is_refused(kind: str, option: str) -> None:
    needed = {"shortcut": "from=-2\n", "region": "classes=1\nanchors=1,2\nnum=1\n"}.get(kind, "")
    text = f"{NET}{CONV}{CONV}[{kind}]\n{option}\n{needed}"
    with pytest.raises(InputError, match=rf"^bad\.cfg, line 16: \[{kind}\] {option.split('=')[0]}.*not supported"):
        darknet_network(text, "bad.cfg")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("convolutional", "xnor=0\nbinary=0\nflipped=0\nantialiasing=0\n"),
        ("reorg", "reverse=0\n"),
        ("upsample", "scale=1.0\n"),
    ],
)
def test_the_same_option_at_its_default_is_accepted(kind: str, options: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        darknet_network(f"{NET}{CONV.replace('=6', '=8')}[{kind}]\n{options}", "x.cfg")
