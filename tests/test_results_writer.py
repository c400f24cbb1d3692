"""The writer of results that an interrupted run goes on with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pure_detect import InputError
from pure_detect.evaluate import ResultsWriter, read_results
from pure_detect.evaluate import results_writer as module

RUN = {"model": "yolov3", "score": 0.005}


def add(writer: ResultsWriter, image_id: int, count: int = 2) -> None:
    boxes = np.arange(1, 1 + 4 * count, dtype=np.float32).reshape(count, 4) / 3
    writer.add(image_id, np.full(count, 7), boxes, np.linspace(0.1, 0.9, count, dtype=np.float32))


def finished(path: Path, images: list[int]) -> bytes:
    """What an uninterrupted run over these images writes."""
    with ResultsWriter(path, RUN) as writer:
        for image_id in images:
            add(writer, image_id, image_id % 3)
        writer.finish()
    return path.read_bytes()


def test_finished_results_read_back_to_the_bit_and_leave_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    finished(path, [5, 3, 4])
    results = read_results(path)
    np.testing.assert_array_equal(results.image_ids, [5, 5, 4])
    np.testing.assert_array_equal(results.category_ids, [7, 7, 7])
    np.testing.assert_array_equal(results.boxes_xywh[:2].ravel(), np.arange(1, 9, dtype=np.float32) / 3)
    np.testing.assert_array_equal(results.scores, np.float32([0.1, 0.9, 0.1]))
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize("images", [[], [3], [3, 6]])
def test_results_without_a_detection_are_an_empty_list(tmp_path: Path, images: list[int]) -> None:
    finished(tmp_path / "r.json", images)
    assert json.loads((tmp_path / "r.json").read_text()) == []


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = finished(tmp_path / "whole.json", [1, 2, 3, 4, 5])
    path = tmp_path / "r.json"
    with ResultsWriter(path, RUN) as writer:
        for image_id in (1, 2, 3):
            add(writer, image_id, image_id % 3)
    assert not path.exists()
    with ResultsWriter(path, RUN) as writer:
        assert writer.done == {1, 2, 3}
        for image_id in (4, 5):
            add(writer, image_id, image_id % 3)
        writer.finish()
    assert path.read_bytes() == whole


def test_a_run_cut_at_any_byte_loses_only_the_image_it_was_writing(tmp_path: Path) -> None:
    whole = finished(tmp_path / "whole.json", [1, 3])
    path = tmp_path / "r.json"
    with ResultsWriter(path, RUN) as writer:
        for image_id in (1, 3):
            add(writer, image_id, image_id % 3)
        content = writer.partial.read_bytes()
    for length in range(len(content) + 1):
        writer.partial.write_bytes(content[:length])
        with ResultsWriter(path, RUN) as resumed:
            assert len(resumed.done) == max(0, content[:length].count(b"\n") - 1)
            for image_id in (1, 3):
                if image_id not in resumed.done:
                    add(resumed, image_id, image_id % 3)
            resumed.finish()
        assert path.read_bytes() == whole


def test_a_killed_process_loses_nothing_that_was_added(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pure_detect.evaluate import ResultsWriter\n"
        "writer = ResultsWriter(sys.argv[1], {})\n"
        "for i in range(1, 4): writer.add(i, [1], [[0, 0, 1, 1]], [0.5])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "r.json"], cwd=Path(__file__).parents[1], check=False)
    with ResultsWriter(tmp_path / "r.json", {}) as writer:
        assert writer.done == {1, 2, 3}


def test_a_full_disk_stops_the_run_and_leaves_a_file_that_a_later_run_goes_on_with(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="needs a system with limits on a file's size")
    program = (
        "import resource, sys\nfrom pure_detect.evaluate import ResultsWriter\n"
        "with ResultsWriter(sys.argv[1], {}) as writer:\n"
        "    writer.add(1, [1], [[0, 0, 1, 1]], [0.5])\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (130, 130))\n"
        "    for i in (2, 3):\n"
        "        try: writer.add(i, [1], [[0, 0, 1, 1]], [0.5])\n"
        "        except ValueError as error: print(error)\n"
        "    print(writer.done)"
    )
    command = [sys.executable, "-c", program, tmp_path / "r.json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{tmp_path}/r.json.partial: cannot be written: File too large"] * 2 + ["{1}"]
    assert (tmp_path / "r.json.partial").stat().st_size == 130
    with ResultsWriter(tmp_path / "r.json", {}) as writer:
        assert writer.done == {1}
        add(writer, 2)
        assert json.loads(writer.finish().read_text())[-1]["image_id"] == 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": "yolov4", "score": 0.005}, "with model 'yolov4', found one with 'yolov3'"),
        ({"model": "yolov3"}, "with score None, found one with 0.005"),
        (RUN | {"resize": [1, 2]}, "with resize [1, 2], found one with None"),
    ],
)
def test_another_runs_results_are_not_mixed_in(tmp_path: Path, other: dict, message: str) -> None:
    with ResultsWriter(tmp_path / "r.json", RUN) as writer:
        add(writer, 1)
        writer.add(2, [], np.empty((0, 4)), [])
        before = writer.partial.read_bytes()
    writer.partial.write_bytes(before + b'{"torn')
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        ResultsWriter(tmp_path / "r.json", other)
    assert str(writer.partial) in str(caught.value)
    assert writer.partial.read_bytes() == before + b'{"torn'
    with ResultsWriter(tmp_path / "r.json", other, restart=True) as writer:
        assert writer.done == set()


def test_the_same_fingerprint_in_other_words_goes_on(tmp_path: Path) -> None:
    with ResultsWriter(tmp_path / "r.json", {"size": (416, 416), "score": 0.1}) as writer:
        add(writer, 1)
    with ResultsWriter(tmp_path / "r.json", {"score": 0.1, "size": [416, 416]}) as writer:
        assert writer.done == {1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]\n", "expected an unfinished run's results in line 1, found b'[1, 2]\\n'"),
        (b'{"fingerprint": {}}\nnonsense\n', "expected an unfinished run's results in line 2, found b'nonsense\\n'"),
        (b'{"fingerprint": {}}\n{"image_id": 1}\n', "expected an unfinished run's results in line 2"),
        (
            b'{"fingerprint": {}}\n' + b'{"image_id": 1, "detections": []}\n' * 2,
            "expected each image once, found 1 twice",
        ),
    ],
)
def test_a_damaged_partial_file_is_refused_and_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.json.partial").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)):
        ResultsWriter(tmp_path / "r.json", {})
    assert (tmp_path / "r.json.partial").read_bytes() == content


def test_two_runs_cannot_write_the_same_file(tmp_path: Path) -> None:
    if module.fcntl is None:
        pytest.skip("needs a system with flock")
    with ResultsWriter(tmp_path / "r.json", RUN) as writer:
        with pytest.raises(InputError, match="expected a file that no other run is writing"):
            ResultsWriter(tmp_path / "r.json", RUN)
        add(writer, 1)


def test_an_image_cannot_be_added_twice_nor_with_bad_numbers(tmp_path: Path) -> None:
    with ResultsWriter(tmp_path / "r.json", RUN) as writer:
        add(writer, 1)
        with pytest.raises(ValueError, match="image 1 is done already"):
            add(writer, 1)
        with pytest.raises(InputError, match=re.escape("image 2: detections[0].score: expected a finite number")):
            writer.add(2, [1], [[0, 0, 1, 1]], [np.nan])
        assert writer.done == {1}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}/none/r.json.partial: cannot be written")):
        ResultsWriter(tmp_path / "none" / "r.json", RUN)
