"""What is compared, and what an engine must be able to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Name: module and class.
ENGINES = {
    "ours": "ours:Ours",
    "ours-bf16x3": "ours:OursBf16x3",
    "onnxruntime": "onnxruntime:OnnxRuntime",
    "openvino": "openvino:OpenVino",
    "ncnn": "ncnn:Ncnn",
    "pytorch": "pytorch:PyTorch",
    "opencv": "opencv:OpenCv",
    "tflite": "tflite:TfLite",
}


@dataclass(frozen=True)
class Case:
    """One network at one size, batch and number of threads.

    Attributes
    ----------
    network : str
        A registry name.
    height, width, batch, threads : int
    folder : str
        Where the network lies as `network.onnx`, batch norm folded, its input as `input.npy`, the float64 reference
        executor's outputs as `expected.npz`, and whatever the engines convert the network to.
    weights : str
        The same network as a weight file of ours.
    """

    network: str
    height: int
    width: int
    batch: int
    threads: int
    folder: str
    weights: str

    @property
    def path(self) -> Path:
        """Return the folder."""
        return Path(self.folder)

    @property
    def onnx(self) -> Path:
        """Return the network's file."""
        return self.path / "network.onnx"

    def output_names(self) -> list[str]:
        """Return the network's outputs in the order of its file."""
        return (self.path / "outputs.txt").read_text().split()

    def to_json(self) -> str:
        """Return the case as one line, for another process."""
        return json.dumps(asdict(self))


class Engine:
    """One engine with one network loaded; only its own packages are imported.

    Attributes
    ----------
    package : str
        The distribution whose version is reported.
    variants : tuple of str
        Settings among which its documentation leaves the choice: the fastest is taken, for each case anew.
    """

    package: ClassVar[str]
    variants: ClassVar[tuple[str, ...]] = ("default",)

    def __init__(self, case: Case, variant: str) -> None:
        raise NotImplementedError

    @classmethod
    def convert(cls, case: Case) -> None:
        """Make the engine's own file of `case.onnx`, where it needs one; in a process of its own, not timed."""

    @classmethod
    def version(cls) -> str:
        """Return the version that runs."""
        return version(cls.package)

    @classmethod
    def settings(cls) -> str:
        """Return in a sentence how it is set up."""
        return " ".join((cls.__doc__ or "").split())

    def arrange(self, x: Array) -> Any:
        """Return the input as the engine keeps it; not timed."""
        return x

    def run(self, x: Any) -> Any:
        """Run the network: what is timed. The outputs must be complete when it returns."""
        raise NotImplementedError

    def outputs(self, result: Any) -> dict[str, Array]:
        """Return what `run` gave as (N, C, H, W) arrays by name."""
        raise NotImplementedError
