"""OpenCV's DNN module on its own kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.engine import Case, Engine

Array = NDArray[np.float32]


class OpenCv(Engine):
    """The backend and target that it takes by itself for the CPU: its own, with Winograd."""

    package = "opencv-python-headless"

    def __init__(self, case: Case, variant: str) -> None:
        cv2.setNumThreads(case.threads)
        self._net = cv2.dnn.readNetFromONNX(str(_own_file(case)))
        self._net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        self._net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        self._names = self._net.getUnconnectedOutLayersNames()

    @classmethod
    def convert(cls, case: Case) -> None:
        """Rewrite what OpenCV 4.14 computes wrongly into operators that say the same."""
        from engines.opencv_file import rewrite

        rewrite(case.onnx, _own_file(case))

    def run(self, x: Array) -> Any:
        """Return the outputs."""
        self._net.setInput(x)
        return self._net.forward(self._names)

    def outputs(self, result: Any) -> dict[str, Array]:
        """Return the outputs by name."""
        return dict(zip(self._names, result))


def _own_file(case: Case) -> Path:
    return case.path / "opencv.onnx"
