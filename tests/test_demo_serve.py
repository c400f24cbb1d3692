"""The service with the three networks that come with the package: answers about scenes are the truth about them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pure_detect.cli import main
from pure_detect.demo.scenes import Scene, draw_scene
from pure_detect.detections import Detections
from tests import demo
from tests.service import Service, serve

PATH = "/predict/v1"
SCENES = [draw_scene(seed) for seed in demo.SEEDS]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serve("--models", ",".join(demo.NAMES), "--queue", "40") as running:
        yield running


def encoded(scene: Scene) -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene.pixels).save(out, "PNG")
    return out.getvalue()


def ask(service: Service, scene: Scene, **query: Any) -> Any:
    options = "&".join(f"{name}={value}" for name, value in {"score": demo.SCORE, **query}.items())
    reply = service.post(f"{PATH}?{options}", encoded(scene), **{"Content-Type": "image/png"})
    assert reply.status == 200
    return reply.body if query.get("format") == "annotated" else reply.json


def understood(scene: Scene, objects: list[dict[str, Any]]) -> Detections:
    rows = [(o["label"], o["confidence"], o["bbox"]) for o in objects]
    return demo.detections(scene, [(label, score, (x, y, x + w, y + h)) for label, score, (x, y, w, h) in rows])


@pytest.mark.parametrize("name", [*demo.NAMES, "yolo", "mobilenet", "efficientdet"])
def test_a_prediction_is_the_truth_by_the_networks_name_and_its_familys(name: str, service: Service) -> None:
    answers = [(scene, understood(scene, ask(service, scene, model=name))) for scene in SCENES[:8]]
    demo.assert_finds_the_truth(answers)


def test_a_form_is_answered_like_a_body(service: Service) -> None:
    boundary = "limit-of-parts"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = head.encode() + encoded(SCENES[1]) + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    reply = service.post(f"{PATH}?score={demo.SCORE}", body, **kind)
    assert reply.json == ask(service, SCENES[1])
    assert len(reply.json) > 0


def test_the_full_format_has_the_same_objects_and_the_picture(service: Service) -> None:
    full = ask(service, SCENES[1], format="full")
    assert full["detections"] == ask(service, SCENES[1])
    assert (full["model"], full["width"], full["height"]) == ("demo-yolo", 256, 256)
    content = base64.b64decode(full["image"].partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (256, 256)


def test_the_drawing_is_the_command_lines(service: Service, tmp_path: Path) -> None:
    picture = demo.scene_file(tmp_path, demo.SEEDS[1])
    arguments = ["--model", "demo-ssdlite", "--score", str(demo.SCORE), "--out", str(tmp_path / "drawn.png")]
    assert main(["detect", str(picture), *arguments]) == 0
    body = ask(service, SCENES[1], model="demo-ssdlite", format="annotated")
    drawn = np.asarray(Image.open(io.BytesIO(body)))
    assert np.array_equal(drawn, np.asarray(Image.open(tmp_path / "drawn.png")))


def test_many_clients_at_once_each_get_the_truth_about_their_own_picture(service: Service) -> None:
    jobs = [(scene, name) for scene in SCENES for name in demo.NAMES]
    with ThreadPoolExecutor(8) as pool:
        objects = list(pool.map(lambda job: ask(service, job[0], model=job[1]), jobs))
    demo.assert_finds_the_truth((scene, understood(scene, found)) for (scene, _), found in zip(jobs, objects))
    alone = [ask(service, scene, model=name) for scene, name in jobs]
    assert json.dumps(objects) == json.dumps(alone)
