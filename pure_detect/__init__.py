"""Object detection in plain Python, every layer on NumPy and Numba.

>>> import pure_detect
>>> detector = pure_detect.load("yolo-fastest-1.1-xl")
>>> detections = detector("street.jpg")
>>> detections.boxes_xyxy, detections.scores, detections.class_ids, detections.labels
"""

from pure_detect._version import __version__
from pure_detect.detections import Detection, Detections
from pure_detect.detector import Classification, Classifier, Detector
from pure_detect.errors import InputError
from pure_detect.jit import set_threads
from pure_detect.loading import load

__all__ = [
    "Classification",
    "Classifier",
    "Detection",
    "Detections",
    "Detector",
    "InputError",
    "__version__",
    "load",
    "set_threads",
]
