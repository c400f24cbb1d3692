"""The registry: what it says of each published file must fit the network, and the tables must show it."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest

from pure_detect.cli import main
from pure_detect.demo.networks import DEMO_NETWORKS
from pure_detect.download import check
from pure_detect.errors import InputError
from pure_detect.registry import DEFAULT_MODEL, NETWORKS, PUBLISHED, ROWS, Published, cached_weights, find_network

by_name = pytest.mark.parametrize("row", ROWS, ids=[row.network.name for row in ROWS])

# Bytes as served, from sources outside this project: the headers of pjreddie.com's answers, open_model_zoo's
# model.yml, and the authors' repositories. Darknet's header has 20 bytes, in files older than its version 0.2 16.
SIZES = {
    "yolo-fastest-1.1": (1_384_268, 20),
    "yolo-fastest-1.1-xl": (3_693_964, 20),
    "yolov2": (203_934_260, 16),
    "yolov2-tiny": (44_948_600, 20),
    "yolov3": (248_007_048, 20),
    "yolov3-spp": (252_209_544, 20),
    "yolov3-tiny": (35_434_956, 20),
    "yolov4": (257_717_640, 20),
    "yolov4-tiny": (24_251_276, 20),
    "tiny-darknet": (4_185_968, 16),
}


def test_every_published_darknet_network_has_a_name():
    assert {*SIZES, "darknet19", "darknet53"} <= set(NETWORKS)
    assert all(find_network(name).name == name for name in NETWORKS)


def test_sizes_are_those_of_the_published_files():
    assert {name: row.size for name, row in PUBLISHED.items() if row.size} == {
        n: size for n, (size, _) in SIZES.items()
    }


@pytest.mark.parametrize("name", SIZES)
def test_a_size_is_a_darknet_header_and_four_bytes_a_parameter(name):
    graph = NETWORKS[name].build()
    size, header = SIZES[name]
    assert size == header + 4 * (graph.learnable_count + graph.statistics_count)


@by_name
def test_addresses_are_secure_official_and_of_one_file(row: Published):
    hosts = {"pjreddie.com", "data.pjreddie.com", "github.com", "raw.githubusercontent.com"}
    hosts |= {"download.pytorch.org", "storage.googleapis.com"}
    for address in map(urlsplit, row.addresses):
        assert address.scheme == "https"
        assert address.netloc in hosts
        assert address.path.endswith(f"/{row.file}")
    assert row.file.endswith((".weights", ".pth", ".h5")) or not row.addresses


def test_published_files_have_different_names_since_they_share_a_folder():
    files = [row.file for row in ROWS if row.addresses]
    assert len(set(files)) == len(files)


def test_addresses_in_a_repository_name_a_commit_or_a_release():
    for row in ROWS:
        for address in row.addresses:
            if "githubusercontent" in address:
                assert re.search(r"/[0-9a-f]{40}/", address)
            elif "github.com" in address:
                assert "/releases/download/" in address


@by_name
def test_a_sum_comes_with_its_source_and_an_accuracy_with_its_own(row: Published):
    assert bool(row.sha256) == bool(row.sha256_source)
    assert re.fullmatch(r"[0-9a-f]{64}|", row.sha256)
    figures = [figure for figure in (row.ap, row.ap50, row.top1) if figure is not None]
    assert figures
    assert row.accuracy_source
    assert all(0 < figure < 100 for figure in figures)
    assert (row.top1 is None) == (not row.network.is_classifier)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yolo-fastest-1.1-xl", "yolo_fastest/yolo-fastest-1.1-xl.weights"),
        ("tiny-darknet", "tiny_darknet/tiny.weights"),
    ],
)
def test_the_real_files_at_hand_are_the_published_ones(data, name: str, file: str):
    check(data / "weights" / file, PUBLISHED[name].size, PUBLISHED[name].sha256)


def test_the_default_is_small_and_checked():
    row = PUBLISHED[DEFAULT_MODEL]
    assert row.size is not None
    assert row.size < 5_000_000
    assert row.sha256
    assert not row.network.is_classifier


def test_an_unknown_name_gets_the_list_and_a_guess():
    with pytest.raises(InputError, match=r"yolo3: expected .*yolov4-tiny.*did you mean yolov3\?"):
        find_network("yolo3")


def test_weights_are_kept_under_home_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path))
    assert cached_weights("yolov3") == tmp_path / "weights" / "yolov3.h5"


def test_the_table_fits_80_columns_and_says_what_is_here(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path))
    cached_weights("yolov3").parent.mkdir()
    cached_weights("yolov3").touch()
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(":")] == ["yolo:", "ssdlite:", "efficientdet:", "classifier:"]
    assert len(lines) == 1 + 4 + len(ROWS)
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["yolov3"].endswith("    here")
    assert rows["yolov4"].split()[1:] == ["608x608", "64.36M", "128", "AP", "43.5", "257.7", "MB"]
    assert rows["darknet19"].endswith("top1 72.9  83.4 MB")  # a size that nobody states


def test_the_demo_networks_are_here_on_every_machine(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path))
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    here = [line.split()[0] for line in lines[1:] if line.endswith(" here")]
    assert here == [network.name for network in DEMO_NETWORKS]


def test_the_json_has_everything(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path))
    assert main(["models", "--json"]) == 0
    row = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "yolov3")
    assert row["addresses"][0] == "https://pjreddie.com/media/files/yolov3.weights"
    assert (row["size"], row["ap"], row["ap50"], row["weights"]) == (248_007_048, 31.0, 55.3, None)
    assert row["parameters"] == 61_949_149
    assert row["multiply_adds"] == pytest.approx(32.93e9, rel=1e-3)
    assert row["sha256"] == PUBLISHED["yolov3"].sha256
    assert row["sha256_source"]
