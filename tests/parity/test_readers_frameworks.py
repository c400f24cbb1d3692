"""The readers on files that PyTorch, safetensors and Keras write, against what those libraries read back."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pure_detect.errors import InputError
from tests.mutations import assert_independent, assert_refused, assert_survives, mutations, one_line_error
from tests.torch_files import Runs
from weights_convert.readers import keras, pytorch, safetensors

# Keras 3.15 asks NumPy 2 for a copy in a way that NumPy warns of.
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

torch = pytest.importorskip("torch", reason="needs the extra parity")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="needs the extra parity")

both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value, path, zipped, **options):
    """Write a file as PyTorch does, and hold that the content tells its format."""
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    assert pytorch.matches(path, path.read_bytes()[:512])
    return path


def assert_same(found, tensors):
    """Hold that arrays are a library's tensors: floats as float32, all else to the bit; and each its own."""
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        expected = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        np.testing.assert_array_equal(found[name], expected, strict=True, err_msg=name)
    assert_independent(found)


def small_network():
    """Return a network with what detectors have: grouped convolutions, batch norm, biases, a shared layer."""
    torch.manual_seed(0)
    shared = torch.nn.Conv2d(8, 4, 1)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, (3, 5), groups=1, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.ModuleDict({"a": shared, "b": shared}),
    )
    network[1].running_mean.uniform_()
    return network


def many_tensors():
    """Return tensors of every type, shape, stride and sharing that the readers take."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, 5, generator=rng)
    return {
        "float": x,
        "transposed": x.permute(2, 0, 1),
        "part": x[1:3, ::2, -1],
        "expanded": torch.randn(3, 1, generator=rng).expand(3, 7),
        "channels last": torch.randn(2, 3, 4, 5, generator=rng).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(x[0]),
        "half": x.half(),
        "bfloat16": x.bfloat16().mT,
        "double": x.double(),
        "bfloat16 scalar": torch.tensor(-1.5, dtype=torch.bfloat16),
        "scalar": torch.tensor(3.5),
        "counter": torch.tensor(1 << 40),
        "int32": torch.tensor([[-1, 2]], dtype=torch.int32),
        "int16": torch.tensor([-1, 2], dtype=torch.int16),
        "int8": torch.tensor([-1, 2], dtype=torch.int8),
        "uint8": torch.tensor([255, 2], dtype=torch.uint8),
        "uint16": torch.tensor([1, 65535, 2], dtype=torch.uint16)[1:],
        "uint32": torch.tensor([1 << 31], dtype=torch.uint32),
        "uint64": torch.tensor([1 << 62], dtype=torch.uint64),
        "bool": torch.tensor([True, False]),
        "bool scalar": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "empty behind": torch.zeros(4)[4:],
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }


@both_formats
def test_a_state_dict_is_read_as_pytorch_has_it(tmp_path, zipped):
    state = small_network().state_dict()
    path = save(state, tmp_path / "weights.bin", zipped)
    assert_same(pytorch.read(path), state)


@both_formats
def test_every_kind_of_tensor_is_read_as_pytorch_has_it(tmp_path, zipped):
    tensors = many_tensors()
    assert_same(pytorch.read(save(tensors, tmp_path / "weights.bin", zipped)), tensors)


def test_a_file_without_checksums_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    torch.serialization.set_crc32_options(False)
    try:
        save(small_network().state_dict(), path, zipped=True)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(pytorch.read(path), small_network().state_dict())


@both_formats
def test_a_training_checkpoint_is_read(tmp_path, zipped):
    network = small_network()
    optimizer = torch.optim.Adam(network.parameters())
    network[2]["a"](network[:2](torch.randn(2, 3, 8, 8))).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    checkpoint = {
        "epoch": 7,
        "state_dict": torch.nn.DataParallel(network).state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "best": (0.25, [1, 2], None, "name"),
    }
    path = save(checkpoint, tmp_path / "checkpoint.pth", zipped)
    assert_same(pytorch.read(path), network.state_dict())
    averaged = torch.optim.swa_utils.AveragedModel(network, use_buffers=True)
    for value in averaged.parameters():
        value.data.mul_(2)
    path = save({**checkpoint, "model_ema": averaged.state_dict()}, tmp_path / "checkpoint.pth", zipped)
    assert_same(pytorch.read(path), averaged.module.state_dict())


@both_formats
def test_a_whole_model_is_refused_with_the_advice_to_save_its_state_dict(tmp_path, zipped):
    path = save(small_network(), tmp_path / "model.pt", zipped)
    message = one_line_error(pytorch.read, path)
    assert "found the Python object 'torch.nn.modules.container.Sequential'" in message
    assert "save model.state_dict() with torch.save" in message


@both_formats
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (lambda: torch.eye(2).to_sparse(), "_rebuild_sparse_tensor"),
        (lambda: torch.ones(2, dtype=torch.complex64), "ComplexFloatStorage"),
        (lambda: torch.ones(2, dtype=torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda: torch.ones(2, device="meta"), "_rebuild_meta_tensor_no_storage"),
        (lambda: np.float32(1), "numpy"),
    ],
    ids="sparse complex float8 meta numpy".split(),
)
def test_other_kinds_of_tensor_are_refused_by_name(tmp_path, zipped, value, found):
    path = save({"w": torch.ones(1), "x": value()}, tmp_path / "weights.pth", zipped)
    assert found in one_line_error(pytorch.read, path)


@both_formats
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_another_pickle_protocol_is_refused_by_name(tmp_path, zipped, protocol):
    path = save({"w": torch.ones(1)}, tmp_path / "weights.pth", zipped, pickle_protocol=protocol)
    message = one_line_error(pytorch.read, path)
    assert "protocol" in message
    assert f"found {protocol}" in message or f"found a pickle of protocol {protocol}" in message


@both_formats
def test_a_checkpoint_that_would_run_code_is_refused_before_anything_runs(tmp_path, zipped):
    marker = tmp_path / "marker"
    checkpoint = {"state_dict": small_network().state_dict(), "evil": Runs(os.system, f"echo > {marker}")}
    path = save(checkpoint, tmp_path / "checkpoint.pth", zipped)
    assert one_line_error(pytorch.read, path) is not None
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the file is what the test takes it for


@both_formats
def test_a_damaged_pytorch_file_gives_a_result_or_a_one_line_error(tmp_path, zipped):
    path = save(small_network().state_dict(), tmp_path / "weights.pth", zipped)
    assert_survives(pytorch.read, mutations(path.read_bytes(), 300, 0), path)


@both_formats
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_pytorch_file_is_refused(tmp_path, zipped, part):
    content = save(small_network().state_dict(), tmp_path / "weights.pth", zipped).read_bytes()
    expected = "a truncated download?" if zipped else ", found "
    assert_refused(pytorch.read, content[: int(part * len(content))], tmp_path / "weights.pth", expected)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_refused_by_name(tmp_path):
    path = tmp_path / "program.pt"
    program = torch.jit.trace(torch.nn.Conv2d(1, 1, 1).eval(), torch.ones(1, 1, 1, 1))
    program.save(path)
    assert pytorch.matches(path, path.read_bytes()[:512])
    assert "found a TorchScript program" in one_line_error(pytorch.read, path)


def test_every_kind_of_tensor_is_read_as_safetensors_has_it(tmp_path):
    path = tmp_path / "weights.bin"
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in many_tensors().items()}
    safetensors_torch.save_file(tensors, path, metadata={"format": "pt"})
    assert safetensors.matches(path, path.read_bytes()[:512])
    found = safetensors.read(path)
    assert_same(found, {name: tensors[name] for name in found})
    assert found.keys() == tensors.keys()


def test_what_safetensors_refuses_is_refused_and_what_it_reads_is_read_alike(tmp_path):
    """Damaged headers of the right length: each that this reader takes, the library takes, with the same values."""
    path = tmp_path / "weights.safetensors"
    content = safetensors_torch.save({"a": torch.randn(2, 3), "b": torch.ones(3).half(), "n": torch.tensor(7)})
    length = int.from_bytes(content[:8], "little")
    accepted = 0
    for header in mutations(content[8 : 8 + length], 1800, 0):
        damaged = len(header).to_bytes(8, "little") + header + content[8 + length :]
        path.write_bytes(damaged)
        try:
            found = safetensors.read(path)
        except InputError:
            continue
        theirs = safetensors_torch.load(damaged)
        assert_same(found, {name: theirs[name] for name in found})
        assert found.keys() == theirs.keys()
        accepted += 1
    assert accepted > 20


def keras_model():
    """Return a small model with what detectors have, and a model within it."""
    keras_library = pytest.importorskip("keras", reason="needs the extra parity")
    layers = keras_library.layers
    inner = keras_library.Sequential(
        [layers.Input((8, 6, 4)), layers.DepthwiseConv2D(3, name="depthwise"), layers.BatchNormalization(name="norm")],
        name="inner",
    )
    image = keras_library.Input((10, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = inner(x)
    x = layers.SeparableConv2D(5, 3, name="separable")(x)
    model = keras_library.Model(image, layers.PReLU(name="relu")(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("tensorflow", reason="needs the extra parity")
    return keras_model()


def test_a_keras_model_is_read_as_keras_has_it(tmp_path, model):
    path = tmp_path / "model.h5"
    model.compile("adam", "mse")  # the optimiser's state is no weight
    model.save(path)
    assert keras.matches(path, path.read_bytes()[:512])
    found = keras.read(path)
    expected = {f"{weight.path}:0": weight.numpy() for weight in model.weights}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, strict=True, err_msg=name)
    assert_independent(found)
    assert "inner/norm/moving_variance:0" in found


def test_keras_weights_alone_are_read_as_from_the_whole_model(tmp_path, model):
    h5py = pytest.importorskip("h5py")
    format_of_keras = pytest.importorskip("keras.src.legacy.saving.legacy_h5_format")
    whole, alone = tmp_path / "model.h5", tmp_path / "weights.h5"
    model.save(whole)
    with h5py.File(alone, "w") as file:
        format_of_keras.save_weights_to_hdf5_group(file, model)
    assert keras.matches(alone, alone.read_bytes()[:512])
    first, second = keras.read(whole), keras.read(alone)
    assert list(first) == list(second)
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values)


def test_keras_3s_own_formats_are_refused_or_not_mistaken(tmp_path, model):
    own, archive = tmp_path / "model.weights.h5", tmp_path / "model.keras"
    model.save_weights(own)
    assert keras.matches(own, own.read_bytes()[:512])
    assert "found Keras 3's .weights.h5, which names no weights" in one_line_error(keras.read, own)
    model.save(archive)
    head = archive.read_bytes()[:512]
    assert not any(reader.matches(archive, head) for reader in (keras, pytorch, safetensors))


def test_a_damaged_keras_file_gives_a_result_or_a_one_line_error(tmp_path, model):
    path = tmp_path / "model.h5"
    model.save(path)
    assert_survives(keras.read, mutations(path.read_bytes(), 300, 0), path)


def test_mobilenetv3_of_keras_is_read_by_its_layers_names(tmp_path):
    pytest.importorskip("tensorflow", reason="needs the extra parity")
    keras_library = pytest.importorskip("keras", reason="needs the extra parity")
    network = keras_library.applications.MobileNetV3Small((32, 32, 3), alpha=0.75, include_top=False, weights=None)
    path = tmp_path / "model.h5"
    network.save(path)
    found = keras.read(path)
    assert len(found) == len(network.weights)
    assert found["conv/kernel:0"].shape == (3, 3, 3, 16)
    for name in ("expanded_conv_project_bn/gamma:0", "expanded_conv_squeeze_excite_conv/bias:0"):
        layer, weight = name.split("/")
        np.testing.assert_array_equal(found[name], getattr(network.get_layer(layer), weight[:-2]).numpy())
