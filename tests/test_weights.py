"""Our HDF5 weight files: the layout, strict reading, damaged files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import pure_detect
from pure_detect.errors import InputError
from pure_detect.graph import BatchNormRule
from pure_detect.image import Preprocessing
from pure_detect.models.darknet import read_cfg
from pure_detect.weights import read_header, read_parameters
from tests import tiny_networks as tiny
from tests.tiny_models import write_tiny_detector
from weights_convert.hdf5_layout import write_weights

SHAPES = {
    "parameters/layer000/conv/weight": (4, 3, 3, 3),
    "parameters/layer000/batch_norm/scale": (4,),
    "parameters/layer000/batch_norm/bias": (4,),
    "parameters/layer000/batch_norm/mean": (4,),
    "parameters/layer000/batch_norm/variance": (4,),
    "parameters/layer001/conv/weight": (6, 4, 1, 1),
    "parameters/layer001/conv/bias": (6,),
}


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tiny.model_file(tmp_path, tiny.NORMED, tiny.NORMED_VALUES)


def datasets(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def changed(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def set_attribute(path: Path, **attributes: Any) -> Path:
    return changed(path, lambda file: file.attrs.update(attributes))


class TestLayout:
    def test_every_parameter_has_its_name_shape_and_value(self, h5: Path) -> None:
        found = datasets(h5)
        assert {name: values.shape for name, values in found.items()} == SHAPES
        assert {values.dtype.str for values in found.values()} == {"<f4"}
        np.testing.assert_array_equal(found["parameters/layer000/batch_norm/bias"], tiny.NORMED_VALUES[:4])
        np.testing.assert_array_equal(found["parameters/layer001/conv/bias"], tiny.NORMED_VALUES[124:130])
        np.testing.assert_array_equal(found["parameters/layer001/conv/weight"].ravel(), tiny.NORMED_VALUES[130:])

    def test_the_attributes_say_what_the_file_is(self, tmp_path: Path) -> None:
        (tmp_path / "names").write_text("Straße\n")
        path = tiny.model_file(
            tmp_path,
            tiny.NORMED,
            tiny.NORMED_VALUES,
            "--labels",
            str(tmp_path / "names"),
            "--resize",
            "letterbox",
            name="my",
        )
        with h5py.File(path) as file:
            attributes = dict(file.attrs)
        network = read_cfg(tmp_path / "my.cfg")
        assert set(attributes) == {
            "layout_version", "model", "cfg", "graph_fingerprint", "labels", "preprocessing", "heads",
            "batch_norm_epsilon", "batch_norm_epsilon_place", "source_format", "source_sha256", "source_header",
            "converter_version",
        }  # fmt: skip
        assert (attributes["layout_version"], attributes["model"], attributes["cfg"]) == (1, "my", tiny.NORMED)
        assert attributes["graph_fingerprint"] == network.build().fingerprint
        assert json.loads(attributes["labels"]) == ["Straße"]
        assert json.loads(attributes["preprocessing"]) == {
            "resize": "letterbox", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]
        }  # fmt: skip
        assert json.loads(attributes["heads"])[0]["anchors"] == [[3, 4]]
        assert (attributes["batch_norm_epsilon"], attributes["batch_norm_epsilon_place"]) == (1e-5, "inside")
        assert attributes["source_format"] == "darknet"
        assert json.loads(attributes["source_header"]) == {
            "major": 0,
            "minor": 2,
            "revision": 5,
            "seen": 7,
            "bytes": 20,
        }
        assert attributes["converter_version"] == pure_detect.__version__

    def test_reading_gives_back_what_was_written(self, h5: Path) -> None:
        header, graph = read_header(h5), read_cfg(h5.with_suffix(".cfg")).build()
        assert (header.model, header.labels, header.batch_norm_rule) == ("tiny", (), BatchNormRule(1e-5, True))
        assert header.preprocessing == Preprocessing("stretch")
        parameters = read_parameters(h5, graph)
        assert list(parameters) == list(graph.parameters)
        for name, values in datasets(h5).items():
            read = parameters[name.removeprefix("parameters/").replace("/", ".")]
            np.testing.assert_array_equal(read, values)
            assert read.flags.writeable

    def test_a_file_that_was_not_converted_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "x.cfg").write_text(tiny.NORMED)
        network = read_cfg(tmp_path / "x.cfg")
        values = {name: np.ones(p.shape) for name, p in network.build().parameters.items()}
        write_weights(tmp_path / "x.h5", network, values)
        with h5py.File(tmp_path / "x.h5") as file:
            assert file.attrs["source_format"] == "pure_detect"
        assert pure_detect.load(tmp_path / "x.h5").network.name == "x"


class TestStrictReading:
    def test_all_that_does_not_fit_is_listed_in_one_error(self, h5: Path) -> None:
        def spoil(file: h5py.File) -> None:
            group = file["parameters"]
            del group["layer000/conv/weight"]
            del group["layer000/batch_norm/mean"]
            group["layer000/batch_norm/mean"] = np.ones(5, np.float32)
            del group["layer001/conv/bias"]
            group["layer001/conv/bias"] = np.ones(6, np.float64)
            del group["layer001/conv/weight"]
            group["layer001/conv/weight"] = np.ones((6, 4, 1, 1), np.int32)
            group["layer009/extra"] = np.ones(2, np.float32)
            group["layer000/batch_norm/momentum"] = np.float32(0.9)

        with pytest.raises(InputError) as raised:
            pure_detect.load(changed(h5, spoil))
        message = str(raised.value)
        assert message.startswith(f"{h5}: 6 tensors do not fit the network: ")
        for problem in (
            "layer000.conv.weight: missing",
            "layer000.batch_norm.mean: expected float (4,), found float32 (5,)",
            "layer001.conv.bias: expected float (6,), found float64 (6,)",
            "layer001.conv.weight: expected float (6, 4, 1, 1), found int32 (6, 4, 1, 1)",
            "layer009.extra: unknown",
            "layer000.batch_norm.momentum: unknown",
        ):
            assert problem in message

    @pytest.mark.parametrize("shape", [(3, 4, 3, 3), (4, 27), (108,), (1, 4, 3, 3, 3)])
    def test_the_right_number_of_values_in_another_shape_is_refused(self, shape: tuple[int, ...], h5: Path) -> None:
        def reshape(file: h5py.File) -> None:
            values = file["parameters/layer000/conv/weight"][()]
            del file["parameters/layer000/conv/weight"]
            file["parameters/layer000/conv/weight"] = values.reshape(shape)

        with pytest.raises(InputError, match=r"layer000\.conv\.weight: expected float \(4, 3, 3, 3\), found float32 "):
            pure_detect.load(changed(h5, reshape))

    def test_a_file_without_parameters_misses_all_of_them(self, h5: Path) -> None:
        def empty(file: h5py.File) -> None:
            del file["parameters"]

        with pytest.raises(InputError, match=r"7 tensors do not fit the network: .*missing"):
            pure_detect.load(changed(h5, empty))

    def test_the_weights_of_another_network_are_refused(self, h5: Path, tmp_path: Path) -> None:
        other = tiny.detector_file(tmp_path, name="other")
        with pytest.raises(InputError, match=rf"^{other}: \d+ tensors do not fit the network"):
            pure_detect.load(h5.with_suffix(".cfg"), weights=other)

    def test_a_definition_that_changed_without_its_tensors_is_refused(self, h5: Path) -> None:
        cfg = h5.with_suffix(".cfg")
        cfg.write_text(tiny.NORMED.replace("anchors=3,4", "anchors=3,5"))
        with pytest.raises(
            InputError, match=rf"^{h5}: expected weights of this version's tiny, found another definition"
        ):
            pure_detect.load(cfg, weights=h5)
        with pytest.raises(InputError, match="found another definition"):
            pure_detect.load(set_attribute(h5, graph_fingerprint="0" * 64))

    @pytest.mark.parametrize(
        "attributes", [{"batch_norm_epsilon": 1e-4}, {"batch_norm_epsilon_place": "sideways"}], ids=str
    )
    def test_an_epsilon_changed_in_the_file_is_another_definition(self, attributes: dict[str, Any], h5: Path) -> None:
        with pytest.raises(InputError, match="another definition"):
            pure_detect.load(set_attribute(h5, **attributes))

    @pytest.mark.parametrize("version", [0, 2, "1", [1, 1]])
    def test_another_layout_version_is_refused_with_the_command_that_renews_it(self, version: Any, h5: Path) -> None:
        renewal = f"`weights-convert SOURCE --model tiny.cfg --out {h5}`"
        with pytest.raises(
            InputError, match=rf"^{h5}: expected layout version 1, found version .* make it anew with {renewal}$"
        ):
            pure_detect.load(set_attribute(h5, layout_version=version))

    @pytest.mark.parametrize(
        "name",
        [
            "model",
            "cfg",
            "graph_fingerprint",
            "labels",
            "preprocessing",
            "batch_norm_epsilon",
            "batch_norm_epsilon_place",
        ],
    )
    def test_a_missing_attribute_is_named(self, name: str, h5: Path) -> None:
        with pytest.raises(InputError, match=rf"^{h5}: expected the attributes of layout version 1, found .*'{name}'"):
            pure_detect.load(changed(h5, lambda file: file.attrs.__delitem__(name)))

    @pytest.mark.parametrize("text", ["[", "", "null", "5", '"ab"', '{"a": 1}', "[1, 2]"])
    def test_labels_that_are_no_list_of_names_are_refused(self, text: str, h5: Path) -> None:
        with pytest.raises(InputError, match=rf"^{h5}: expected the attributes of layout version 1, found "):
            pure_detect.load(set_attribute(h5, labels=text))

    @pytest.mark.parametrize(
        "text",
        [
            "[", "null", "5", "[]", "{}", '{"resize": "squash", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}',
            '{"resize": "stretch", "scale": -1, "mean": [0, 0, 0], "std": [1, 1, 1]}',
            '{"resize": "stretch", "scale": 1, "mean": [0, 0], "std": [1, 1, 1]}',
            '{"resize": "stretch", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1], "swap": true}',
        ],
    )  # fmt: skip
    def test_a_preprocessing_that_is_none_is_refused(self, text: str, h5: Path) -> None:
        with pytest.raises(InputError, match=rf"^{h5}: expected the attributes of layout version 1, found "):
            pure_detect.load(set_attribute(h5, preprocessing=text))

    @pytest.mark.parametrize(
        "attributes", [{"model": "unheard-of", "cfg": ""}, {"cfg": "[net]\nwidth=wide\n"}], ids=str
    )
    def test_a_network_that_cannot_be_made_names_the_weight_file(self, attributes: dict[str, str], h5: Path) -> None:
        with pytest.raises(InputError, match=str(h5)):
            pure_detect.load(set_attribute(h5, **attributes))


class TestDamagedFiles:
    def test_a_missing_file_and_a_folder_are_said_to_be_that(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.h5: expected a weight file, found nothing"):
            pure_detect.load(tmp_path / "none.h5")
        (tmp_path / "folder.h5").mkdir()
        with pytest.raises(InputError, match=r"folder\.h5: expected a weight file, found a folder"):
            pure_detect.load(tmp_path / "folder.h5")

    @pytest.mark.parametrize(
        "content", [b"", b"not hdf5", tiny.darknet_file(tiny.NORMED_VALUES)], ids=["empty", "text", "darknet"]
    )
    def test_what_is_no_hdf5_is_refused(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "x.h5"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"^{path}: expected an HDF5 weight file .* found another format"):
            pure_detect.load(path)

    def test_hdf5_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["weights"] = np.ones(3)
        with pytest.raises(InputError, match="expected layout version 1, found an HDF5 file without one"):
            pure_detect.load(tmp_path / "x.h5")

    def test_a_file_cut_anywhere_is_refused(self, h5: Path) -> None:
        content = h5.read_bytes()
        for size in (*range(8, len(content), len(content) // 40), len(content) - 1):
            h5.write_bytes(content[:size])
            with pytest.raises(InputError, match=rf"^{h5}: .*damaged"):
                pure_detect.load(h5)

    def test_wrong_bytes_at_the_tables_of_contents_are_refused(self, h5: Path) -> None:
        """The signatures of HDF5's groups (symbol tables, heaps, trees), each overwritten in turn."""
        content = h5.read_bytes()
        for signature in (b"SNOD", b"TREE", b"HEAP", b"GCOL"):
            at = content.find(signature)
            assert at > 0
            h5.write_bytes(content[:at] + b"XXXX" + content[at + 4 :])
            with pytest.raises(InputError, match=f"^{h5}: "):
                pure_detect.load(h5)


def test_a_damaged_heap_of_texts_which_hdf5s_library_would_walk_for_ever_is_refused(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "x.h5")
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"x\.h5: .*damaged or shortened.* an object of a global heap at byte {at:,},"
    ):
        read_header(path)
