"""torchvision for parity tests, also beside torch's CPU build."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the extra parity")

from examples.train_demo.torchvision_cpu import import_torchvision

__all__ = ["import_torchvision"]
