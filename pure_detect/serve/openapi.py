"""The description of the service in OpenAPI 3.1, for people, for fuzzers, and for programs that generate clients."""

from __future__ import annotations

from typing import Any

from pure_detect import __version__
from pure_detect.serve.catalog import Catalog
from pure_detect.serve.errors import OF_ADDRESSES, OF_ALL, OF_BODIES
from pure_detect.serve.fetch_errors import STATUS as FETCHING
from pure_detect.serve.options import FORMATS, SCORE
from pure_detect.serve.settings import Settings

Json = dict[str, Any]

SEEN = {code: status for code, status in OF_ALL.items() if code != "client_gone"}
BY_ADDRESS, BY_BODY = SEEN | OF_ADDRESSES | FETCHING, SEEN | OF_BODIES


def description(catalog: Catalog, settings: Settings) -> Json:
    """Return the description as one JSON object."""
    limits = f"at most {settings.max_bytes} bytes and {settings.max_pixels} pixels; JPEG, PNG, WebP, GIF or BMP"
    options = _options(catalog)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pure-detect",
            "version": __version__,
            "description": "Object detection: an image in, labelled boxes out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/predict/v1": {
                "get": {
                    "operationId": "predictAddress",
                    "summary": "Find the objects of an image at an address",
                    "description": f"The service fetches the image: {limits}.",
                    "parameters": [*options, _image_url()],
                    "responses": _predicted(BY_ADDRESS),
                },
                "post": {
                    "operationId": "predictImage",
                    "summary": "Find the objects of an image in the body",
                    "description": f"The image as it is, or as a form's field `image`: {limits}.",
                    "parameters": options,
                    "requestBody": {"required": True, "content": _bodies()},
                    "responses": _predicted(BY_BODY),
                },
            },
            "/models": _get("listModels", "List the models", _json("Models")),
            "/healthz": _get("health", "Tell whether the service answers", _json("Health")),
            "/metrics": _get("metrics", "Prometheus's metrics", {"text/plain": {"schema": {"type": "string"}}}),
            "/openapi.json": _get("openapi", "This description", {"application/json": {"schema": {"type": "object"}}}),
        },
        "components": {"schemas": SCHEMAS, "headers": HEADERS},
    }


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> Json:
    return {"application/json": {"schema": _reference(name)}}


def _get(operation: str, summary: str, content: Json) -> Json:
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "responses": {"200": {"description": summary + ".", "content": content}},
        }
    }


def _options(catalog: Catalog) -> list[Json]:
    models = catalog.describe()
    names = [name for model in models["models"] for name in (model["name"], *model["aliases"])]
    unit = {"type": "number", "minimum": 0, "maximum": 1}
    return [
        _parameter(
            "model",
            "Its name, or `yolo`, `mobilenet` or `efficientdet` for the first one of that family.",
            {"type": "string", "enum": names, "default": models["default"]},
        ),
        _parameter("score", "Only objects with a confidence over it.", {**unit, "default": SCORE}),
        _parameter("iou", "Of two boxes of a class that overlap by more, one goes. By default the model's own.", unit),
        _parameter(
            "format",
            "`json`: the list of objects. `annotated`: the image with boxes, a PNG. `full`: the list beside the image.",
            {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]},
        ),
    ]


def _parameter(name: str, text: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _image_url() -> Json:
    text = "The http or https address of the image. It must be reachable by everybody: private networks are refused."
    schema = {"type": "string", "format": "uri", "examples": ["https://example.org/street.jpg"]}
    return {**_parameter("image_url", text, schema), "required": True}


def _binary(media_type: str) -> Json:
    """Return the schema of bytes: as OpenAPI 3.1 says it, and as generators of clients made for 3.0 understand it."""
    return {"type": "string", "format": "binary", "contentMediaType": media_type}


def _bodies() -> Json:
    image = _binary("application/octet-stream")
    form = {"type": "object", "required": ["image"], "properties": {"image": image}, "additionalProperties": False}
    return {
        "multipart/form-data": {"schema": form},
        "application/octet-stream": {"schema": image},
        "image/*": {"schema": image},
    }


def _predicted(codes: dict[str, int]) -> Json:
    """Return the answers to a prediction, with the refusals that these codes are."""
    detections: Json = {"type": "array", "items": _reference("Detection")}
    answer = {
        "description": "The objects, best first.",
        "content": {
            "application/json": {"schema": {"oneOf": [detections, _reference("Full")]}},
            "image/png": {"schema": _binary("image/png")},
        },
    }
    return {"200": answer, **{str(status): _refusal(status, codes) for status in sorted(set(codes.values()))}}


def _refusal(status: int, codes: dict[str, int]) -> Json:
    meant = ", ".join(f"`{code}`" for code, its_status in codes.items() if its_status == status)
    answer: Json = {"description": f"Refused: {meant}.", "content": _json("Error")}
    if status == 503:
        answer["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    return answer


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


TEXT, SIZE = {"type": "string"}, {"type": "integer", "minimum": 1}
TEXTS = {"type": "array", "items": TEXT}

HEADERS = {"RetryAfter": {"description": "Seconds.", "schema": SIZE}}

SCHEMAS = {
    "Detection": _object(
        bbox={
            "type": "array",
            "items": {"type": "number"},
            "minItems": 4,
            "maxItems": 4,
            "description": "Left, top, width and height in pixels of the upright image.",
            "examples": [[113.9, 188.5, 271.9, 347.1]],
        },
        confidence={"type": "number", "minimum": 0, "maximum": 1},
        label={"type": "string", "examples": ["dog"]},
    ),
    "Full": _object(
        model=TEXT,
        width=SIZE,
        height=SIZE,
        detections={"type": "array", "items": _reference("Detection")},
        image={"type": "string", "description": "The upright image, as a data URL."},
    ),
    "Model": _object(
        name=TEXT,
        aliases={**TEXTS, "description": "Other names that choose it."},
        network={"type": "string", "description": "The registry's name of the network, or that of its cfg."},
        family=TEXT,
        width={**SIZE, "description": "Of the network's input."},
        height=SIZE,
        labels=TEXTS,
    ),
    "Models": _object(default=TEXT, models={"type": "array", "items": _reference("Model")}),
    "Health": _object(status={"type": "string", "const": "ok"}, version=TEXT),
    "Error": _object(
        error=_object(
            code={"type": "string", "description": "Stable, one a cause.", "examples": ["too_many_pixels"]},
            message={"type": "string", "description": "One line for people."},
        )
    ),
}
