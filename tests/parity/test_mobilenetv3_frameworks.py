"""MobileNetV3's classifiers against torchvision and Keras, on the weights of files that these have written."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.models import mobilenetv3
from pure_detect.network import Network
from pure_detect.random_weights import noise_pictures
from pure_detect.reference import ReferenceExecutor
from tests.comparisons import assert_outputs_agree
from tests.parity.torchvision_cpu import import_torchvision
from tests.subprocesses import run
from weights_convert.sources import convert

torch = pytest.importorskip("torch", reason="needs the extra parity")
torchvision = import_torchvision()
pytestmark = pytest.mark.parity

Array = NDArray[Any]
# Even maps at every stride; odd and even ones in either direction, which SAME pads otherwise.
SIZES = [(224, 224), (199, 230)]
TORCHVISION = [
    (mobilenetv3.MOBILENETV3_LARGE, "mobilenet_v3_large"),
    (mobilenetv3.MOBILENETV3_SMALL, "mobilenet_v3_small"),
]
KERAS = [
    mobilenetv3.MOBILENETV3_LARGE_KERAS,
    mobilenetv3.MOBILENETV3_SMALL_KERAS,
    mobilenetv3.MOBILENETV3_LARGE_MINIMALISTIC_KERAS,
    mobilenetv3.MOBILENETV3_SMALL_MINIMALISTIC_KERAS,
]
LAST = "backbone.last.activation"


def assert_agrees(network: Network, source: Path, x: Array, theirs: dict[str, Array]) -> None:
    """Compare every output on two pictures; they must differ, or weights that forget the picture would pass."""
    parameters, _ = convert(source, network, network.batch_norm_rule)
    executor = ReferenceExecutor(network.build(*x.shape[2:]), parameters)
    assert_outputs_agree(executor(x, keep=list(theirs)), theirs)
    for name, value in theirs.items():
        assert np.abs(value[0] - value[1]).max() > 0.1 * np.abs(value).max(), name


def pictures(count: int, size: tuple[int, int]) -> Any:
    return torch.from_numpy(4 * noise_pictures((count, 3, *size), np.random.default_rng(count)) - 2)


def randomised(model: Any) -> Any:
    """Draw scales and shifts, take the statistics of noise, and spread the logits; torchvision's kernels stay."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 1.0
        elif getattr(module, "bias", None) is not None:
            torch.nn.init.normal_(module.bias, 0, 0.2)
    with torch.no_grad():
        model.train()(pictures(8, (224, 224)))
    for layer, spread in ((model.classifier[0], 1), (model.classifier[3], 3)):
        torch.nn.init.normal_(layer.weight, 0, spread / layer.in_features**0.5)
    return model.eval()


@pytest.mark.parametrize(("network", "theirs"), TORCHVISION, ids=["large", "small"])
def test_torchvisions_features_and_probabilities_agree(network: Network, theirs: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = randomised(getattr(torchvision.models, theirs)(weights=None))
    torch.save(model.state_dict(), tmp_path / "source.pth")
    for size in SIZES:
        x = pictures(2, size)
        with torch.no_grad():
            last, logits = model.features(x), model(x)
        probabilities = logits.softmax(dim=1)
        outputs = {"classifier.logits": logits[:, :, None, None], "probabilities": probabilities[:, :, None, None]}
        outputs = {name: value.numpy() for name, value in {LAST: last, **outputs}.items()}
        assert_agrees(network, tmp_path / "source.pth", x.numpy(), outputs)


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that Keras has saved, and what they compute."""
    if importlib.util.find_spec("keras") is None:  # the import itself, of seconds, is the other process's
        pytest.skip("needs the extra parity")
    folder = tmp_path_factory.mktemp("keras")
    run(["-m", "tests.parity.write_keras_mobilenetv3", str(folder)], timeout=300, KERAS_BACKEND="tensorflow")
    return folder


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("network", KERAS, ids=lambda network: network.name)
def test_kerass_features_and_probabilities_agree(network: Network, size: tuple[int, int], keras_files: Path) -> None:
    with np.load(keras_files / f"{network.name}.npz") as arrays:
        outputs = {key.partition("/")[2]: arrays[key] for key in arrays if key.startswith(f"{size[0]}/")}
    x = outputs.pop("image")
    assert set(outputs) == {LAST, "classifier.logits", "probabilities"}
    assert_agrees(network, keras_files / f"{network.name}.h5", x, outputs)


@pytest.mark.parametrize("network", KERAS, ids=lambda network: network.name)
def test_keras_counts_the_same_parameters(network: Network, keras_files: Path) -> None:
    graph = network.build()
    with np.load(keras_files / f"{network.name}.npz") as arrays:
        assert graph.learnable_count + graph.statistics_count == arrays["count_params"]
