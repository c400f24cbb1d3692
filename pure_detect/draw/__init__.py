"""Drawing detections: colours, fonts, places for the labels, the picture, its file."""

from pure_detect.draw.colors import class_color, text_color
from pure_detect.draw.files import check_picture_path, save_picture
from pure_detect.draw.picture import draw

__all__ = ["check_picture_path", "class_color", "draw", "save_picture", "text_color"]
