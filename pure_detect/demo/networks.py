"""The networks whose trained weights come with the package, in ``weights/<name>.h5`` beside this file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pure_detect.demo.scenes import LABELS
from pure_detect.models.darknet import read_cfg
from pure_detect.network import Network

# YOLOv3-tiny made narrow; what it looks like says the cfg.
DEMO_YOLO = replace(read_cfg(Path(__file__).parent / "demo-yolo.cfg"), labels=LABELS)

# One a family; a registry name that stands here needs no download.
DEMO_NETWORKS: tuple[Network, ...] = (DEMO_YOLO,)

WEIGHTS = Path(__file__).parent / "weights"
