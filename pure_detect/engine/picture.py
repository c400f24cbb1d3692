"""How the first convolutions read the picture, which lies in planes and has no border.

The rows that one row of the convolution sees are copied into the thread's own scratch, with zeros around them. There
they stay in the nearest cache; a copy of the whole picture in the arena would go to the third-level one and back.
"""

from __future__ import annotations

from pure_detect.engine.simd import LANES, ZERO, load, shared, store
from pure_detect.engine.step import PICTURE_OWN, X_ROW, X

(PLANES, HEIGHT, WIDTH, SEEN, ABOVE, BEFORE, AFTER, STRIDE,
 WINDOW, WINDOW_PLANE, WINDOW_ROW) = range(PICTURE_OWN, PICTURE_OWN + 11)  # fmt: skip
# PLANES, HEIGHT, WIDTH: of the picture; no planes where the input is another map. SEEN: rows that one row sees. ABOVE,
# BEFORE, AFTER: padding. WINDOW: where in the scratch they go; WINDOW_PLANE, WINDOW_ROW: distances there.


@shared
def input_of_row(s, row, m):  # type: ignore[no-untyped-def]
    """Return where the input of a convolution's row begins, after what is seen of the picture was copied there."""
    if s[PLANES] == 0:
        return s[X] + row * s[X_ROW]
    top = row * s[STRIDE] - s[ABOVE]
    for plane in range(s[PLANES]):
        at = m.scratch + s[WINDOW] + plane * s[WINDOW_PLANE]
        for i in range(top, top + s[SEEN]):
            clear(m.x, at, s[BEFORE])
            if 0 <= i < s[HEIGHT]:
                copy(m.x, at + s[BEFORE], m.image, (plane * s[HEIGHT] + i) * s[WIDTH], s[WIDTH])
            else:
                clear(m.x, at + s[BEFORE], s[WIDTH])
            clear(m.x, at + s[BEFORE] + s[WIDTH], s[AFTER])
            at += s[WINDOW_ROW]
    return m.scratch + s[WINDOW] + s[ABOVE] * s[WINDOW_ROW] + s[BEFORE]


@shared
def copy(x, at, image, source, length):  # type: ignore[no-untyped-def]
    """Copy any number of elements."""
    for i in range(0, length - LANES + 1, LANES):
        store(x, at + i, load(image, source + i))
    for i in range(length // LANES * LANES, length):
        x[at + i] = image[source + i]


@shared
def clear(x, at, length):  # type: ignore[no-untyped-def]
    """Set any number of elements to zero."""
    for i in range(at, at + length):
        x[i] = ZERO
