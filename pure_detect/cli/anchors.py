"""`pure-detect anchors`: the dimension clusters of a data set, as YOLO's anchors are found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pure_detect.cli.common import DONE, input_size, positive, print_json, report
from pure_detect.draw import save_picture
from pure_detect.evaluate.anchors import find_anchors, plot_anchors
from pure_detect.evaluate.ground_truth_files import read_ground_truth

EPILOG = """\
example:
  pure-detect anchors --annotations instances.json --count 9 --size 416"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "anchors",
        help="find YOLO's anchors for a data set",
        description="Cluster the ground truth's box sizes by k-means under 1 - IoU\n(YOLO9000, section 2).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--annotations", type=Path, metavar="PATH", required=True, help="COCO, VOC or YOLO ground truth")
    p.add_argument("--images", type=Path, metavar="DIR", help="the images, for YOLO's text files")
    p.add_argument("--count", type=positive, default=9, metavar="N", help="how many anchors (default: 9)")
    p.add_argument("--size", type=input_size, default=(416, 416), metavar="N|WxH", help="network input (default: 416)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the random starts (default: 0)")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="draw boxes and anchors")
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Find the anchors and print them."""
    truth = read_ground_truth(options.annotations, options.images)
    clusters = find_anchors(truth, options.count, options.size, seed=options.seed)
    if options.plot:
        save_picture(plot_anchors(clusters, options.size), options.plot)
        report(f"{options.plot}: drawn")
    if options.json:
        print_json({"anchors": clusters.anchors_wh.round(2).tolist(), "mean_iou": clusters.mean_iou})
    else:
        print(clusters.cfg_line())
        print(f"mean IoU {clusters.mean_iou:.4f} over {len(clusters.boxes_wh):,} boxes")
    return DONE
