"""The networks that have a name, and where a name leads."""

from __future__ import annotations

import difflib
from pathlib import Path

from pure_detect.errors import InputError
from pure_detect.jit import home
from pure_detect.models.darknet53 import DARKNET53
from pure_detect.models.yolov3 import YOLOV3, YOLOV3_SPP, YOLOV3_TINY
from pure_detect.network import Network

NETWORKS: dict[str, Network] = {network.name: network for network in (YOLOV3, YOLOV3_SPP, YOLOV3_TINY, DARKNET53)}


def find_network(name: str) -> Network:
    """Return the network of a registry name.

    Raises
    ------
    InputError
        If there is none; the message lists what there is.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    close = difflib.get_close_matches(name, NETWORKS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(
        f"{name}: expected a .h5 weight file, a .cfg file or a name ({', '.join(NETWORKS)}), found neither; "
        f"{hint}`pure-detect models` lists the names"
    )


def cached_weights(name: str) -> Path:
    """Return where the weights of a registry name are looked for: `PURE_DETECT_HOME`, else the cache folder."""
    return home() / "weights" / f"{name}.h5"
