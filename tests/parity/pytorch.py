"""What the tests against PyTorch share: float64 tensors, four-sided padding, the parameters that all tests walk."""

from __future__ import annotations

import numpy as np
import pytest

from tests.adversarial_shapes import map_params

torch = pytest.importorskip("torch", reason="needs the extra parity")
F = torch.nn.functional

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
all_maps = pytest.mark.parametrize("shape", map_params)


def t64(array):
    """Return the array as a float64 tensor."""
    return torch.from_numpy(np.asarray(array, np.float64))


def pad(x, padding, value=0.0):
    """Pad a tensor by (top, left, bottom, right)."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)
