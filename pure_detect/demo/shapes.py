"""The shapes of the demo scenes, each as a distance to its outline.

Every function takes ``u`` and ``v``, the pixel centres in the shape's own frame (float32, any shapes that broadcast;
v points down as rows do), where the shape fits the circle of radius 1, and returns the distance to the outline:
negative inside, positive outside, exact near straight edges and circles. A shape is an intersection (``maximum``) or a
union (``minimum``) of half-planes and discs. Only ``+ - * /``, ``sqrt``, ``minimum`` and ``maximum`` touch an array:
these round the same way on every machine, so a scene has the same pixels everywhere.
"""

from collections.abc import Callable
from functools import reduce

import numpy as np

__all__ = ["DISTANCES"]

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Cosine and sine of 72 and 144 degrees, of the five points of a star; written out because math libraries differ in the
# last bit.
_STAR_NORMALS = (
    (0.0, 1.0),
    (0.9510565, 0.3090170),
    (0.5877853, -0.8090170),
    (-0.5877853, -0.8090170),
    (-0.9510565, 0.3090170),
)
_HALF_SQRT_3 = 0.8660254
_HALF_SQRT_2 = 0.7071068


def _disc(u: np.ndarray, v: np.ndarray, u_center: float, v_center: float, radius: float) -> np.ndarray:
    u, v = u - np.float32(u_center), v - np.float32(v_center)
    return np.sqrt(u * u + v * v) - np.float32(radius)


def _half_plane(u: np.ndarray, v: np.ndarray, u_normal: float, v_normal: float, offset: float) -> np.ndarray:
    return u * np.float32(u_normal) + v * np.float32(v_normal) - np.float32(offset)


def _box(u: np.ndarray, v: np.ndarray, half_u: float, half_v: float) -> np.ndarray:
    return np.maximum(np.abs(u) - np.float32(half_u), np.abs(v) - np.float32(half_v))


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _disc(u, v, 0, 0, 1)


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    sides = (
        _half_plane(u, v, 0, 1, 0.5),
        _half_plane(u, v, _HALF_SQRT_3, -0.5, 0.5),
        _half_plane(u, v, -_HALF_SQRT_3, -0.5, 0.5),
    )
    return reduce(np.maximum, sides)


def _rectangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _box(u, v, _HALF_SQRT_2, _HALF_SQRT_2)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A point of a pentagram is outside of at most one of the five lines: the second largest distance decides.
    sides = [_half_plane(u, v, *normal, 0.3090170) for normal in _STAR_NORMALS]
    largest, second = np.maximum(sides[0], sides[1]), np.minimum(sides[0], sides[1])
    for side in sides[2:]:
        second = np.maximum(second, np.minimum(largest, side))
        largest = np.maximum(largest, side)
    return second


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(_box(u, v, 0.95, 0.3), _box(u, v, 0.3, 0.95))


def _ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(_disc(u, v, 0, 0, 0.79)) - np.float32(0.21)


def _crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(_disc(u, v, 0, 0, 1), -_disc(u, v, 0.5, 0, 0.8))


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A square that stands on its corner, and a disc on the middle of each of its two upper sides.
    diagonal = np.float32(_HALF_SQRT_2)
    down = v - np.float32(0.1)
    square = _box((u + down) * diagonal, (u - down) * diagonal, 0.58, 0.58)
    return reduce(np.minimum, (square, _disc(u, down, -0.41, -0.41, 0.58), _disc(u, down, 0.41, -0.41, 0.58)))


DISTANCES: dict[str, Distance] = {
    "ellipse": _ellipse,
    "triangle": _triangle,
    "rectangle": _rectangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
}
