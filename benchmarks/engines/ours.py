"""This package."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import pure_detect
from engines.engine import Case, Engine
from pure_detect.detector import ENGINES
from pure_detect.jit import set_threads

Array = NDArray[np.float32]


class Ours(Engine):
    """What `pure_detect.load` gives for the weight file, on the executor that the variant names."""

    package = "pure-detect"
    variants = ("fast",) if "fast" in ENGINES else ("reference",)

    def __init__(self, case: Case, variant: str) -> None:
        size = (case.height, case.width)
        if variant == "reference":
            set_threads(case.threads)
            self._model = pure_detect.load(case.weights, size=size, engine=variant)
        else:
            self._model = pure_detect.load(case.weights, size=size, engine=variant, threads=case.threads)

    @classmethod
    def version(cls) -> str:
        """Return the version of the source that is imported, installed or not."""
        return pure_detect.__version__

    def run(self, x: Array) -> Any:
        """Return the outputs by name."""
        return self._model.forward(x)

    def outputs(self, result: Any) -> dict[str, Array]:
        """Return the outputs by name."""
        return dict(result)
