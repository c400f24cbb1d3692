"""The service as a WSGI application: the seed's API, and what a service on the internet needs around it.

request ── options.py ──> model, thresholds ── detection_queue.py ──> a place ── body.py or fetch_image.py ──> bytes
answer <── answers.py <── detections <── the detector <── pixels <── picture.py <── a turn at a bench <──────────┘
"""

from __future__ import annotations

import os
import re
import time
import uuid

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from pure_detect import __version__, jit
from pure_detect.errors import InputError
from pure_detect.serve import metrics
from pure_detect.serve.answers import ANSWERS, Answer, json_answer
from pure_detect.serve.body import read_image_bytes
from pure_detect.serve.catalog import Catalog, load_catalog
from pure_detect.serve.detection_queue import Deadline, DetectionQueue
from pure_detect.serve.errors import ServiceError
from pure_detect.serve.fetch_image import AddressPolicy, FetchError, FetchLimits, fetch_image
from pure_detect.serve.openapi import description
from pure_detect.serve.options import Options, read_options
from pure_detect.serve.picture import decode
from pure_detect.serve.settings import NOTES, SETTINGS, Settings

REDIRECTS = 5
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application, its models loaded.

    Parameters
    ----------
    settings : Settings, optional
        By default those of the environment.

    Raises
    ------
    InputError
        If a setting cannot be used or a model cannot be loaded.
    """
    settings = settings or Settings.from_environment(os.environ)
    jit.set_threads(settings.threads or max(1, jit.available_cpus() // settings.workers))
    app = Flask(__name__)
    app.config[SETTINGS] = settings
    service = Service(settings, load_catalog(settings.models))
    for path, endpoint in service.endpoints.items():
        methods = ["GET", "POST"] if path == "/predict/v1" else ["GET"]
        app.add_url_rule(path, endpoint.__name__, endpoint, methods=methods)
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(ServiceError, _refuse)
    app.register_error_handler(FetchError, _refuse)
    app.register_error_handler(HTTPException, _refuse_by_flask)
    return app


class Service:
    """What stands behind the addresses."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings, self.catalog = settings, catalog
        self.queue = DetectionQueue(settings.concurrency, settings.places, settings.time_limit)
        self.policy = AddressPolicy(allowed=settings.allow_address)
        self.openapi = json_answer(description(catalog, settings))
        metrics.PLACES.set(settings.places)
        self.endpoints = {
            "/": self.index,
            "/predict/v1": self.predict,
            "/models": self.models,
            "/healthz": self.healthz,
            "/metrics": self.metrics,
            "/openapi.json": self.openapi_json,
        }

    def index(self) -> Response:
        """Answer with the web page."""
        return current_app.send_static_file("index.html")

    def predict(self) -> Response:
        """Answer with what is seen in an image: one at an address for GET, the request's own for POST."""
        by_address = request.method != "POST"
        options = read_options(request.args, self.catalog, ("image_url",) if by_address else ())
        note(model=options.model.name)
        url = request.args.get("image_url")
        if by_address and not url:
            raise ServiceError("missing_parameter", "image_url: expected the address of an image, found none")
        with self.queue.admit() as deadline, metrics.TAKEN.track_inprogress():
            started = time.monotonic()
            content = self._fetch(url or "", deadline) if by_address else self._receive()
            note(image_bytes=len(content), read_milliseconds=_milliseconds(started))
            answer = self.queue.run(lambda: self._detect(content, options), deadline, self._is_wanted)
        return _response(answer)

    def models(self) -> Response:
        """Answer with the models."""
        return _response(json_answer(self.catalog.describe()))

    def healthz(self) -> Response:
        """Answer that requests are answered."""
        return _response(json_answer({"status": "ok", "version": __version__}))

    def metrics(self) -> Response:
        """Answer with Prometheus's metrics."""
        return _response(Answer(*metrics.exposition()))

    def openapi_json(self) -> Response:
        """Answer with the description of this service."""
        return _response(self.openapi)

    def _receive(self) -> bytes:
        return read_image_bytes(request, self.settings.max_bytes)

    def _is_wanted(self) -> bool:
        """Tell whether the client still waits for its answer."""
        is_closed = getattr(request.environ.get("gunicorn.socket"), "is_closed", None)
        return is_closed is None or not is_closed()

    def _fetch(self, url: str, deadline: Deadline) -> bytes:
        seconds = min(deadline.remaining(), self.settings.read_limit)
        limits = FetchLimits(bytes=self.settings.max_bytes, seconds=seconds, redirects=REDIRECTS)
        return fetch_image(url, self.policy, limits)

    def _detect(self, content: bytes, options: Options) -> Answer:
        """Return the answer to an image; runs on a thread of the queue, outside of the request's context."""
        name = options.model.name
        with metrics.DETECTION_SECONDS.labels(name).time():
            pixels = decode(content, self.settings.max_pixels)
            try:
                found = options.model.detector(pixels, score=options.score, iou=options.iou)
            except InputError as error:
                raise ServiceError("model_failed", f"{name}: expected boxes, found {error}") from None
            metrics.OBJECTS.labels(name).inc(len(found))
            return ANSWERS[options.format](pixels, found, name)


def note(**fields: object) -> None:
    """Add fields to the request's line in the log."""
    request.environ.setdefault(NOTES, {}).update(fields)


def _begin() -> None:
    g.started = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    note(request_id=g.request_id)


def _end(response: Response) -> Response:
    endpoint = _endpoint()
    metrics.REQUESTS.labels(endpoint, response.status_code).inc()
    metrics.REQUEST_SECONDS.labels(endpoint).observe(time.monotonic() - g.started)
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers["X-Request-Id"] = g.request_id
    if endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _endpoint() -> str:
    return request.endpoint or "none"


def _milliseconds(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)


def _response(answer: Answer, status: int = 200) -> Response:
    return Response(answer.body, status, content_type=answer.type)


def _refuse(error: ServiceError | FetchError) -> Response:
    return _error(error.code, error.status, str(error), getattr(error, "headers", {}))


def _refuse_by_flask(error: HTTPException) -> Response:
    """Put what Flask refuses by itself, and any defect of ours, into the form of all errors."""
    status = error.code or 500
    code = "internal_error" if status == 500 else re.sub(r"\W+", "_", error.name.lower())
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Location")}
    return _error(code, status, error.description or error.name, headers)


def _error(code: str, status: int, message: str, headers: dict[str, str]) -> Response:
    metrics.ERRORS.labels(_endpoint(), code).inc()
    note(error=code)
    response = _response(json_answer({"error": {"code": code, "message": message}}), status)
    response.headers.update(headers)
    return response
