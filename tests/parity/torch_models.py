"""PyTorch models for parity tests."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra parity")

Range = tuple[float, float]


def randomize_batch_norms(
    model: Any, mean: float = 0.1, variance: Range = (0.5, 1.5), weight: Range = (0.7, 1.3), bias: float = 0.2
) -> None:
    """Give every batch norm random statistics and parameters: normal means and biases, uniform variances, weights."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, mean)
            torch.nn.init.uniform_(module.running_var, *variance)
            torch.nn.init.uniform_(module.weight, *weight)
            torch.nn.init.normal_(module.bias, 0, bias)
