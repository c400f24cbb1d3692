"""Ground truth from folders: YOLO's text labels and VOC's XML, what is refused, and the choice between formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from pure_detect import InputError
from pure_detect.evaluate import (
    Category,
    GroundTruth,
    Image,
    Results,
    evaluate,
    read_coco,
    read_ground_truth,
    read_voc,
    read_yolo,
)


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def refusal(read: Callable[[], GroundTruth]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def yolo(tmp_path: Path) -> tuple[Path, Path]:
    """Three pictures, of which the second has no label file."""
    labels, images = tmp_path / "labels", tmp_path / "images"
    labels.mkdir()
    images.mkdir()
    for name, size in (("b.png", (200, 100)), ("a.jpg", (64, 32)), ("c.png", (10, 10))):
        PillowImage.new("RGB", size).save(images / name)
    write(labels / "b.txt", "2 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.2 0.4\n")
    write(labels / "c.txt", "")
    return labels, images


def test_yolo_labels_become_pixels_of_each_picture(yolo: tuple[Path, Path]) -> None:
    truth = read_yolo(*yolo)
    np.testing.assert_array_equal(truth.image_ids, [2, 2])
    np.testing.assert_array_equal(truth.category_ids, [2, 0])
    np.testing.assert_allclose(truth.boxes_xywh, [[75, 25, 50, 50], [0, 0, 40, 40]], atol=1e-12)
    assert truth.images == (Image(1, "a.jpg", 64, 32), Image(2, "b.png", 200, 100), Image(3, "c.png", 10, 10))
    assert truth.categories == (Category(0), Category(1), Category(2))


def test_yolo_class_names_come_from_classes_txt_or_the_caller(yolo: tuple[Path, Path]) -> None:
    write(yolo[0] / "classes.txt", "cat\ndog\nbird\n")
    assert read_yolo(*yolo).categories == (Category(0, "cat"), Category(1, "dog"), Category(2, "bird"))
    assert read_yolo(*yolo, names=["x", "y", "z", "w"]).categories[3] == Category(3, "w")


def test_image_ids_are_the_numbers_that_all_names_are(yolo: tuple[Path, Path]) -> None:
    labels, images = yolo
    for old, new in (("a.jpg", "000012.jpg"), ("b.png", "000003.png"), ("c.png", "7.png")):
        (images / old).rename(images / new)
    (labels / "b.txt").rename(labels / "000003.txt")
    (labels / "c.txt").unlink()
    truth = read_yolo(labels, images)
    assert [(image.id, image.file_name) for image in truth.images] == [
        (3, "000003.png"),
        (7, "7.png"),
        (12, "000012.jpg"),
    ]
    np.testing.assert_array_equal(truth.image_ids, [3, 3])


def test_a_picture_on_its_side_has_the_size_that_a_viewer_shows(yolo: tuple[Path, Path]) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.new("RGB", (64, 32)).save(yolo[1] / "a.jpg", exif=exif)
    assert read_yolo(*yolo).images[0] == Image(1, "a.jpg", 32, 64)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "expected class x y width height, found '0 0.5 0.5 0.1'"),
        ("0 0.5 0.5 0.1 0.1 0.9", "expected class x y width height"),
        ("cat 0.5 0.5 0.1 0.1", "expected class x y width height"),
        ("0 nan 0.5 0.1 0.1", "expected class x y width height"),
        ("-1 0.5 0.5 0.1 0.1", "expected a class, an integer from 0, found '-1'"),
        ("0.5 0.5 0.5 0.1 0.1", "expected a class, an integer from 0, found '0.5'"),
        ("0 0.5 0.5 0 0.1", "with a width and height greater than 0, found '0 0.5 0.5 0 0.1'"),
        ("0 50 50 10 10", "as shares of the picture, 0 to 1"),
    ],
)
def test_the_first_offending_line_of_a_yolo_label_is_named(yolo: tuple[Path, Path], line: str, message: str) -> None:
    path = write(yolo[0] / "b.txt", f"1 0.5 0.5 0.1 0.1\n\n{line}\n{line}\n")
    assert refusal(lambda: read_yolo(*yolo)).startswith(f"{path}: line 3: ")
    assert message in refusal(lambda: read_yolo(*yolo))


def test_yolo_folders_that_do_not_belong_together_are_refused(yolo: tuple[Path, Path], tmp_path: Path) -> None:
    labels, images = yolo
    assert "expected a class, an integer from 0 to 1, found '2'" in refusal(lambda: read_yolo(*yolo, names=["x", "y"]))
    write(labels / "d.txt", "")
    assert f"d.txt: expected a picture of that name in {images}, found none" in refusal(lambda: read_yolo(*yolo))
    assert "found no file ending in .txt" in refusal(lambda: read_yolo(images, images))
    assert "none: expected a folder of pictures, found: No such file" in refusal(
        lambda: read_yolo(labels, tmp_path / "none")
    )
    (labels / "d.txt").unlink()
    PillowImage.new("RGB", (5, 5)).save(images / "b.jpg")
    assert "b.png: expected one file of that name, found b.jpg beside it" in refusal(lambda: read_yolo(*yolo))
    write(images / "b.jpg", "no picture")
    (images / "b.png").unlink()
    assert f"{images / 'b.jpg'}: expected a picture, found " in refusal(lambda: read_yolo(*yolo))


def voc_object(name: str = "dog", corners: tuple = (1, 2, 10, 20), difficult: str = "<difficult>0</difficult>") -> str:
    edges = "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), corners))
    # A part has a box of its own, which is not the object's.
    part = "<part><name>head</name><bndbox><xmin>5</xmin></bndbox></part>"
    return f"<object><name>{name}</name>{difficult}{part}<bndbox>{edges}</bndbox></object>"


def voc_file(*objects: str, head: str = "<filename>x.jpg</filename>") -> str:
    size = "<size><width>500</width><height>375</height><depth>3</depth></size>"
    return f"<annotation>{head}{size}{''.join(objects)}</annotation>"


def test_voc_pixels_numbered_from_1_become_edges_from_0(tmp_path: Path) -> None:
    write(tmp_path / "2007_000002.xml", voc_file(voc_object("person", (5, 5, 5, 5)), voc_object()))
    write(tmp_path / "2007_000001.xml", voc_file(voc_object(difficult="<difficult>1</difficult>"), head=""))
    write(tmp_path / "2007_000003.xml", voc_file())
    truth = read_voc(tmp_path)
    np.testing.assert_array_equal(truth.image_ids, [1, 2, 2])
    np.testing.assert_array_equal(truth.category_ids, [1, 2, 1])
    np.testing.assert_array_equal(truth.boxes_xywh, [[0, 1, 10, 19], [4, 4, 1, 1], [0, 1, 10, 19]])
    np.testing.assert_array_equal(truth.difficult, [True, False, False])
    assert not truth.iscrowd.any()
    assert truth.categories == (Category(1, "dog"), Category(2, "person"))
    assert truth.images[0] == Image(1, "2007_000001.jpg", 500, 375)
    assert truth.images[2] == Image(3, "x.jpg", 500, 375)


def test_voc_corners_can_be_edges_and_names_a_given_list(tmp_path: Path) -> None:
    write(tmp_path / "7.xml", voc_file(voc_object(difficult="")))
    truth = read_voc(tmp_path, names=["cat", "dog"], one_based=False)
    np.testing.assert_array_equal(truth.boxes_xywh, [[1, 2, 9, 18]])
    np.testing.assert_array_equal(truth.image_ids, [7])
    assert truth.categories == (Category(1, "cat"), Category(2, "dog"))
    np.testing.assert_array_equal(truth.category_ids, [2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object>", "expected VOC's XML, found malformed XML: "),
        ("", "expected VOC's XML, found malformed XML: "),
        ("<svg/>", "expected VOC's XML with the root <annotation>, found <svg>"),
        ("<annotation/>", "width: expected a finite number, found nothing"),
        (
            voc_file(voc_object(), voc_object(corners=(1, 2, 3))),
            "object[1].ymax: expected a finite number, found nothing",
        ),
        (voc_file(voc_object(corners=(1, 2, "x", 4))), "object[0].xmax: expected a finite number, found 'x'"),
        (voc_file(voc_object(corners=("nan", 2, 3, 4))), "object[0].xmin: expected a finite number, found 'nan'"),
        (voc_file(voc_object(), voc_object(corners=(4, 2, 3, 4))), "object[1].bndbox: expected xmax and ymax beyond"),
        (voc_file(voc_object(""), voc_object()), "object[0].name: expected a class, found nothing"),
        (voc_file(voc_object("cow")), "object[0].name: expected one of the 1 classes, found 'cow'"),
        (voc_file(voc_object(difficult="<difficult>2</difficult>")), "object[0].difficult: expected 0 or 1, found '2'"),
    ],
)
def test_the_first_offending_object_of_a_voc_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "a.xml", content)
    assert refusal(lambda: read_voc(tmp_path, names=["dog"])).startswith(f"{path}: {message}")


def test_voc_edges_without_anything_between_them_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", voc_file(voc_object(corners=(4, 2, 4, 4))))
    np.testing.assert_array_equal(read_voc(tmp_path).boxes_xywh, [[3, 1, 1, 3]])
    assert "object[0].bndbox: expected xmax" in refusal(lambda: read_voc(tmp_path, one_based=False))


def test_the_format_is_told_from_what_lies_there(yolo: tuple[Path, Path], tmp_path: Path) -> None:
    labels, images = yolo
    (tmp_path / "voc").mkdir()
    write(tmp_path / "voc" / "1.xml", voc_file(voc_object()))
    content: dict[str, list] = {"images": [], "categories": [], "annotations": []}
    assert len(read_ground_truth(write(tmp_path / "i.json", json.dumps(content))).image_ids) == 0
    assert len(read_ground_truth(tmp_path / "voc").image_ids) == 1
    assert len(read_ground_truth(labels, images).image_ids) == 2
    assert f"{labels}: expected the folder of the pictures too" in refusal(lambda: read_ground_truth(labels))
    assert "none: expected COCO instances" in refusal(lambda: read_ground_truth(tmp_path / "none"))


def test_the_three_formats_of_one_data_set_score_alike(yolo: tuple[Path, Path], tmp_path: Path) -> None:
    """An object of pixels 76 to 125 and 26 to 75 in a picture of 200 x 100."""
    labels, images = yolo
    for name in ("a.jpg", "c.png"):
        (images / name).unlink()
    (labels / "c.txt").unlink()
    write(labels / "b.txt", "1 0.5 0.5 0.25 0.5")
    voc = tmp_path / "voc"
    voc.mkdir()
    write(voc / "b.xml", voc_file(voc_object(corners=(76, 26, 125, 75))))
    rows = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [75, 25, 50, 50], "area": 2500, "iscrowd": 0}
    content = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [rows]}
    coco = write(tmp_path / "i.json", json.dumps(content))
    results = Results([1], [1], [[75, 25, 50, 40]], [0.9])
    figures = [
        evaluate(results, truth).figures() for truth in (read_coco(coco), read_voc(voc), read_yolo(labels, images))
    ]
    assert figures[0]["AP"] == pytest.approx(0.7)
    assert figures[0] == figures[1] == figures[2]
