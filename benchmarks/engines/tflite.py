"""TensorFlow Lite with XNNPACK, its file made by onnx2tf."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from engines.engine import Case, Engine

Array = NDArray[np.float32]

# onnx2tf looks for this file of sample pictures, and downloads it where it is absent.
SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"


class TfLite(Engine):
    """The interpreter with its default delegate, XNNPACK, in float32."""

    package = "ai-edge-litert"

    def __init__(self, case: Case, variant: str) -> None:
        path = case.path / "tflite" / "network_float32.tflite"
        self._interpreter = Interpreter(model_path=str(path), num_threads=case.threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        details = self._interpreter.get_signature_runner().get_output_details()  # in no order of the ONNX file's
        self._outputs = {name: output["index"] for name, output in details.items()}

    @classmethod
    def convert(cls, case: Case) -> None:
        """Run onnx2tf, which may live in an environment of its own: it asks for old versions of its dependencies."""
        command = shutil.which("onnx2tf")
        if command is None:
            raise RuntimeError("expected the converter onnx2tf on PATH, found none")
        np.save(case.path / SAMPLES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
        arguments = [command, "-i", str(case.onnx), "-o", str(case.path / "tflite"), "--non_verbose"]
        done = subprocess.run(arguments, cwd=case.path, capture_output=True, text=True, check=False)
        if not (case.path / "tflite" / "network_float32.tflite").exists():
            raise RuntimeError(f"onnx2tf failed: {(done.stdout + done.stderr).strip()[-300:]}")

    def arrange(self, x: Array) -> Array:
        """Return the input with its channels last, as the converted network takes it."""
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def run(self, x: Array) -> dict[str, Array]:
        """Return the outputs by name, copied out as the interpreter's Python interface does."""
        self._interpreter.set_tensor(self._input, x)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}

    def outputs(self, result: dict[str, Array]) -> dict[str, Array]:
        """Return the outputs with their channels second."""
        return {name: value.transpose(0, 3, 1, 2) for name, value in result.items()}
