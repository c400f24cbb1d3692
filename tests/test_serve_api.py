"""The service's answers, asked without a network: options, formats, names, errors, headers."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pure_detect.cli import main
from pure_detect.errors import InputError
from pure_detect.serve import answers, app
from pure_detect.serve.app import create_app
from pure_detect.serve.catalog import Catalog, Served, check_models
from pure_detect.serve.errors import STATUS, ServiceError
from pure_detect.serve.fetch_image import FetchError
from pure_detect.serve.openapi import BY_ADDRESS, BY_BODY
from pure_detect.serve.settings import Settings
from tests.hostile_images import encoded
from tests.tiny_networks import GREEN_SCORE, RED_SCORE, classifier_file, detector_file, quadrants

PICTURE = encoded("PNG", quadrants())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two detectors: `tiny` finds a red and a green square, `other` is the same network."""
    made = tmp_path_factory.mktemp("service")
    (made / "names").write_text("rot\ngrün\n", encoding="utf-8")
    for name in ("tiny", "other"):
        detector_file(made, "--labels", str(made / "names"), name=name)
    return made


@pytest.fixture(scope="module")
def client(folder):
    models = (str(folder / "tiny.h5"), str(folder / "other.h5"))
    return create_app(Settings(models=models, max_bytes=100_000, max_pixels=100_000)).test_client()


def post(client, query: str = "", body: bytes = PICTURE, kind: str = "image/png", **headers: str):
    return client.post(f"/predict/v1?{query}", data=body, content_type=kind, headers=headers)


def code(reply) -> str:
    assert reply.content_type == "application/json"
    return reply.get_json()["error"]["code"]


def command_line(capsys, *arguments: str):
    """Return what `pure-detect detect --format json` finds in one image."""
    assert main(["detect", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)[0]["detections"]


@pytest.mark.parametrize("query", ["", "score=0.3&iou=0.2", "score=0", "score=1"])
def test_answers_are_those_of_the_command_line(client, folder, capsys, query):
    (folder / "a.png").write_bytes(PICTURE)
    options = [f"--{option}" for pair in query.split("&") for option in pair.split("=") if pair]
    options = [text.replace("--0", "0").replace("--1", "1") for text in options]
    expected = command_line(capsys, str(folder / "a.png"), "--model", str(folder / "tiny.h5"), *options)
    found = post(client, query).get_json()
    assert [(o["label"], o["confidence"]) for o in found] == [(o["label"], o["score"]) for o in expected]
    boxes = np.array([o["bbox"] for o in found]).reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    np.testing.assert_allclose(corners, np.array([o["box_xyxy"] for o in expected]).reshape(-1, 4), rtol=0, atol=1e-9)
    assert len(found) == {"score=1": 0, "score=0": 8}.get(query, 2)


def test_an_answer_is_the_seeds_list(client):
    reply = post(client)
    assert reply.status_code == 200
    assert reply.content_type == "application/json"
    red, green = reply.get_json()
    assert red == {"bbox": [8.0, 8.0, 16.0, 16.0], "confidence": round(RED_SCORE, 6), "label": "rot"}
    assert green == {"bbox": [40.0, 8.0, 16.0, 16.0], "confidence": round(GREEN_SCORE, 6), "label": "grün"}


def test_raw_bodies_and_forms_are_answered_alike(client):
    raw = post(client).get_json()
    for kind in ("image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", ""):
        assert post(client, kind=kind).get_json() == raw
    form = client.post("/predict/v1", data={"image": (io.BytesIO(PICTURE), "a.png")})
    assert form.get_json() == raw


def test_the_format_annotated_is_the_drawing(client, folder, tmp_path):
    reply = post(client, "format=annotated")
    assert reply.content_type == "image/png"
    picture = Image.open(io.BytesIO(reply.data))
    (tmp_path / "a.png").write_bytes(PICTURE)
    out = tmp_path / "b.png"
    assert main(["detect", str(tmp_path / "a.png"), "--model", str(folder / "tiny.h5"), "--out", str(out)]) == 0
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(Image.open(out)))


def test_the_format_full_brings_the_upright_picture_beside_the_list(client):
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(quadrants()[:48]).save(out, "JPEG", exif=exif, quality=100)
    found = post(client, "format=full&model=other", out.getvalue()).get_json()
    assert set(found) == {"model", "width", "height", "detections", "image"}
    assert (found["model"], found["width"], found["height"]) == ("other", 48, 64)
    assert found["detections"] == post(client, "model=other", out.getvalue()).get_json()
    kind, _, content = found["image"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (48, 64)


def test_an_address_is_answered_like_its_bytes(client, monkeypatch):
    asked = []

    def fetch(url, policy, limits):
        asked.append((url, limits.bytes))
        return PICTURE

    monkeypatch.setattr(app, "fetch_image", fetch)
    reply = client.get("/predict/v1", query_string={"image_url": "http://a.example/b.png?c=d&e", "score": "0.3"})
    assert reply.get_json() == post(client, "score=0.3").get_json()
    assert asked == [("http://a.example/b.png?c=d&e", 100_000)]


def test_what_fetching_refuses_keeps_its_code_and_status(client):
    for url, wanted in {"file:///etc/passwd": "url_scheme", "http://127.0.0.1/a.png": "address_not_public"}.items():
        reply = client.get("/predict/v1", query_string={"image_url": url})
        with pytest.raises(FetchError) as caught:
            app.fetch_image(url, app.AddressPolicy(), app.FetchLimits())
        assert code(reply) == wanted == caught.value.code
        assert reply.status_code == caught.value.status


QUERIES = {
    "model=nope": (404, "unknown_model"),
    "model=": (404, "unknown_model"),
    "model=../tiny": (404, "unknown_model"),
    "model=nope&score=7&x=1": (404, "unknown_model"),  # found out first
    "score=7": (400, "invalid_parameter"),
    "score=nan": (400, "invalid_parameter"),
    "score=-0.1": (400, "invalid_parameter"),
    "score=": (400, "invalid_parameter"),
    "score=half": (400, "invalid_parameter"),
    "score=٠": (400, "invalid_parameter"),
    "iou=1.1": (400, "invalid_parameter"),
    "format=xml": (400, "invalid_parameter"),
    "threshold=0.5": (400, "unknown_parameter"),
    "score=0.1&score=0.2": (400, "repeated_parameter"),
    "model=tiny&model=other": (400, "repeated_parameter"),
}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_query_that_cannot_be_used_is_refused_before_the_image(client, query, method, monkeypatch):
    monkeypatch.setattr(app, "fetch_image", lambda *_: pytest.fail("fetched"))
    monkeypatch.setattr(app, "read_image_bytes", lambda *_: pytest.fail("read"))
    address = "&image_url=http://a.example/" if method == "GET" else ""
    reply = client.open(f"/predict/v1?{query}{address}", method=method)
    assert (reply.status_code, code(reply)) == QUERIES[query]


def test_an_address_goes_with_get_alone_and_get_needs_one(client):
    assert code(client.get("/predict/v1")) == "missing_parameter"
    assert code(client.get("/predict/v1?image_url=")) == "missing_parameter"
    assert code(post(client, "image_url=http://a.example/")) == "unknown_parameter"


def test_what_is_not_there_and_what_is_not_allowed_are_json_too(client):
    reply = client.get("/predict/v2")
    assert (reply.status_code, code(reply)) == (404, "not_found")
    reply = client.delete("/predict/v1")
    assert (reply.status_code, code(reply)) == (405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_a_defect_is_an_error_without_a_traceback(client, monkeypatch):
    monkeypatch.setitem(answers.ANSWERS, "json", lambda *_: 1 // 0)
    reply = post(client)
    assert (reply.status_code, code(reply)) == (500, "internal_error")
    assert "ZeroDivision" not in reply.text
    monkeypatch.undo()
    assert post(client).status_code == 200


def test_every_answer_has_the_headers_that_keep_a_browser_safe(client):
    for reply in (client.get("/models"), client.get("/"), client.get("/nowhere"), post(client, "format=annotated")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'self'; img-src 'self' blob: data:")
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["X-Request-Id"])
    assert client.get("/models").headers["Cache-Control"] == "no-store"


def test_a_request_keeps_the_name_that_it_came_with_if_that_is_one(client):
    assert client.get("/models", headers={"X-Request-Id": "a-1.b_2"}).headers["X-Request-Id"] == "a-1.b_2"
    for odd in ("a b", "x" * 65, 'a"b', ""):
        assert client.get("/models", headers={"X-Request-Id": odd}).headers["X-Request-Id"] != odd


def test_models_are_listed_with_every_name_that_chooses_them(client):
    found = client.get("/models").get_json()
    assert found["default"] == "tiny"
    assert [(m["name"], m["aliases"]) for m in found["models"]] == [("tiny", ["yolo"]), ("other", [])]
    assert found["models"][0] | {"aliases": []} == {
        "name": "tiny", "aliases": [], "network": "tiny", "family": "yolo", "width": 32, "height": 32,
        "labels": ["rot", "grün"],
    }  # fmt: skip
    for model in found["models"]:
        for name in (model["name"], *model["aliases"]):
            assert post(client, f"model={name}&format=full").get_json()["model"] == model["name"]


def fake(name: str, network: str, family: str) -> Served:
    """Return a model of which only the names matter."""
    return Served(name, SimpleNamespace(network=SimpleNamespace(name=network, family=family)))  # type: ignore[arg-type]


def test_the_seeds_names_stand_for_the_first_model_of_their_family():
    models = [
        fake("a", "yolov3", "yolo"),
        fake("b", "yolov4", "yolo"),
        fake("c", "ssdlite-mobilenetv3-large", "ssdlite"),
        fake("efficientdet-d0", "efficientdet-d0", "efficientdet"),
    ]
    catalog = Catalog(models)
    wanted = {None: "a", "yolo": "a", "yolov3": "a", "yolov4": "b", "mobilenet": "c", "efficientdet": "efficientdet-d0"}
    assert {name: catalog.find(name).name for name in wanted} == wanted


def test_a_models_own_name_goes_before_every_other_and_a_shared_network_names_none():
    catalog = Catalog(
        [fake("a", "yolov3", "yolo"), fake("yolo", "yolov3", "yolo"), fake("mobilenet", "yolov2", "yolo")]
    )
    assert catalog.find("yolo").name == "yolo"
    assert catalog.find("mobilenet").name == "mobilenet"
    assert catalog.find("yolov2").name == "mobilenet"
    for name in ("yolov3", "efficientdet"):
        with pytest.raises(ServiceError, match="expected one of a, yolo, mobilenet, yolov2"):
            catalog.find(name)


def test_models_that_cannot_be_served_are_one_line(folder, tmp_path):
    classifier = str(classifier_file(tmp_path))
    tiny = str(folder / "tiny.h5")
    for sources, message in {
        (tiny, tiny): "expected different names, found tiny twice",
        (classifier,): "expected a detector, found a classifier",
        ("darknet53",): "expected a detector, found a classifier",
        ("nope",): "nope: expected a .h5 weight file",
        (str(tmp_path / "nope.h5"),): "nope.h5: ",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            check_models(sources)
        assert "\n" not in str(caught.value)


def test_every_code_in_the_sources_is_in_the_table_and_the_other_way_round():
    sources = "".join(path.read_text() for path in Path(app.__file__).parent.glob("*.py") if path.name != "errors.py")
    raised = set(re.findall(r'ServiceError\(\s*"(\w+)"', sources)) | {"several_images"}  # which shares a line
    assert raised | {"internal_error"} == set(STATUS)


def test_the_description_states_every_status_and_code_of_predictions(client):
    description = client.get("/openapi.json").get_json()
    paths = description["paths"]
    assert set(paths) == {"/predict/v1", "/models", "/healthz", "/metrics", "/openapi.json"}
    for method, codes in {"get": BY_ADDRESS, "post": BY_BODY}.items():
        responses = paths["/predict/v1"][method]["responses"]
        for name, status in codes.items():
            assert f"`{name}`" in responses[str(status)]["description"]
        assert set(responses) == {"200", *map(str, codes.values())}
    names = next(p for p in paths["/predict/v1"]["post"]["parameters"] if p["name"] == "model")["schema"]["enum"]
    assert names == ["tiny", "yolo", "other"]
