"""What Prometheus is told; with several workers, the sum over all of them."""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("pure_detect_requests", "Answers by endpoint and HTTP status.", ["endpoint", "status"])
REQUEST_SECONDS = Histogram(
    "pure_detect_request_seconds", "Seconds from a request's head to its answer.", ["endpoint"], buckets=BUCKETS
)
ERRORS = Counter("pure_detect_errors", "Errors by endpoint and code.", ["endpoint", "code"])
DETECTION_SECONDS = Histogram(
    "pure_detect_detection_seconds", "Seconds of decoding, detecting and encoding.", ["model"], buckets=BUCKETS
)
OBJECTS = Counter("pure_detect_objects", "Objects found.", ["model"])
TAKEN = Gauge("pure_detect_queue_taken", "Requests at work or waiting.", multiprocess_mode="livesum")
PLACES = Gauge("pure_detect_queue_places", "Requests that are taken in at most.", multiprocess_mode="livesum")


def exposition() -> tuple[bytes, str]:
    """Return all metrics in Prometheus's text format, and its media type."""
    registry = REGISTRY
    if os.environ.get(MULTIPROCESS):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
