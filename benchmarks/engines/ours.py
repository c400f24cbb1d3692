"""This package."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import pure_detect
from engines.engine import Case, Engine

Array = NDArray[np.float32]


class Ours(Engine):
    """What `pure_detect.load` gives for the weight file."""

    package = "pure-detect"
    precision = "winograd"

    def __init__(self, case: Case, variant: str) -> None:
        size = (case.height, case.width)
        self._model = pure_detect.load(case.weights, size=size, threads=case.threads, precision=self.precision)

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


class OursBf16x3(Ours):
    """The same with `precision="bf16x3"`: wide 1x1 convolutions on AMX's tile registers, where there are any."""

    precision = "bf16x3"
