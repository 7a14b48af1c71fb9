from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serendip.engine.explanations.explain import (
    MOST_ALIKE,
    REPEATED,
    TOLERANCE,
    Ground,
    choose_grounds,
)


def ground(kind: str, strength: float, row: int = 0) -> Ground:
    return Ground(row, kind, strength, strength, kind, rests_on=(row,))


LISTS = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.01, 1.0)), max_size=5), max_size=12
)


def test_what_was_told_often_enough_gives_way_to_a_weaker_ground() -> None:
    rows = [[ground("a", 1.0, n), ground("b", 0.7, n), ground("c", 0.55, n)] for n in range(8)]
    # .85, .72, .61 of "a" are left; "b" has .7, then .6; "c" .55.
    expected = ["a", "a", "a", "b", "a", "b", "c", "a"]
    assert [one.kind for one in choose_grounds(rows) if one] == expected

    popular = Ground(0, "popular", 0.5, 0.5, "popular")
    rows = [[popular]] * 4 + [[popular, ground("a", 0.4)], [popular]]
    kinds = [None if one is None else one.kind for one in choose_grounds(rows)]
    assert kinds == ["popular"] * MOST_ALIKE + [None, "a", None]
    rows = [[ground("alike", 0.5), ground("group", 0.3, n)] for n in range(5)]
    kinds = [None if one is None else one.kind for one in choose_grounds(rows)]
    assert kinds == ["alike"] * MOST_ALIKE + ["group"] * 2


@given(LISTS)
def test_every_choice_is_within_the_tolerance_and_counts_the_most(
    lists: list[list[tuple[str, float]]],
) -> None:
    rows = [[ground(*pair, row) for pair in pairs] for row, pairs in enumerate(lists)]
    told: Counter[str] = Counter()
    for grounds, chosen in zip(rows, choose_grounds(rows), strict=True):
        assert (chosen is None) == (not grounds)
        if chosen is None:
            continue
        least = TOLERANCE * max(one.strength for one in grounds)
        assert chosen.strength >= least
        worth = [
            one.strength * REPEATED ** told[one.kind] for one in grounds if one.strength >= least
        ]
        assert chosen.strength * REPEATED ** told[chosen.kind] == max(worth)
        told[chosen.kind] += 1
