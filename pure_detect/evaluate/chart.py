"""A plain chart on a white ground: axes, ticks, lines, dots and a legend, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from pure_detect.draw.colors import Color

SMOOTH = 3  # everything is drawn this many times as large and shrunk, since Pillow's lines have hard edges
LEFT, TOP, BOTTOM, RIGHT = 72, 52, 60, 24  # margins around the axes, where text goes
INK, GRID = (40, 40, 40), (226, 226, 226)
FONT, SMALL_FONT, TITLE_FONT = 15, 13, 18


class Axis(NamedTuple):
    """One axis: its label, its range, and the values that get a tick."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]


class Chart:
    """A chart that is drawn as it is told.

    Parameters
    ----------
    title : str
    x, y : Axis
    plot_width, plot_height : int
        Pixels inside the axes.
    legend_width : int
        Pixels to the right of the axes for :meth:`legend`.
    """

    def __init__(self, title: str, x: Axis, y: Axis, plot_width: int, plot_height: int, legend_width: int = 0) -> None:
        self.x, self.y = x, y
        self.plot_width, self.plot_height = plot_width, plot_height
        self._size = (LEFT + plot_width + RIGHT + legend_width, TOP + plot_height + BOTTOM)
        self._picture = Image.new("RGB", (self._size[0] * SMOOTH, self._size[1] * SMOOTH), "white")
        self._canvas = ImageDraw.Draw(self._picture)
        self._draw_axes(title)

    def line(self, xs: ArrayLike, ys: ArrayLike, color: Color, width: float = 2) -> None:
        """Join points by a line; coordinates in the axes' units."""
        points = [(float(x), float(y)) for x, y in self._pixels(xs, ys) * SMOOTH]
        self._canvas.line(points, fill=color, width=round(width * SMOOTH), joint="curve")

    def dots(self, xs: ArrayLike, ys: ArrayLike, color: Color, radius: float, outline: Color | None = None) -> None:
        """Draw a dot at every point, with a thin outline if one is given."""
        for x, y in self._pixels(xs, ys) * SMOOTH:
            r = radius * SMOOTH
            self._canvas.ellipse((x - r, y - r, x + r, y + r), fill=color, outline=outline, width=SMOOTH)

    def note(self, x: float, y: float, text: str) -> None:
        """Write to the right of a point, readable on whatever lies there."""
        px, py = self._pixels([x], [y])[0]
        self._text((px + 9, py), text, "lm", SMALL_FONT, halo=2)

    def legend(self, header: tuple[str, str], rows: Sequence[tuple[Color, float, str, str]]) -> None:
        """List colour, width of the stroke, and two columns of text to the right of the axes."""
        left, y = LEFT + self.plot_width + RIGHT, TOP + FONT // 2
        self._text((left + 36, y), header[0], "lm", FONT)
        self._text((left + 90, y), header[1], "lm", FONT)
        for color, width, name, value in rows:
            y += FONT + 9
            stroke = [left * SMOOTH, y * SMOOTH, (left + 26) * SMOOTH, y * SMOOTH]
            self._canvas.line(stroke, fill=color, width=round(width * SMOOTH))
            self._text((left + 36, y), name, "lm", FONT)
            self._text((left + 90, y), value, "lm", FONT)

    def picture(self) -> Image.Image:
        """Return the chart as an RGB picture."""
        return self._picture.resize(self._size, Image.Resampling.BOX)

    def _draw_axes(self, title: str) -> None:
        right, bottom = LEFT + self.plot_width, TOP + self.plot_height
        self._text((LEFT, TOP / 2), title, "lm", TITLE_FONT)
        self._text((LEFT + self.plot_width / 2, bottom + 42), self.x.label, "mm", FONT)
        self._sideways_text(self.y.label)
        for value in self.x.ticks:
            x = float(self._pixels([value], [self.y.low])[0, 0])
            self._stroke((x, TOP, x, bottom), GRID)
            self._text((x, bottom + 16), f"{value:g}", "mm", SMALL_FONT)
        for value in self.y.ticks:
            y = float(self._pixels([self.x.low], [value])[0, 1])
            self._stroke((LEFT, y, right, y), GRID)
            self._text((LEFT - 10, y), f"{value:g}", "rm", SMALL_FONT)
        self._stroke((LEFT, TOP, LEFT, bottom), INK)
        self._stroke((LEFT, bottom, right, bottom), INK)

    def _pixels(self, xs: ArrayLike, ys: ArrayLike) -> NDArray[np.float64]:
        """Return the pixels (N, 2) of points in the axes' units."""
        across = (np.asarray(xs, np.float64) - self.x.low) / (self.x.high - self.x.low)
        up = (np.asarray(ys, np.float64) - self.y.low) / (self.y.high - self.y.low)
        return np.stack([LEFT + across * self.plot_width, TOP + (1 - up) * self.plot_height], axis=1)

    def _stroke(self, ends: tuple[float, float, float, float], color: Color) -> None:
        self._canvas.line([end * SMOOTH for end in ends], fill=color, width=SMOOTH)

    def _text(self, at: tuple[float, float], text: str, anchor: str, size: int, halo: int = 0) -> None:
        """Write text with its anchor (Pillow's two letters) at a pixel."""
        place = (at[0] * SMOOTH, at[1] * SMOOTH)
        font, stroke = _font(size), halo * SMOOTH
        self._canvas.text(place, text, INK, font, anchor, stroke_width=stroke, stroke_fill="white")

    def _sideways_text(self, text: str) -> None:
        """Write the y axis's label from bottom to top."""
        strip = Image.new("RGB", (self.plot_height * SMOOTH, 24 * SMOOTH), "white")
        middle = (strip.width / 2, strip.height / 2)
        ImageDraw.Draw(strip).text(middle, text, fill=INK, font=_font(FONT), anchor="mm")
        self._picture.paste(strip.transpose(Image.Transpose.ROTATE_90), (6 * SMOOTH, TOP * SMOOTH))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size * SMOOTH)
