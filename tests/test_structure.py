"""Partners in two descriptions of one network, found by their connections."""

from __future__ import annotations

from weights_convert.names.structure import IMAGE, Step, same_places

# Two convolutions of one shape read one map; one feeds a sum, the other a pool.
OURS = {
    "stem": Step("conv", (IMAGE,)),
    "left": Step("conv", ("stem",)),
    "right": Step("conv", ("stem",)),
    "sum": Step("add", ("left", "stem")),
    "pool": Step("pool", ("right",)),
}


def test_what_stands_behind_tells_apart_what_stands_before_does_not() -> None:
    theirs = {
        10: Step("conv", (IMAGE,)),
        11: Step("conv", (10,)),
        12: Step("conv", (10,)),
        13: Step("pool", (11,)),
        14: Step("add", (10, 12)),
    }
    found, missing = same_places(OURS, theirs)
    assert found == {"stem": 10, "left": 12, "right": 11, "sum": 14, "pool": 13}
    assert missing == []


def test_a_sum_of_three_is_found_in_two_sums_of_two() -> None:
    ours = {**OURS, "end": Step("add", ("sum", "left", "right"))}
    theirs = {**OURS, "first": Step("add", ("right", "sum")), "end": Step("add", ("first", "left"))}
    found, missing = same_places({"sum": OURS["stem"], **ours}, {"sum": OURS["stem"], **theirs})
    assert found["end"] == "end"
    assert missing == []


def test_steps_in_one_place_are_ambiguous_and_not_guessed() -> None:
    twins = {"stem": OURS["stem"], "a": Step("conv", ("stem",)), "b": Step("conv", ("stem",))}
    found, missing = same_places(twins, twins)
    assert found == {"stem": "stem"}
    assert missing == ["a", "b"]


def test_another_kind_anywhere_behind_leaves_no_partner() -> None:
    theirs = {**OURS, "pool": Step("resize", ("right",))}
    assert set(same_places(OURS, theirs)[1]) == {"stem", "right", "pool"}
