"""Writing our HDF5 weight files: whole or not at all, half precision, labels, epsilon."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect import ops
from pure_detect.errors import InputError
from pure_detect.models.darknet import read_cfg
from pure_detect.network import Network
from pure_detect.weights import read_header, read_parameters
from tests import tiny_networks as tiny
from weights_convert.cli import main as weights_convert
from weights_convert.hdf5_layout import write_weights


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tiny.model_file(tmp_path, tiny.NORMED, tiny.NORMED_VALUES)


class TestFloat16:
    CFG = tiny.NORMED.replace("filters=4", "filters=1000")
    COUNT = 1000 * 27 + 4 * 1000 + 6 * 1000 + 6

    def test_half_precision_is_half_the_size_and_close(self, tmp_path: Path) -> None:
        values = np.random.default_rng(1).standard_normal(self.COUNT).astype("<f4")
        whole = tiny.model_file(tmp_path, self.CFG, values, name="whole")
        half = tiny.model_file(tmp_path, self.CFG, values, "--float16", name="half")
        assert 0.45 < half.stat().st_size / whole.stat().st_size < 0.6
        graph = read_cfg(tmp_path / "half.cfg").build()
        exact, rounded = read_parameters(whole, graph), read_parameters(half, graph)
        for name, expected in exact.items():
            assert rounded[name].dtype == np.float32
            np.testing.assert_array_equal(rounded[name], expected.astype(np.float16).astype(np.float32))
        assert any((rounded[name] != exact[name]).any() for name in exact)

    @pytest.mark.parametrize("value", [65520.0, -7e4, 1e30])
    def test_what_float16_cannot_hold_is_refused_and_nothing_written(
        self, value: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "x.cfg").write_text(tiny.NORMED)
        values = tiny.NORMED_VALUES.copy()
        values[20] = value  # of layer000.conv.weight
        (tmp_path / "x.weights").write_bytes(tiny.darknet_file(values))
        arguments = [str(tmp_path / "x.weights"), "--model", str(tmp_path / "x.cfg"), "--out", str(tmp_path / "x.h5")]
        assert weights_convert([*arguments, "--float16"]) == 1
        error = capsys.readouterr().err
        assert "x.h5: layer000.conv.weight holds " in error
        assert "65504" in error
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.cfg", "x.weights"]
        assert weights_convert(arguments) == 0

    def test_the_largest_float16_is_no_overflow(self, tmp_path: Path) -> None:
        values = tiny.NORMED_VALUES.copy()
        values[20] = -65504
        tiny.model_file(tmp_path, tiny.NORMED, values, "--float16")


def written(path: Path, network: Network, **parameters: Any) -> None:
    graph = network.build()
    write_weights(path, network, {**{name: np.ones(p.shape) for name, p in graph.parameters.items()}, **parameters})


class Failing:
    """A parameter whose values cannot be had."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise OSError(28, "No space left on device")


class TestWholeWriting:
    @pytest.fixture
    def network(self, tmp_path: Path) -> Network:
        (tmp_path / "x.cfg").write_text(tiny.NORMED)
        return read_cfg(tmp_path / "x.cfg")

    def test_a_failure_half_way_leaves_the_old_file_as_it_was(self, network: Network, tmp_path: Path) -> None:
        path = tmp_path / "x.h5"
        written(path, network)
        before, names = path.read_bytes(), sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match=rf"^{path}: cannot be written: No space left"):
            written(path, network, **{"layer001.conv.weight": Failing()})
        assert path.read_bytes() == before
        assert sorted(tmp_path.iterdir()) == names

    def test_an_interruption_leaves_nothing_either(self, network: Network, tmp_path: Path) -> None:
        class Interrupted:
            def __array__(self, *_: Any, **__: Any) -> np.ndarray:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            written(tmp_path / "x.h5", network, **{"layer001.conv.weight": Interrupted()})
        assert [path.name for path in tmp_path.iterdir()] == ["x.cfg"]

    def test_an_older_file_is_replaced(self, network: Network, tmp_path: Path) -> None:
        (tmp_path / "x.h5").write_bytes(b"something older")
        written(tmp_path / "x.h5", network)
        assert pure_detect.load(tmp_path / "x.h5").network.name == "x"

    def test_the_temporary_file_lies_beside_it(
        self, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only within one file system can a file take another's place at once."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        written(tmp_path / "x.h5", network)

    def test_others_may_read_it_as_the_umask_says(self, network: Network, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            written(tmp_path / "x.h5", network)
        finally:
            os.umask(before)
        assert (tmp_path / "x.h5").stat().st_mode & 0o777 == 0o640

    def test_a_folder_that_is_not_there_is_one_clear_error(self, network: Network, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere/x\.h5: cannot be written: No such file or directory"):
            written(tmp_path / "nowhere" / "x.h5", network)

    @pytest.mark.skipif(not Path("/proc/version").is_file(), reason="needs a folder that nobody can write: /proc")
    def test_a_folder_that_cannot_be_written_is_one_clear_error(self, network: Network) -> None:
        with pytest.raises(InputError, match=r"^/proc/x\.h5: cannot be written: "):
            written(Path("/proc/x.h5"), network)

    def test_a_folder_in_the_files_place_is_one_clear_error(self, network: Network, tmp_path: Path) -> None:
        (tmp_path / "x.h5").mkdir()
        with pytest.raises(InputError, match=r"x\.h5: cannot be written: "):
            written(tmp_path / "x.h5", network)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.cfg", "x.h5"]

    def test_a_parameter_of_another_shape_is_refused(self, network: Network, tmp_path: Path) -> None:
        with pytest.raises((InputError, ValueError), match=r"layer001\.conv\.weight"):
            written(tmp_path / "x.h5", network, **{"layer001.conv.weight": np.ones((4, 6, 1, 1))})


class TestLabels:
    def convert(self, folder: Path, names: bytes, cfg: str = tiny.DETECTOR, values: Any = tiny.DETECTOR_VALUES) -> int:
        (folder / "x.cfg").write_text(cfg)
        (folder / "x.weights").write_bytes(tiny.darknet_file(values))
        (folder / "names").write_bytes(names)
        arguments = {"--model": "x.cfg", "--out": "x.h5", "--labels": "names"}
        options = [text for key, name in arguments.items() for text in (key, str(folder / name))]
        return weights_convert([str(folder / "x.weights"), *options])

    @pytest.mark.parametrize(
        ("names", "labels"),
        [
            (b"cat\ndog\n", ("cat", "dog")),
            (b"cat\r\ndog", ("cat", "dog")),
            (b"cat\ndog\nbird\nfish\n", ("cat", "dog")),  # the first lines of a longer file
            (b"  traffic light \n stop sign\n\n\n", ("traffic light", "stop sign")),
            ("Straße\n信号機\n".encode(), ("Straße", "信号機")),
            (b"\xef\xbb\xbfcat\ndog\n", ("cat", "dog")),  # as Windows writes UTF-8
        ],
    )
    def test_labels_are_one_a_line(self, names: bytes, labels: tuple[str, ...], tmp_path: Path) -> None:
        assert self.convert(tmp_path, names) == 0
        assert pure_detect.load(tmp_path / "x.h5").labels == read_header(tmp_path / "x.h5").labels == labels

    @pytest.mark.parametrize(("names", "count"), [(b"", 0), (b"cat", 1), (b"cat\n\n\n", 1)])
    def test_too_few_labels_are_refused(
        self, names: bytes, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.convert(tmp_path, names) == 1
        assert capsys.readouterr().err == f"error: {tmp_path / 'names'}: expected 2 class names, found {count}\n"
        assert not (tmp_path / "x.h5").exists()

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.convert(tmp_path, b"\xff\xfe\x00\n\n") == 1
        assert "expected text in UTF-8" in capsys.readouterr().err

    @pytest.mark.parametrize("classes", [1000, 9000])
    def test_thousands_of_labels_survive(self, classes: int, tmp_path: Path) -> None:
        """An attribute of HDF5 itself ends at 64 kB; 9000 classes are YOLO9000's."""
        cfg = tiny.CLASSIFIER.replace("filters=3", f"filters={classes}")
        labels = [f"class number {i}, kötü" for i in range(classes)]
        assert self.convert(tmp_path, "\n".join(labels).encode(), cfg, np.zeros(4 * classes)) == 0
        assert pure_detect.load(tmp_path / "x.h5").labels == tuple(labels)

    def test_without_labels_classes_have_numbers(self, h5: Path) -> None:
        assert pure_detect.load(h5).labels == ("class 0",)


class TestEpsilon:
    CFG = "[net]\nwidth=2\nheight=2\nchannels=1\n[convolutional]\nbatch_normalize=1\nactivation=linear\n[avgpool]\n"
    BIAS, SCALE, MEAN, VARIANCE, WEIGHT = 0.5, 2.0, 1.0, 1e-6, 3.0
    X = np.float32([[[[1, 2], [3, 4]]]])

    def output(self, folder: Path, *options: str) -> float:
        values = [self.BIAS, self.SCALE, self.MEAN, self.VARIANCE, self.WEIGHT]
        model = pure_detect.load(tiny.model_file(folder, self.CFG, values, *options))
        return float(model.forward(self.X)["layer001.global_average_pool"].item())

    @pytest.mark.parametrize(
        ("options", "epsilon", "inside"),
        [
            ([], 1e-5, True),
            (["--epsilon", "1e-6"], 1e-6, True),
            (["--epsilon", "1e-6", "--epsilon-place", "outside"], 1e-6, False),
            (["--epsilon-place", "outside"], 1e-5, False),
            (["--epsilon", "0", "--epsilon-place", "inside"], 0, True),
        ],
    )
    def test_the_converters_epsilon_is_what_the_network_uses(
        self, options: list[str], epsilon: float, inside: bool, tmp_path: Path
    ) -> None:
        deviation = (self.VARIANCE + epsilon) ** 0.5 if inside else self.VARIANCE**0.5 + epsilon
        expected = self.SCALE * (2.5 * self.WEIGHT - self.MEAN) / deviation + self.BIAS
        assert self.output(tmp_path, *options) == pytest.approx(expected, rel=1e-5)
        vectors = [np.float32([v]) for v in (self.SCALE, self.BIAS, self.MEAN, self.VARIANCE)]
        by_op = ops.batch_norm(self.WEIGHT * self.X, *vectors, epsilon=epsilon, epsilon_inside=inside)
        assert self.output(tmp_path, *options) == pytest.approx(by_op.mean(), rel=1e-6)

    @pytest.mark.parametrize("epsilon", ["-1e-5", "nan", "inf", "small"])
    def test_an_epsilon_that_is_none_is_wrong_usage(self, epsilon: str, h5: Path) -> None:
        with pytest.raises(SystemExit) as exit_:
            weights_convert([str(h5), "--out", str(h5.with_suffix(".weights")), f"--epsilon={epsilon}"])
        assert exit_.value.code == 2
