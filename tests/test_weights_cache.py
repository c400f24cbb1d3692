"""From a registry name to a weight file: cache, mirror, download, conversion, and several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pure_detect
from pure_detect.cli import main
from pure_detect.demo.networks import DEMO_NETWORKS, WEIGHTS
from pure_detect.errors import InputError
from pure_detect.registry import DEFAULT_MODEL
from pure_detect.weights_cache import weights_of
from tests.loopback import Handler, Loopback, file, status
from tests.small_published import NETWORK, official_file, publish, withdraw
from tests.subprocesses import ROOT
from tests.tiny_networks import picture_file

OFFLINE = "http://127.0.0.1:1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home; no mirror, no proxy."""
    for name in ("PURE_DETECT_MIRROR", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def content(tmp_path: Path) -> Iterator[bytes]:
    """Return what the author of the network `small` publishes, nowhere yet."""
    yield official_file(tmp_path)
    withdraw()


def files_of(home: Path) -> list[str]:
    """Return what lies in the weights' folder beside lock files."""
    return sorted(path.name for path in (home / "weights").iterdir() if not path.name.endswith(".lock"))


def test_a_name_is_downloaded_converted_and_then_never_again(home, content, capsys):
    with Loopback(file(content)) as server:
        publish(content, server.url)
        first = pure_detect.load("small")
        assert len(server.requests) == 1
        notices = capsys.readouterr()
        second = pure_detect.load("small")
        assert len(server.requests) == 1
    assert notices.out == ""
    assert f"small: downloading 0.0 MB from {server.url}/small-official.weights" in notices.err
    assert f"small: kept at {home / 'weights' / 'small.h5'}" in notices.err
    assert capsys.readouterr().err == ""
    assert files_of(home) == ["small.h5"]
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    np.testing.assert_array_equal(first.forward(x)["head"], second.forward(x)["head"])
    assert first.labels == ("cat", "dog")
    assert first.parameters_sha256() == pure_detect.load("small", weights="random", seed=0).parameters_sha256()


def test_a_weight_file_in_the_cache_needs_no_network(home, content):
    publish(content, OFFLINE)
    with Loopback(file(content)) as server:
        publish(content, server.url)
        weights_of("small")
    publish(content, OFFLINE)
    assert isinstance(pure_detect.load("small"), pure_detect.Detector)


def test_a_path_goes_before_the_cache(home, content, tmp_path):
    publish(content, OFFLINE)
    with pytest.raises(InputError, match=r"small\.h5: expected a weight file, found nothing"):
        pure_detect.load(str(tmp_path / "small.h5"))


def test_the_second_address_is_asked_if_the_first_fails(home, content):
    with Loopback(status(404)) as gone, Loopback(file(content)) as server:
        publish(content, gone.url, server.url)
        weights_of("small")
    assert [len(gone.requests), len(server.requests)] == [1, 1]


def test_the_mirror_is_asked_and_nobody_else(home, content, monkeypatch):
    with Loopback(file(content)) as official, Loopback(file(content)) as mirror:
        publish(content, official.url)
        monkeypatch.setenv("PURE_DETECT_MIRROR", f"{mirror.url}/models/")
        weights_of("small")
    assert [request.path for request in mirror.requests] == ["/models/small-official.weights"]
    assert official.requests == []


def test_the_mirror_may_be_a_local_folder_and_stays_as_it_is(home, content, monkeypatch, tmp_path):
    publish(content, OFFLINE)
    (tmp_path / "mirror").mkdir()
    original = tmp_path / "mirror" / "small-official.weights"
    original.write_bytes(content)
    monkeypatch.setenv("PURE_DETECT_MIRROR", str(tmp_path / "mirror"))
    weights_of("small")
    assert files_of(home) == ["small.h5"]
    assert original.read_bytes() == content
    original.write_bytes(content[::-1])
    with pytest.raises(InputError, match=f"{original}: expected SHA-256"):
        weights_of("small", renew=True)
    original.unlink()
    with pytest.raises(InputError, match=f"{original}: expected a file in the folder that PURE_DETECT_MIRROR names"):
        weights_of("small", renew=True)
    assert files_of(home) == ["small.h5"]


def test_an_official_file_that_lies_there_is_taken_instead_of_a_download(home, content):
    publish(content, OFFLINE)
    (home / "weights").mkdir(parents=True)
    placed = home / "weights" / "small-official.weights"
    placed.write_bytes(content)
    weights_of("small")
    assert files_of(home) == ["small.h5"]
    placed.write_bytes(content[:-4])
    with pytest.raises(InputError, match=f"{placed}: expected {len(content):,} bytes, found {len(content) - 4:,}"):
        weights_of("small", renew=True)
    assert placed.exists()  # it is not ours to remove


def test_without_a_network_the_error_says_what_to_do(home, content):
    publish(content, OFFLINE, OFFLINE)
    with pytest.raises(InputError) as error:
        pure_detect.load("small")
    message = str(error.value)
    assert message.startswith(f"small: no weights at {home / 'weights' / 'small.h5'}, and none to be had: {OFFLINE}")
    assert message.count("connection refused") == 2
    assert "`--model FILE`" in message
    put = f"put small-official.weights at {home / 'weights' / 'small-official.weights'}"
    assert message.endswith(f"{put}; `pure-detect demo` needs no download")
    assert "\n" not in message
    assert files_of(home) == []


def test_a_file_without_published_sum_that_is_no_weight_file_is_not_kept(home, content):
    with Loopback(file(b"<html>Sign in to the network</html>"), file(content)) as server:
        publish(content, server.url, checked=False)
        with pytest.raises(InputError, match="found an HTML page"):
            weights_of("small")
        assert files_of(home) == []
        weights_of("small")
    assert files_of(home) == ["small.h5"]


def test_a_home_that_cannot_be_written_is_named(home, content):
    publish(content, OFFLINE)
    home.write_bytes(b"a file")
    with pytest.raises(InputError, match=f"{home / 'weights'}: expected a folder that can be made") as error:
        weights_of("small")
    assert "PURE_DETECT_HOME" in str(error.value)


def test_a_network_without_weights_and_a_cfg_need_none(home, content, tmp_path):
    publish(content, OFFLINE)
    assert pure_detect.load("small", weights="random").network is NETWORK
    cfg = tmp_path / "my.cfg"
    cfg.write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n[softmax]\n")
    with pytest.raises(InputError, match="expected weights beside the cfg, found none"):
        pure_detect.load(cfg)


def test_a_damaged_file_in_the_cache_is_refused_with_the_command_that_renews_it(home, content):
    with Loopback(file(content)) as server:
        publish(content, server.url)
        path = weights_of("small")
        path.write_bytes(b"damaged")
        with pytest.raises(InputError, match=f"^{path}: .*`pure-detect download --again small` makes this one anew"):
            pure_detect.load("small")
        weights_of("small", renew=True)
        with pytest.raises(InputError, match=r"expected 2 labels, found 1$"):
            pure_detect.load("small", labels=("one",))


GET_SMALL = """
import sys
from tests.small_published import publish
from pure_detect.weights_cache import weights_of
publish(open(sys.argv[1], "rb").read(), sys.argv[2])
print(weights_of("small"))
"""


def test_two_processes_at_once_download_once(home, content, tmp_path):
    (tmp_path / "content").write_bytes(content)

    def held(h: Handler) -> None:  # until the second process waits
        h.server.released.wait(10)
        file(content)(h)

    def start(url: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", GET_SMALL, str(tmp_path / "content"), url],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with Loopback(held) as server:
        processes = [start(server.url), start(server.url)]
        try:
            waiting = [_line_with(process, "downloading", "waiting") for process in processes]
            server.released.set()
            outputs = [process.communicate(timeout=20)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert sorted("waiting" in line for line in waiting) == [False, True]
    assert outputs == [f"{home / 'weights' / 'small.h5'}\n"] * 2
    assert len(server.requests) == 1


def _line_with(process: subprocess.Popen[str], *words: str) -> str:
    """Return the next line on standard error that has one of the words."""
    assert process.stderr is not None
    return next((line for line in process.stderr if any(word in line for word in words)), "")


# ---- the command line


def test_the_command_downloads_and_prints_where_the_weights_are(home, content, capsys):
    path = home / "weights" / "small.h5"
    with Loopback(file(content)) as server:
        publish(content, server.url)
        assert main(["download", "small"]) == 0
        assert capsys.readouterr().out == f"{path}\n"
        assert main(["download", "small"]) == 0
        assert len(server.requests) == 1
        assert main(["download", "small", "--again"]) == 0
        assert len(server.requests) == 2


def test_the_command_goes_on_after_a_failure_and_ends_with_status_1(home, content, capsys):
    publish(content, OFFLINE)
    assert main(["download", "small", "small"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error: small: no weights at") == 2


def test_a_misspelt_name_ends_the_command_before_any_download(home, content, capsys):
    with Loopback(file(content)) as server:
        publish(content, server.url)
        assert main(["download", "small", "yolov33"]) == 1
    assert server.requests == []
    assert "did you mean yolov3?" in capsys.readouterr().err


def test_detect_without_a_network_names_the_demo_and_the_option_for_a_file(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PURE_DETECT_MIRROR", OFFLINE)
    picture = picture_file(tmp_path / "a.png")
    assert main(["detect", str(picture)]) == 1
    out, errors = capsys.readouterr()
    assert out == ""
    (error,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {DEFAULT_MODEL}: no weights at ")
    assert "`--model FILE`" in error
    assert "`pure-detect demo`" in error


def test_bundled_weights_are_where_they_are_whatever_the_home_and_the_mirror(home, capsys, monkeypatch):
    monkeypatch.setenv("PURE_DETECT_MIRROR", OFFLINE)
    for again in ([], ["--again"]):
        assert main(["download", *again, *(network.name for network in DEMO_NETWORKS)]) == 0
        out, errors = capsys.readouterr()
        assert errors == ""
        assert out.splitlines() == [str(WEIGHTS / f"{network.name}.h5") for network in DEMO_NETWORKS]
    assert not home.exists()


def test_bundled_weights_that_an_installation_lacks_are_one_clear_line(home, monkeypatch, tmp_path):
    monkeypatch.setattr("pure_detect.registry.WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=r"demo-yolo.h5: expected the weights that come with the package, found none"):
        pure_detect.load("demo-yolo")
    assert not home.exists()


@pytest.mark.shared_data
def test_detect_needs_nothing_but_a_picture(home, data, capsys, monkeypatch):
    weights = (data / "weights" / "yolo_fastest" / "yolo-fastest-1.1-xl.weights").read_bytes()
    with Loopback(file(weights)) as server:
        monkeypatch.setenv("PURE_DETECT_MIRROR", server.url)
        assert main(["detect", str(data / "images" / "dog.jpg")]) == 0
        first = capsys.readouterr()
        assert main(["detect", str(data / "images" / "dog.jpg")]) == 0
        second = capsys.readouterr()
    assert [request.path for request in server.requests] == ["/yolo-fastest-1.1-xl.weights"]
    assert [line.split()[-1] for line in first.out.splitlines()[2:5]] == ["dog", "bicycle", "car"]
    assert f"kept at {home / 'weights' / DEFAULT_MODEL}.h5" in first.err
    assert second.out == first.out
    assert second.err == ""
