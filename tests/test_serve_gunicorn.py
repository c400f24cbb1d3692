"""The running service: gunicorn, sockets, several clients at a time, signals, logs and metrics."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from pure_detect.cli import main
from tests.hostile_images import encoded
from tests.loopback import Answer, Handler, Loopback, file
from tests.real_models import FASTEST, SSDLITE_SMALL, convert
from tests.service import Reply, Service, read_reply, serve
from tests.subprocesses import ROOT
from tests.tiny_models import write_tiny_detector
from tests.tiny_networks import detector_file, quadrants

PATH = "/predict/v1"
PICTURE = encoded("PNG", quadrants())
LOOPBACK = ("--allow-address", "127.0.0.0/8")
PATIENT = ("--read-limit", "120", "--time-limit", "120")  # the tests hold requests for as long as they like
PLACES = 4  # with one detection at a time


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(detector_file(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def service(model) -> Iterator[Service]:
    queue = ("--concurrency", "1", "--queue", str(PLACES - 1))
    with serve("--models", model, *queue, *LOOPBACK, *PATIENT) as running:
        yield running


class Held:
    """An answer of an image server that waits until it is released, so that requests are at work for as long."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Semaphore(0), threading.Event()

    def answer(self) -> Answer:
        def wait_then_send(h: Handler) -> None:
            self.begun.release()
            self.released.wait(60)
            file(PICTURE)(h)

        return wait_then_send


@contextlib.contextmanager
def held_requests(service: Service, count: int) -> Iterator[tuple[Held, list[Reply]]]:
    """Have as many requests at work, and give what releases them and the list that their answers come into."""
    held, replies = Held(), []
    with Loopback(held.answer()) as images, ThreadPoolExecutor(count) as pool:
        path = f"{PATH}?image_url={quote(images.url + '/a.png')}"
        futures = [pool.submit(lambda: replies.append(service.get(path))) for _ in range(count)]
        try:
            for _ in range(count):
                assert held.begun.acquire(timeout=60)
            yield held, replies
        finally:
            held.released.set()
            for future in futures:
                future.result(timeout=90)


def test_requests_beyond_the_queue_get_503_and_all_that_were_accepted_an_answer(service):
    with held_requests(service, PLACES) as (held, replies):
        for _ in range(20):
            refused = service.post(PATH, PICTURE)
            assert (refused.status, refused.code) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        assert service.get("/healthz").status == 200  # alive, only busy
        assert f"pure_detect_queue_taken {PLACES}.0" in service.get("/metrics").body.decode()
        held.released.set()
    assert [reply.status for reply in replies] == [200] * PLACES
    assert service.post(PATH, PICTURE).status == 200


def test_more_clients_than_places_are_answered_or_refused_and_nothing_else(service):
    expected = service.post(PATH, PICTURE).body
    with ThreadPoolExecutor(24) as pool:
        replies = list(pool.map(lambda _: service.post(PATH, PICTURE), range(240)))
    assert {reply.status for reply in replies} <= {200, 503}
    assert {reply.body for reply in replies if reply.status == 200} == {expected}
    assert sum(reply.status == 200 for reply in replies) >= PLACES


def test_a_client_that_goes_while_it_waits_costs_no_detection(service):
    held = Held()
    with Loopback(held.answer()) as images:
        path = f"{PATH}?image_url={quote(images.url + '/a.png')}"
        with service.connection() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone-1\r\n\r\n".encode())
            assert held.begun.acquire(timeout=60)
        held.released.set()
        _wait_for(lambda: service.lines(request_id="gone-1"))
    (line,) = service.lines(request_id="gone-1")
    assert (line["status"], line["error"]) == (499, "client_gone")


def test_several_requests_on_one_connection(service):
    request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
    with service.connection() as connection:
        for _ in range(5):
            connection.sendall(request.encode() + PICTURE)
            assert read_reply(connection).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_worker_that_stops_finishes_what_it_accepted(model, number):
    with serve("--models", model, *LOOPBACK, *PATIENT) as service:
        before = service.workers()
        with held_requests(service, 3) as (held, replies):
            service.process.send_signal(number)
            message = f"Handling signal: {signal.Signals(number).name[3:].lower()}"
            _wait_for(lambda: service.lines(message=message))
            if number == signal.SIGHUP:
                _wait_for(lambda: len(service.workers()) == 2)
            held.released.set()
        assert [reply.status for reply in replies] == [200] * 3
        if number == signal.SIGTERM:
            assert service.process.wait(120) == 0
        else:
            _wait_for(lambda: not set(service.workers()) & set(before))
            assert service.post(PATH, PICTURE).status == 200


def _wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_worker_that_dies_is_replaced(model):
    with serve("--models", model) as service:
        (before,) = service.workers()
        os.kill(before, signal.SIGKILL)
        _wait_for(lambda: service.workers() not in ([], [before]))
        assert service.post(PATH, PICTURE).status == 200


def test_every_request_is_one_line_without_secrets_or_contents(service):
    secret, path = "hunter2", f"{PATH}?image_url=http://user:hunter2@a.example/b.png?token=hunter2"
    service.get(path, **{"X-Request-Id": "log-1", "Authorization": secret, "Cookie": secret})
    service.post(f"{PATH}?model=tiny", PICTURE, **{"X-Request-Id": "log-2"})
    service.get(f"/{secret}"[:1] + "nowhere?x=hunter2", **{"X-Request-Id": "log-3"})
    (refused,), (answered,), (missing,) = (service.lines(request_id=f"log-{i}") for i in (1, 2, 3))
    assert secret not in service.log.read_text()
    assert "PNG" not in service.log.read_text()
    assert (refused["status"], refused["error"], refused["severity"]) == (400, "url_userinfo", "WARNING")
    assert (missing["status"], missing["error"], missing["path"]) == (404, "not_found", "/nowhere")
    wanted = {"method": "POST", "path": PATH, "status": 200, "model": "tiny", "image_bytes": len(PICTURE)}
    assert wanted.items() <= answered.items()
    assert answered["severity"] == "INFO"
    assert answered["milliseconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answered["time"])


@pytest.mark.parametrize(
    "head",
    [
        "GET /a?token=hunter2 HTTP/9.9\r\n\r\n",
        "GET /a?token=hunter2 HTTP/1.1 x\r\n\r\n",
        "GET /a?token=hunter2 HTTP/1.1\r\nA b: c\r\n\r\n",
        f"GET /a?token=hunter2{'x' * 9000} HTTP/1.1\r\n\r\n",
    ],
    ids=["version", "line", "header", "long"],
)
def test_a_head_that_is_none_leaks_no_secret_into_the_log(service, head):
    lines = len(service.lines())
    with service.connection() as connection:
        connection.sendall(head.encode())
        assert read_reply(connection).status in (400, 414, 505)
    _wait_for(lambda: len(service.lines()) > lines)
    assert "hunter2" not in service.log.read_text()


def test_metrics_count_requests_errors_and_objects(service):
    def value(name: str) -> float:
        lines = service.get("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    names = {
        'pure_detect_requests_total{endpoint="predict",status="200"}': 1,
        'pure_detect_requests_total{endpoint="predict",status="415"}': 1,
        'pure_detect_errors_total{code="not_an_image",endpoint="predict"}': 1,
        'pure_detect_objects_total{model="tiny"}': 2,
        'pure_detect_detection_seconds_count{model="tiny"}': 2,
        'pure_detect_request_seconds_count{endpoint="predict"}': 2,
    }
    before = {name: value(name) for name in names}
    service.post(PATH, PICTURE)
    service.post(PATH, b"none")
    assert {name: value(name) - before[name] for name in names} == names
    assert value("pure_detect_queue_places") == PLACES
    assert value("pure_detect_queue_taken") == 0
    assert value("process_resident_memory_bytes") > 0


def test_metrics_of_several_workers_are_summed_and_leave_nothing_behind(model, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with serve("--models", model, "--workers", "2", env=environment) as service:
        _wait_for(lambda: len(service.workers()) == 2)
        for _ in range(30):
            assert service.post(PATH, PICTURE).status == 200
        for _ in range(5):  # whichever worker answers
            found = service.get("/metrics").body.decode()
            assert 'pure_detect_requests_total{endpoint="predict",status="200"} 30.0' in found
        folder = Path(next(line for line in _mapped(service.workers()[0]) if "/pure-detect-" in line)).parent
        assert folder.is_dir()
        assert service.stop() == 0
        assert not folder.exists()


def _mapped(pid: int) -> list[str]:
    return [line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]


def run_to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pure_detect", "serve", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_what_keeps_the_service_from_starting_is_one_line(model, service, tmp_path):
    (tmp_path / "damaged.h5").write_bytes(b"none")
    for arguments, message in {
        ("--models", "nope.h5"): "error: nope.h5: ",
        ("--models", str(tmp_path / "damaged.h5")): f"error: {tmp_path}/damaged.h5: ",
        ("--models", model, "--port", str(service.port)): f"error: 127.0.0.1 port {service.port}: expected an address",
        ("--models", model, "--host", "192.0.2.1"): "error: 192.0.2.1 port 8080: expected an address",
    }.items():
        ended = run_to_its_end(*arguments)
        assert ended.returncode == 1
        assert ended.stderr.startswith(message)
        assert len(ended.stderr.splitlines()) == 1
        assert ended.stdout == ""


def test_a_model_that_vanishes_after_the_check_ends_the_server_instead_of_starting_workers_for_ever(tmp_path):
    path = write_tiny_detector(tmp_path / "tiny.h5")
    with serve("--models", str(path)) as service:
        path.unlink()
        service.process.send_signal(signal.SIGHUP)
        assert service.process.wait(120) == 1
        errors = [line["message"] for line in service.lines(severity="ERROR")]
        assert errors[0] == f"{path}: expected a weight file, found nothing"
        assert len(service.lines(message=errors[0])) == 1


@pytest.mark.shared_data
def test_the_seeds_requests_are_answered_as_on_the_command_line(data, tmp_path, capsys):
    models = [convert(data, FASTEST, tmp_path / "xl.h5"), convert(data, SSDLITE_SMALL, tmp_path / "small.h5")]
    pictures = sorted((data / "images").glob("seed_img*.jpg"))
    assert len(pictures) == 4
    answers = [file(picture.read_bytes()) for picture in pictures]
    names = {"yolo": models[0], "mobilenet": models[1]}
    with serve("--models", ",".join(map(str, models)), *LOOPBACK) as service:
        for name, path in names.items():
            with Loopback(*answers) as images:
                for picture in pictures:
                    reply = service.get(f"{PATH}?model={name}&image_url={images.url}/{picture.name}")
                    capsys.readouterr()
                    assert main(["detect", str(picture), "--model", str(path), "--format", "json"]) == 0
                    (wanted,) = json.loads(capsys.readouterr().out)
                    assert reply.status == 200
                    assert len(wanted["detections"]) > 0
                    assert reply.json == [_as_the_seed(entry) for entry in wanted["detections"]]


def _as_the_seed(entry: dict) -> dict:
    x1, y1, x2, y2 = entry["box_xyxy"]
    bbox = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
    return {"bbox": bbox, "confidence": entry["score"], "label": entry["label"]}
