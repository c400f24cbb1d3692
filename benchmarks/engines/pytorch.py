"""PyTorch: the network as a traced module, eager or compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.engine import Case, Engine

Array = NDArray[np.float32]


class PyTorch(Engine):
    """Inference mode; eager and torch.compile with frozen weights, each in both memory formats: the fastest counts."""

    package = "torch"
    variants = ("eager", "eager channels_last", "compile", "compile channels_last")

    def __init__(self, case: Case, variant: str) -> None:
        torch.set_num_threads(case.threads)
        self._format = torch.channels_last if variant.endswith("channels_last") else torch.contiguous_format
        self._names = case.output_names()
        module = torch.load(case.path / "pytorch.pt", weights_only=False)  # a file of our own
        self._module = module.eval().to(memory_format=self._format)
        if variant.startswith("compile"):
            from torch._inductor import config

            config.freezing = True
            self._module = torch.compile(self._module)

    @classmethod
    def convert(cls, case: Case) -> None:
        """Write the module."""
        import onnx

        from engines.pytorch_module import module_of

        torch.save(module_of(onnx.load(case.onnx)), case.path / "pytorch.pt")

    def arrange(self, x: Array) -> torch.Tensor:
        """Return the input in the memory format of the weights."""
        return torch.from_numpy(x).to(memory_format=self._format)

    def run(self, x: torch.Tensor) -> Any:
        """Return the outputs in the model's order."""
        with torch.inference_mode():
            return self._module(x)

    def outputs(self, result: Any) -> dict[str, Array]:
        """Return the outputs by name."""
        return {name: value.numpy() for name, value in zip(self._names, result)}
