"""Record what AlexeyAB's Darknet makes of small random layers, each a cfg of a few sections.

    python tests/golden/record_darknet_layers.py .../darknet/libdarknet.so

Build AlexeyAB/darknet (59596d7) for the CPU with AVX=0 LIBSO=1; a C compiler must be at hand for the little driver
below. It writes `darknet_layers.npz` beside this file, every case's numbers one after another in few arrays:

    values     float32, case by case: the input, the values of the `.weights` file without its header, the output
    sizes      (cases, 3) int64, how many of each
    shapes     (cases, 3) int64, (C, H, W) of the output; 0 where the C code keeps none
    names, generator

Batch norm is not folded: `load_network` leaves it as it is. Left out, since the C code computes nothing meaningful:
padded 1x1 convolutions (they read past the map), dilation with a padding other than size // 2 (the output size ignores
the dilation), relu6 (always 0).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.graph import Graph
from pure_detect.models.darknet import darknet_network
from weights_convert.readers.darknet import Header, write_darknet

COMMAND = "python tests/golden/record_darknet_layers.py PATH_OF_LIBDARKNET.so"
FILE = Path(__file__).with_name("darknet_layers.npz")
HEADER = Header(0, 2, 5, 0, 20)

DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include "darknet.h"

int main(int argc, char **argv) {
    network *net = load_network(argv[1], argv[2], 0);
    layer last = net->layers[net->n - 1];
    int size = net->c * net->h * net->w, shape[4] = {last.outputs, last.out_c, last.out_h, last.out_w};
    float *input = malloc(size * sizeof(float));
    FILE *in = fopen(argv[3], "rb"), *out = fopen(argv[4], "wb");
    if (fread(input, sizeof(float), size, in) != (size_t)size) return 1;
    network_predict_ptr(net, input);
    fwrite(shape, sizeof(int), 4, out);
    fwrite(last.output, sizeof(float), last.outputs, out);
    return fclose(out);
}
"""

IDENTITY = "[maxpool]\nsize=1\nstride=1\n"
SOURCES = """[convolutional]
filters=6
activation=linear
[convolutional]
filters=3
activation=linear
[convolutional]
filters=4
activation=linear
"""
EQUAL_SOURCES = "[convolutional]\nfilters=5\nactivation=linear\n" * 3


def conv(options: str, filters: int = 5, activation: str = "linear") -> str:
    """Return a convolutional section; `options` separated by spaces."""
    return f"[convolutional]\nfilters={filters}\nactivation={activation}\n" + options.replace(" ", "\n") + "\n"


# Name: (channels, height, width) of the input, and the sections. Those under MOVES only move or select values.
MOVES = {
    "reorg": ((8, 4, 6), "[reorg]\nstride=2\n"),
    "reorg_stride_3": ((9, 6, 3), "[reorg]\nstride=3\n"),
    "maxpool_2_stride_2_odd": ((3, 7, 5), "[maxpool]\nsize=2\nstride=2\n"),
    "maxpool_2_stride_1": ((3, 7, 6), "[maxpool]\nsize=2\nstride=1\n"),
    "maxpool_3_stride_2": ((3, 7, 6), "[maxpool]\nsize=3\nstride=2\n"),
    "maxpool_3_stride_3": ((3, 8, 7), "[maxpool]\nsize=3\nstride=3\n"),
    "maxpool_4_stride_1": ((2, 6, 7), "[maxpool]\nsize=4\nstride=1\n"),
    "maxpool_13_larger_than_map": ((2, 5, 7), "[maxpool]\nsize=13\nstride=1\n"),
    "maxpool_padding_1": ((2, 8, 7), "[maxpool]\nsize=3\nstride=2\npadding=1\n"),
    "maxpool_padding_3": ((2, 8, 7), "[maxpool]\nsize=4\nstride=2\npadding=3\n"),
    "maxpool_unequal_strides": ((2, 8, 7), "[maxpool]\nsize=3\nstride_x=1\nstride_y=2\n"),
    "maxpool_stride_alone": ((2, 5, 4), "[maxpool]\nstride=2\n"),
    "upsample": ((3, 2, 4), "[upsample]\nstride=3\n"),
    "upsample_default": ((2, 3, 2), "[upsample]\n"),
    "route_groups": ((4, 2, 3), 2 * IDENTITY + "[reorg]\nstride=1\n[route]\nlayers=-1,0\ngroups=2\ngroup_id=1\n"),
    "route_order": ((2, 4, 2), IDENTITY + "[maxpool]\nsize=3\nstride=1\n[route]\nlayers=-1,0,-2\n"),
    "implicit": ((1, 2, 2), IDENTITY + "[implicit]\nfilters=7\natoms=3\n"),
    "passing_on": ((3, 4, 5), "[maxpool]\nsize=2\nstride=2\n[dropout]\nprobability=0.5\n[empty]\n"),
}
COMPUTES = {
    "conv_3x3_stride_2": ((3, 7, 6), conv("size=3 stride=2 pad=1")),
    "conv_batch_norm": ((3, 4, 5), conv("size=3 pad=1 batch_normalize=1", activation="leaky")),
    "conv_logistic_by_default": ((3, 4, 5), "[convolutional]\nfilters=4\n"),
    "conv_relu": ((3, 4, 3), conv("", activation="relu")),
    "conv_mish": ((3, 4, 3), conv("", activation="mish")),
    "conv_swish": ((3, 4, 3), conv("", activation="swish")),
    "conv_even_kernel": ((3, 5, 6), conv("size=4 stride=2 pad=1")),
    "conv_1x1_stride_2": ((3, 5, 6), conv("size=1 stride=2")),
    "conv_padding_given": ((3, 4, 5), conv("size=5 padding=1")),
    "conv_unequal_strides": ((3, 7, 6), conv("size=3 stride_x=1 stride_y=2 pad=1")),
    "conv_groups": ((4, 4, 5), conv("size=3 pad=1 groups=2", filters=6)),
    "conv_depthwise": ((5, 6, 5), conv("size=3 pad=1 stride=2 groups=5 batch_normalize=1", activation="leaky")),
    "conv_dilation": ((3, 7, 6), conv("size=3 pad=1 dilation=2")),
    "conv_dilation_stride_2": ((2, 9, 8), conv("size=3 pad=1 dilation=3 stride=2", filters=4)),
    "batchnorm": ((5, 3, 4), "[batchnorm]\n"),
    "connected": ((2, 3, 4), IDENTITY + "[connected]\noutput=6\nactivation=leaky\n"),
    "connected_logistic_by_default": ((2, 3, 4), IDENTITY + "[connected]\noutput=3\n"),
    "connected_batch_norm": ((2, 3, 4), IDENTITY + "[connected]\noutput=6\nbatch_normalize=1\nactivation=relu\n"),
    "avgpool": ((5, 3, 4), "[avgpool]\n"),
    "local_avgpool_3_stride_2": ((3, 7, 6), "[local_avgpool]\nsize=3\nstride=2\n"),
    "local_avgpool_2_stride_1": ((3, 4, 5), "[local_avgpool]\nsize=2\nstride=1\n"),
    "local_avgpool_unequal_strides": ((2, 7, 6), "[local_avgpool]\nsize=3\nstride_x=1\nstride_y=2\n"),
    "softmax": ((4, 2, 3), "[softmax]\n"),
    "softmax_groups_temperature": ((4, 2, 3), "[softmax]\ngroups=3\ntemperature=0.5\n"),
    "shortcut": ((3, 3, 4), EQUAL_SOURCES + "[shortcut]\nfrom=-3\nactivation=leaky\n"),
    "shortcut_fewer_channels": ((2, 3, 4), SOURCES + "[shortcut]\nfrom=-2\nactivation=linear\n"),
    "shortcut_more_channels": ((2, 3, 4), SOURCES + "[shortcut]\nfrom=-3\nactivation=linear\n"),
    "shortcut_many_unequal": ((2, 3, 4), SOURCES + "[shortcut]\nfrom=-3,-2,0\nactivation=leaky\n"),
    "shortcut_per_feature_relu": (
        (3, 3, 4),
        EQUAL_SOURCES + "[shortcut]\nfrom=-2,-3\nweights_type=per_feature\nweights_normalization=relu\n",
    ),
    "shortcut_per_feature_softmax": (
        (3, 3, 4),
        EQUAL_SOURCES + "[shortcut]\nfrom=-2\nweights_type=per_feature\nweights_normalization=softmax\n",
    ),
    "shortcut_per_channel_relu": (
        (3, 3, 4),
        EQUAL_SOURCES + "[shortcut]\nfrom=-2\nweights_type=per_channel\nweights_normalization=relu\n",
    ),
    "shortcut_per_channel_softmax": (
        (3, 3, 4),
        EQUAL_SOURCES + "[shortcut]\nfrom=-2,-3\nweights_type=per_channel\nweights_normalization=softmax\n",
    ),
    "shortcut_weighted_unequal": (
        (2, 3, 4),
        SOURCES + "[shortcut]\nfrom=-3,-2\nweights_type=per_channel\nweights_normalization=softmax\n",
    ),
    "scale_channels": (
        (3, 4, 5),
        conv("size=3 pad=1") + "[avgpool]\n" + conv("", activation="logistic") + "[scale_channels]\nfrom=0\n",
    ),
    "scale_channels_wh": (
        (3, 4, 5),
        conv("size=3 pad=1") + conv("", 1, "logistic") + "[scale_channels]\nfrom=-2\nscale_wh=1\nactivation=leaky\n",
    ),
    "scale_channels_implicit": ((3, 2, 3), conv("") + "[implicit]\nfilters=5\n[scale_channels]\nfrom=-2\n"),
    "sam": ((3, 4, 5), conv("size=3 pad=1") + conv("", activation="logistic") + "[sam]\nfrom=-2\n"),
}  # fmt: skip
CASES = {**MOVES, **COMPUTES}


def cfg(name: str) -> str:
    """Return the text of a case's cfg."""
    (channels, height, width), sections = CASES[name]
    return f"[net]\nbatch=1\nchannels={channels}\nheight={height}\nwidth={width}\n{sections}"


class Recording(NamedTuple):
    """One case: input (C, H, W), the `.weights` file's values, output (C, H, W) or (n,)."""

    input: NDArray[np.float32]
    weights: NDArray[np.float32]
    output: NDArray[np.float32]


def load() -> dict[str, Recording]:
    """Return every recording by its case's name."""
    with np.load(FILE) as file:
        ends = np.cumsum(file["sizes"])
        parts = np.split(file["values"], ends[:-1])
        found = {}
        for i, (name, shape) in enumerate(zip(file["names"].tolist(), file["shapes"])):
            x, weights, output = parts[3 * i : 3 * i + 3]
            found[name] = Recording(x.reshape(CASES[name][0]), weights, output.reshape(shape if all(shape) else -1))
        return found


def random_values(graph: Graph, random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Return values for every parameter; variances lie between 1e-4, where epsilon matters, and 10."""
    values = {}
    for name, parameter in graph.parameters.items():
        drawn = random.normal(0, 1, parameter.shape)
        if name.endswith("variance"):
            drawn = 10 ** random.uniform(-4, 1, parameter.shape)
        values[name] = drawn.astype(np.float32)
    return values


def record(name: str, seed: int, driver: Path, folder: Path) -> Recording:
    """Return input, weights and output of one case."""
    random = np.random.default_rng(seed)
    graph = darknet_network(cfg(name), f"{name}.cfg").build()
    x = random.normal(0, 1, CASES[name][0]).astype(np.float32)
    paths = [folder / f"{name}.{end}" for end in ("cfg", "weights", "input", "output")]
    paths[0].write_text(cfg(name))
    write_darknet(paths[1], graph, random_values(graph, random), HEADER)
    paths[2].write_bytes(x.tobytes())
    subprocess.run([driver, *paths], check=True, capture_output=True)
    count, *shape = np.fromfile(paths[3], np.int32, 4)
    output = np.fromfile(paths[3], np.float32, offset=16)
    assert output.size == count
    weights = np.fromfile(paths[1], np.float32, offset=HEADER.bytes)
    return Recording(x, weights, output.reshape(shape if all(shape) else -1))


def main() -> None:
    """Compile the driver and record every case."""
    library = Path(sys.argv[1]).resolve()
    git = ["git", "-C", str(library.parent), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "driver.c").write_text(DRIVER)
        include, run_path = f"-I{library.parent / 'include'}", f"-Wl,-rpath,{library.parent}"
        driver = folder / "driver"
        subprocess.run(["cc", folder / "driver.c", include, "-o", driver, library, run_path], check=True)
        found = [record(case, seed, driver, folder) for seed, case in enumerate(CASES)]
    np.savez_compressed(
        FILE,
        values=np.concatenate([part.ravel() for recording in found for part in recording]),
        sizes=np.array([[part.size for part in recording] for recording in found]),
        shapes=np.array([r.output.shape if r.output.ndim == 3 else (0, 0, 0) for r in found]),
        names=np.array(list(CASES)),
        generator=np.array(f"AlexeyAB/darknet {commit}, CPU, AVX=0, batch norm not folded; {COMMAND}"),
    )


if __name__ == "__main__":
    main()
