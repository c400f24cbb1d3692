"""Reading image files: every kind of picture to RGB, every kind of failure to one line."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pure_detect.errors import InputError
from pure_detect.image import read_image
from tests.golden.record_darknet_images import picture

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def written(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


class TestReading:
    def test_a_png_gives_its_rgb_pixels_contiguous_and_writable(self, tmp_path: Path) -> None:
        pixels = picture(5, 7)
        read = read_image(written(tmp_path / "a.png", Image.fromarray(pixels)))
        np.testing.assert_array_equal(read, pixels)
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        assert read.flags.writeable

    def test_a_jpeg_is_red_where_it_was_red(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (16, 16), RED)
        image.paste(BLUE, (0, 8, 16, 16))
        read = read_image(str(written(tmp_path / "a.jpg", image, quality=95, subsampling=0)))
        np.testing.assert_allclose(read[0, 0], RED, atol=3)
        np.testing.assert_allclose(read[15, 15], BLUE, atol=3)

    # EXIF 2.3, tag 274: which sides of the scene the stored row 0 and column 0 are.
    @pytest.mark.parametrize(
        ("orientation", "upright"),
        [
            (1, ["abc", "def"]),
            (2, ["cba", "fed"]),
            (3, ["fed", "cba"]),
            (4, ["def", "abc"]),
            (5, ["ad", "be", "cf"]),
            (6, ["da", "eb", "fc"]),
            (7, ["fc", "eb", "da"]),
            (8, ["cf", "be", "ad"]),
            (9, ["abc", "def"]),  # no such orientation
        ],
    )
    def test_exif_orientation_is_applied(self, tmp_path: Path, orientation: int, upright: list[str]) -> None:
        def letters(rows: list[str]) -> np.ndarray:
            return np.array([[[ord(letter)] * 3 for letter in row] for row in rows], np.uint8)

        exif = Image.Exif()
        exif[274] = orientation
        file = written(tmp_path / "a.png", Image.fromarray(letters(["abc", "def"])), exif=exif)
        np.testing.assert_array_equal(read_image(file), letters(upright))
        np.testing.assert_array_equal(read_image(Image.open(file)), letters(upright))

    def test_grey_becomes_three_equal_channels(self, tmp_path: Path) -> None:
        grey = picture(5, 7)[:, :, 0]
        read = read_image(written(tmp_path / "a.png", Image.fromarray(grey)))
        np.testing.assert_array_equal(read, np.stack([grey] * 3, axis=2))

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_sixteen_bit_grey_keeps_its_high_byte(self, tmp_path: Path, suffix: str) -> None:
        grey = np.array([[0, 255, 256], [0x1234, 0xFE80, 0xFFFF]], np.uint16)
        read = read_image(written(tmp_path / f"a.{suffix}", Image.fromarray(grey)))
        np.testing.assert_array_equal(read[:, :, 1], [[0, 0, 1], [0x12, 0xFE, 0xFF]])
        assert read.shape == (2, 3, 3)

    def test_sixteen_bit_grey_held_in_32_bits_keeps_its_high_byte(self) -> None:
        image = Image.fromarray(np.array([[0x1234, 0xFFFF]], np.int32))
        np.testing.assert_array_equal(read_image(image)[0, :, 0], [0x12, 0xFF])

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_alpha_is_dropped_not_blended(self, tmp_path: Path, mode: str) -> None:
        colour = (200, 100, 50, 0) if mode == "RGBA" else (200, 0)
        read = read_image(written(tmp_path / "a.png", Image.new(mode, (3, 2), colour)))
        assert tuple(read[0, 0]) == ((200, 100, 50) if mode == "RGBA" else (200, 200, 200))

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("transparency", [None, 1, b"\0\x80\xff"], ids=["opaque", "one colour", "each colour"])
    def test_a_palette_is_looked_up(self, tmp_path: Path, transparency: int | bytes | None) -> None:
        image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
        image.putpalette([*RED, *GREEN, *BLUE])
        options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
        read = read_image(written(tmp_path / "a.png", image, **options))
        np.testing.assert_array_equal(read, [[RED, GREEN, BLUE]])

    def test_one_bit_pixels_are_black_and_white(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
        read = read_image(written(tmp_path / "a.png", image))
        np.testing.assert_array_equal(read, [[(0, 0, 0), (255, 255, 255), (255, 255, 255)]])

    def test_cmyk_becomes_rgb(self, tmp_path: Path) -> None:
        image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
        np.testing.assert_allclose(read_image(written(tmp_path / "a.tif", image)), np.full((8, 8, 3), RED), atol=1)
        jpeg = read_image(written(tmp_path / "a.jpg", image, quality=100))
        np.testing.assert_allclose(jpeg, np.full((8, 8, 3), RED), atol=2)

    def test_a_pillow_image_is_read_and_left_as_it_was(self) -> None:
        image = Image.new("L", (3, 2), 9)
        np.testing.assert_array_equal(read_image(image), np.full((2, 3, 3), 9))
        assert image.mode == "L"

    def test_a_fitting_array_is_not_copied_and_another_is(self) -> None:
        pixels = picture(4, 6)
        assert read_image(pixels) is pixels
        mirrored = read_image(pixels[:, ::-1])
        np.testing.assert_array_equal(mirrored, pixels[:, ::-1])
        assert mirrored.flags.c_contiguous
        pixels.flags.writeable = False
        assert read_image(pixels).flags.writeable


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_a_picture_on_its_side_is_upright_in_every_mode_and_the_same_in_strips(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = Image.fromarray(picture(37, 23))
    wide = np.arange(37 * 23, dtype=np.uint16).reshape(37, 23) * 70
    image = Image.fromarray(wide) if mode == "I;16" else pixels.convert(mode)
    exif = Image.Exif()
    exif[274] = 6
    path = written(tmp_path / "a.tif", image, exif=exif)
    whole = read_image(path)
    np.testing.assert_array_equal(whole, np.rot90(read_image(written(tmp_path / "b.tif", image)), 3))
    for pixels_at_once in (1, 23, 100):
        monkeypatch.setattr("pure_detect.image_file.STRIP", pixels_at_once)
        np.testing.assert_array_equal(read_image(path), whole)


def test_a_palette_with_transparency_converted_in_strips_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.png", Image.fromarray(picture(9, 7)).quantize(), transparency=b"\0\x80")
    whole = read_image(path)
    monkeypatch.setattr("pure_detect.image_file.STRIP", 20)
    np.testing.assert_array_equal(read_image(path), whole)


def message_of(source: object) -> str:
    with pytest.raises(InputError) as caught:
        read_image(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # nothing of Pillow's is shown
    return str(caught.value)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


class TestRefusing:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        path = tmp_path / "none.jpg"
        assert message_of(path) == f"{path}: expected an image such as JPEG or PNG, found no such file"

    def test_a_folder(self, tmp_path: Path) -> None:
        assert message_of(tmp_path) == f"{tmp_path}: expected an image such as JPEG or PNG, found a folder"

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "found an empty file"),
            (b"no image at all", "found bytes of no image format known here"),
            (png_header(20_000, 20_000), "400000000 pixels.*decompression bomb"),
        ],
        ids=["empty", "text", "bomb"],
    )
    def test_a_file_that_is_no_picture(self, tmp_path: Path, content: bytes, found: str) -> None:
        path = tmp_path / "bad.png"
        path.write_bytes(content)
        message = message_of(str(path))
        assert message.startswith(f"{path}: expected an image such as JPEG or PNG, found ")
        assert re.search(found, message)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
    @pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
    def test_a_truncated_file(self, tmp_path: Path, suffix: str, part: float) -> None:
        path = written(tmp_path / f"cut.{suffix}", Image.fromarray(picture(64, 48)))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        assert message_of(path).startswith(f"{path}: expected an image such as JPEG or PNG, found ")

    def test_damaged_bytes_never_escape_as_another_error(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(7)
        path = written(tmp_path / "a.png", Image.fromarray(picture(20, 20)))
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        refused = 0
        for _ in range(100):
            damaged = whole.copy()
            damaged[rng.integers(0, 120, 4)] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                read_image(path)
            except InputError:
                refused += 1
        assert refused > 50

    def test_a_name_that_would_break_the_line(self, tmp_path: Path) -> None:
        assert "two\\nlines" in message_of(tmp_path / "two\nlines.png")
        assert "found embedded null byte" in message_of("a\0b")

    @pytest.mark.parametrize(
        ("array", "found"),
        [
            (np.zeros((4, 6, 3), np.float32), "found float32 of shape (4, 6, 3)"),
            (np.zeros((4, 6), np.uint8), "found uint8 of shape (4, 6)"),
            (np.zeros((4, 6, 4), np.uint8), "found uint8 of shape (4, 6, 4)"),
            (np.zeros((0, 6, 3), np.uint8), "found uint8 of shape (0, 6, 3)"),
        ],
        ids=["float", "grey", "rgba", "empty"],
    )
    def test_an_array_of_another_kind(self, array: np.ndarray, found: str) -> None:
        expected = "expected an array of RGB pixels, uint8 of shape (height, width, 3)"
        assert message_of(array) == f"{expected}, {found}"

    def test_what_is_no_image_at_all(self) -> None:
        assert message_of(7) == "expected an image: a path, a Pillow image or an array, found int"
        assert "found a picture of 0 x 5 pixels" in message_of(Image.new("RGB", (0, 5)))
        assert "found floating-point pixels" in message_of(Image.new("F", (3, 5)))
        assert "outside 16 bits" in message_of(Image.fromarray(np.array([[-1, 5]], np.int32)))
