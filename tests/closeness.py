"""How tests say that a result is right: equal to the exact value but for the roundings it is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.tolerances import FLOAT32_ROUNDING, FLOAT64_EPSILON

SMALLEST_FLOAT32 = 2.0**-149


def assert_one_rounding(
    ours: NDArray[Any], exact: NDArray[np.float64], units: float, magnitude: NDArray[np.float64] | None = None
) -> None:
    """Assert that every element of `ours` is `exact`, rounded once to the dtype of `ours`.

    `exact` was itself computed in float64, in another order or by another formula, so both may differ by `units` of
    float64's epsilon times `magnitude`: of a sum, the sum of the absolute terms; by default the value itself. NaN
    and infinity must stand at the same places.
    """
    assert ours.shape == exact.shape
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(ours[~finite], exact[~finite])
    ours64, exact = ours[finite].astype(np.float64), exact[finite]
    magnitude = np.abs(exact) if magnitude is None else magnitude[finite]
    bound = units * FLOAT64_EPSILON * magnitude
    if ours.dtype == np.float32:
        bound = bound + np.maximum(FLOAT32_ROUNDING * np.abs(exact), SMALLEST_FLOAT32 / 2)
    excess = np.abs(ours64 - exact) - bound
    assert excess.size == 0 or excess.max() <= 0, f"off by {excess.max():.3g} more than the bound"
