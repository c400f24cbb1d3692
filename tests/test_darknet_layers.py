"""Small layers against AlexeyAB's C code: the same cfg, the same `.weights` file, the same input."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pure_detect.models.darknet import darknet_network
from pure_detect.reference import ReferenceExecutor
from tests.golden.record_darknet_layers import CASES, COMMAND, COMPUTES, HEADER, MOVES, cfg, load
from tests.tolerances import DARKNET_LAYER
from weights_convert.readers.darknet import read_darknet

RECORDINGS = load()


def run(name, dtype, tmp_path):
    """Return (ours, Darknet's) output of one case."""
    recording = RECORDINGS[name]
    graph = darknet_network(cfg(name), f"{name}.cfg").build()
    weights = tmp_path / "layers.weights"
    weights.write_bytes(struct.pack("<3iQ", *HEADER[:4]) + recording.weights.tobytes())
    parameters = read_darknet(weights, graph).parameters
    ours = ReferenceExecutor(graph, parameters, dtype)(recording.input[None])[graph.outputs[0]][0]
    return (ours if recording.output.ndim == 3 else ours.ravel()), recording.output


def test_every_case_is_recorded():
    assert list(RECORDINGS) == list(CASES), f"record anew: {COMMAND}"


@pytest.mark.parametrize("name", MOVES)
def test_layers_that_only_move_or_select_values_equal_darknets_exactly(name, tmp_path):
    ours, darknets = run(name, np.float32, tmp_path)
    np.testing.assert_array_equal(ours, darknets)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", COMPUTES)
def test_layers_that_compute_equal_darknets_but_for_its_float32_sums(name, dtype, tmp_path):
    ours, darknets = run(name, dtype, tmp_path)
    assert ours.shape == darknets.shape
    assert np.isfinite(darknets).all()
    assert darknets.any()
    assert np.abs(ours - darknets).max() <= DARKNET_LAYER * np.abs(darknets).max()
