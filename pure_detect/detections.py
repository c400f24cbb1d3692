"""What a detector returns for one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture, best score first.

    Attributes
    ----------
    boxes_xyxy : float32 array (K, 4)
        Left, top, right, bottom in pixels of the given picture.
    scores : float32 array (K,)
    class_ids : int64 array (K,)
        From 0; `labels[i]` is the name of `class_ids[i]`.
    labels : tuple of str
        The class name of each box.
    height, width : int
        Of the given picture, in pixels.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...]
    height: int
    width: int

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.scores)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one plain dictionary a box: label, class_id, score, box_xyxy."""
        return [
            {
                "label": label,
                "class_id": int(class_id),
                "score": round(float(score), 6),
                "box_xyxy": [round(float(value), 3) for value in box],
            }
            for box, score, class_id, label in zip(self.boxes_xyxy, self.scores, self.class_ids, self.labels)
        ]
