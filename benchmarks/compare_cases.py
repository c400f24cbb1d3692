"""What every engine gets: the network as a file, its input, and the outputs that are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from engines.engine import Case
from numpy.typing import NDArray

import pure_detect
from pure_detect.detector import Model
from pure_detect.files import atomic_path
from pure_detect.onnx_export import export_onnx
from pure_detect.random_weights import noise_pictures
from pure_detect.reference import ReferenceExecutor
from weights_convert.hdf5_layout import write_weights

Array = NDArray[Any]


def prepare_case(network: str, size: tuple[int, int] | None, batch: int, threads: int, work: Path) -> Case:
    """Write a case's files, as far as they are not there from an earlier run, and return the case.

    Random weights of seed 0: speed does not depend on the values, and no download is needed.
    """
    model: Model = pure_detect.load(network, weights="random", seed=0, size=size)
    _, height, width = model.graph.input.shape
    folder = work / f"{model.graph.fingerprint[:12]}-{network}-{width}x{height}"
    own = folder / f"batch{batch}"
    own.mkdir(parents=True, exist_ok=True)
    weights = folder / "network.h5"
    if not weights.exists():
        write_weights(weights, model.network, model.parameters, labels=model.labels)
    if not (own / "expected.npz").exists():
        export_onnx(model, own / "network.onnx", batch=batch, fold_batch_norm=True)
        (own / "outputs.txt").write_text("\n".join(dict.fromkeys(model.graph.outputs)))
        np.save(own / "input.npy", np.stack([network_input(model, i) for i in range(batch)]))
        pictures = [_expected(model, i, folder / f"picture{i}.npz") for i in range(batch)]
        with atomic_path(own / "expected.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: np.concatenate([p[name] for p in pictures]) for name in pictures[0]})
    return Case(network, height, width, batch, threads, str(own), str(weights))


def network_input(model: Model, index: int) -> Array:
    """Return one picture of noise (C, H, W), prepared as the network's preprocessing says."""
    pixels = 255 * noise_pictures((1, *model.graph.input.shape), np.random.default_rng(index))[0]
    rule = model.preprocessing
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (rule.mean, rule.std))
    return (pixels * np.float32(rule.scale) - mean) / std


def _expected(model: Model, index: int, path: Path) -> dict[str, Array]:
    """Return the float64 reference's outputs for one picture, from `path` if they were computed before."""
    if not path.exists():
        outputs = ReferenceExecutor(model.graph, model.parameters, np.float64)(network_input(model, index)[None])
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **outputs)
    with np.load(path) as file:
        return dict(file)


def worst_difference(outputs: dict[str, Array], case: Case) -> float:
    """Return the worst element's distance from the reference, as a share of its output's largest magnitude.

    Raises
    ------
    ValueError
        If an output is missing or has another shape.
    """
    worst = 0.0
    with np.load(case.path / "expected.npz") as expected:
        for name in expected:
            right = expected[name]
            if name not in outputs or outputs[name].shape != right.shape:
                found = outputs[name].shape if name in outputs else "nothing"
                raise ValueError(f"output {name}: expected {right.shape}, found {found}")
            share = float(np.abs(outputs[name] - right).max() / np.abs(right).max())
            worst = max(worst, share if np.isfinite(share) else float("inf"))
    return worst
