"""OpenVINO on the CPU, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from engines.engine import Case, Engine

Array = NDArray[np.float32]


class OpenVino(Engine):
    """The latency hint, one stream, float32 forced: by default it may round to bfloat16 where the CPU can."""

    package = "openvino"

    def __init__(self, case: Case, variant: str) -> None:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": case.threads,
            "NUM_STREAMS": 1,
        }
        compiled = openvino.Core().compile_model(str(case.onnx), "CPU", settings)
        self._names = [output.any_name for output in compiled.outputs]
        self._request = compiled.create_infer_request()

    def run(self, x: Array) -> Any:
        """Return the outputs, which share memory with the request."""
        return self._request.infer([x], share_inputs=True, share_outputs=True)

    def outputs(self, result: Any) -> dict[str, Array]:
        """Return the outputs by name."""
        return {name: np.array(result[i]) for i, name in enumerate(self._names)}
