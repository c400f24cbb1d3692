"""onnxruntime: the ONNX file as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.engine import Case, Engine

Array = NDArray[np.float32]


class OnnxRuntime(Engine):
    """All graph optimisations, one operator at a time on all threads, as its documentation says for latency."""

    package = "onnxruntime"

    def __init__(self, case: Case, variant: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._session = onnxruntime.InferenceSession(str(case.onnx), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, x: Array) -> Any:
        """Return the outputs in the model's order."""
        return self._session.run(self._names, {self._input: x})

    def outputs(self, result: Any) -> dict[str, Array]:
        """Return the outputs by name."""
        return dict(zip(self._names, result))
