"""The networks whose trained weights come with the package, in ``weights/<name>.h5`` beside this file."""

from __future__ import annotations

from pathlib import Path

from pure_detect.network import Network

# One a family; a registry name that stands here needs no download.
DEMO_NETWORKS: tuple[Network, ...] = ()

WEIGHTS = Path(__file__).parent / "weights"
