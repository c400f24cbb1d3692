"""ncnn, its files made by pnnx."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
from numpy.typing import NDArray

from engines.engine import Case, Engine

Array = NDArray[np.float32]


class Ncnn(Engine):
    """Float32 storage and arithmetic; ncnn has no batch, so pictures run one after another."""

    package = "ncnn"

    def __init__(self, case: Case, variant: str) -> None:
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = case.threads
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        self._net.load_param(str(case.path / "ncnn" / "network.ncnn.param"))
        self._net.load_model(str(case.path / "ncnn" / "network.ncnn.bin"))
        self._names = case.output_names()

    @classmethod
    def convert(cls, case: Case) -> None:
        """Run pnnx; its `out0`, `out1`, ... are the ONNX file's outputs in their order."""
        folder = case.path / "ncnn"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(case.onnx, folder / "network.onnx")
        pnnx = Path(sys.executable).with_name("pnnx")
        command = [str(pnnx), "network.onnx", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / "network.ncnn.bin").exists():
            raise RuntimeError(f"pnnx failed: {(done.stdout + done.stderr)[-300:]}")

    def arrange(self, x: Array) -> list[Any]:
        """Return one Mat a picture."""
        return [ncnn.Mat(np.ascontiguousarray(picture)).clone() for picture in x]

    def run(self, x: list[Any]) -> list[list[Any]]:
        """Return the outputs of each picture."""
        return [self._run_one(picture) for picture in x]

    def _run_one(self, picture: Any) -> list[Any]:
        extractor = self._net.create_extractor()
        extractor.input("in0", picture)
        return [extractor.extract(f"out{i}")[1] for i in range(len(self._names))]

    def outputs(self, result: list[list[Any]]) -> dict[str, Array]:
        """Return the outputs by name."""
        return {name: np.stack([np.array(mats[i]) for mats in result]) for i, name in enumerate(self._names)}
