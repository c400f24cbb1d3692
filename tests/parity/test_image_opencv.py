"""Pixels and network inputs against OpenCV: equal in every bit but for CMYK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pure_detect.image import Preprocessing, prepare, read_image

cv2 = pytest.importorskip("cv2", reason="needs the extra parity")
pytestmark = pytest.mark.parity

# Height and width of the picture, then of the network input.
SIZES = [
    (576, 768, 320, 320),
    (57, 83, 31, 40),
    (31, 40, 57, 83),
    (64, 48, 32, 24),  # exactly half on both axes: an average of 2 x 2
    (64, 48, 32, 48),  # half on one axis only
    (64, 48, 16, 12),
    (33, 48, 16, 24),
    (20, 30, 20, 30),
    (20, 30, 40, 60),
    (1, 1, 7, 5),
    (1, 50, 20, 20),
    (50, 1, 20, 20),
    (2, 2, 1, 1),
    (40, 60, 1, 1),
    (3, 1000, 90, 7),
    (1999, 5, 3, 400),
]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def blob(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    return cv2.dnn.blobFromImage(bgr, scalefactor=1 / 255, size=(width, height), swapRB=True, crop=False)[0]


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_stretch_equals_blob_from_image_in_every_bit(case: tuple[int, int, int, int]) -> None:
    H, W, height, width = case
    pixels = noise(H, W, 3)
    tensor, _ = prepare(pixels, height, width, Preprocessing("stretch"))
    np.testing.assert_array_equal(tensor, blob(pixels, height, width), strict=True)


def test_stretch_equals_blob_from_image_at_random_sizes() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        H, W, height, width = (int(size) for size in rng.integers(1, 90, 4))
        pixels = noise(H, W, 3)
        tensor, _ = prepare(pixels, height, width, Preprocessing("stretch"))
        np.testing.assert_array_equal(tensor, blob(pixels, height, width), err_msg=f"{H} x {W} to {height} x {width}")


@pytest.mark.parametrize(
    "case",
    [(57, 83, 32, 32), (83, 57, 32, 40), (64, 128, 32, 32), (32, 50, 32, 32), (20, 31, 40, 40), (9, 300, 16, 24)],
    ids=str,
)
def test_crop_equals_opencvs_resize_of_the_shorter_side_and_the_centre_of_it(case: tuple[int, int, int, int]) -> None:
    H, W, height, width = case
    pixels = noise(H, W, 3)
    tensor, _ = prepare(pixels, height, width, Preprocessing("crop"))
    factor = max(height / H, width / W)
    resized = cv2.resize(pixels, (round(W * factor), round(H * factor)))
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    expected = resized[top : top + height, left : left + width].transpose(2, 0, 1) * np.float32(1 / 255)
    np.testing.assert_array_equal(tensor, expected, strict=True)


@pytest.mark.shared_data
@pytest.mark.parametrize("size", [320, 416])
def test_a_photograph_becomes_opencvs_network_input(data: Path, size: int) -> None:
    path = data / "images" / "dog.jpg"
    tensor, _ = prepare(read_image(path), size, size, Preprocessing("stretch"))
    theirs = cv2.dnn.blobFromImage(cv2.imread(str(path)), 1 / 255, (size, size), swapRB=True, crop=False)[0]
    np.testing.assert_array_equal(tensor, theirs)


def read_by_opencv(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(24, 40, 3)).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), read_by_opencv(path))


# Per mode of Pillow, what is stored and by how many levels the two may differ.
MODES = {
    "RGB png": 0,
    "RGB jpg": 0,
    "RGB bmp": 0,
    "RGB webp": 0,
    "L png": 0,
    "L jpg": 0,
    "LA png": 0,
    "RGBA png": 0,
    "P png": 0,
    "P gif": 0,
    "1 png": 0,
    "I;16 png": 0,
    "I;16 tif": 0,
    "CMYK tif": 2,  # OpenCV divides by 256 where Pillow divides by 255
    "CMYK jpg": 2,
}


@pytest.mark.parametrize("kind", MODES)
def test_every_mode_reads_as_in_opencv(tmp_path: Path, kind: str) -> None:
    mode, suffix = kind.split()
    path = tmp_path / f"a.{suffix}"
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(3).integers(0, 65536, (24, 40), dtype=np.uint16))
    elif mode in {"P", "1"}:
        image = Image.fromarray(noise(24, 40, 3)).convert(mode)
    else:
        channels = len(Image.new(mode, (1, 1)).getbands())
        image = Image.frombytes(mode, (40, 24), noise(24, 40, channels).tobytes())
    image.save(path, lossless=True)  # only WebP listens
    assert Image.open(path).mode == mode or suffix in {"webp", "gif"}
    difference = np.abs(read_image(path).astype(int) - read_by_opencv(path))
    assert difference.max() <= MODES[kind]


def test_a_transparent_palette_colour_reads_as_in_opencv(tmp_path: Path) -> None:
    image = Image.fromarray(noise(24, 40, 3)).quantize(20)
    image.save(tmp_path / "a.png", transparency=bytes(range(20)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_by_opencv(tmp_path / "a.png"))


@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bit_colour_reads_as_in_opencv(tmp_path: Path, alpha: bool) -> None:
    stored = np.random.default_rng(5).integers(0, 65536, (24, 40, 4 if alpha else 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_by_opencv(tmp_path / "a.png"))
