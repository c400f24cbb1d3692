"""Average precision, COCO's and VOC's, on plain arrays: `evaluate(results, ground_truth).figures()`."""

from pure_detect.evaluate.anchors import AnchorClusters, find_anchors, plot_anchors
from pure_detect.evaluate.coco import evaluate
from pure_detect.evaluate.coco_figures import CocoEvaluation
from pure_detect.evaluate.coco_files import read_coco
from pure_detect.evaluate.ground_truth import Category, GroundTruth, Image
from pure_detect.evaluate.ground_truth_files import read_ground_truth
from pure_detect.evaluate.plot import plot_precision_recall
from pure_detect.evaluate.results import Results, read_results
from pure_detect.evaluate.results_writer import ResultsWriter
from pure_detect.evaluate.table import categories_table, figures_table
from pure_detect.evaluate.voc import VocEvaluation, evaluate_voc, xywh_from_pixels
from pure_detect.evaluate.voc_files import read_voc
from pure_detect.evaluate.yolo_files import read_yolo

__all__ = [
    "AnchorClusters",
    "Category",
    "CocoEvaluation",
    "GroundTruth",
    "Image",
    "Results",
    "ResultsWriter",
    "VocEvaluation",
    "categories_table",
    "evaluate",
    "evaluate_voc",
    "figures_table",
    "find_anchors",
    "plot_anchors",
    "plot_precision_recall",
    "read_coco",
    "read_ground_truth",
    "read_results",
    "read_voc",
    "read_yolo",
    "xywh_from_pixels",
]
