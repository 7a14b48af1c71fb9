from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.query import History, Query
from serendip.engine.stages import selection
from serendip.engine.stages.base import Ranked, Slate
from serendip.engine.stages.list_rules import (
    DiversityConfig,
    ExplorationConfig,
    SponsoredConfig,
    request_seed,
)
from serendip.engine.stages.selection import SurfaceStages
from serendip.engine.stages.surfaces import SurfaceConfig

EXPLORED, SPONSORED, MOVED = "explored", "sponsored", "moved by diversity"


def ranked(
    values,
    groups=None,
    earned=None,
    organic=None,
    counts=None,
    pinned=0,
    seed=0,
    taste=None,
) -> Ranked:
    """Candidates in organic order; all are of groups of their own where none are given."""
    count = len(values)
    return Ranked(
        np.array(values, np.float32),
        np.ones(count, np.bool_) if organic is None else np.array(organic, np.bool_),
        pinned,
        np.zeros(count, np.float32) if earned is None else np.array(earned, np.float32),
        np.zeros(count, np.bool_) if counts is None else np.array(counts) == 0,
        np.array(range(count) if groups is None else groups, np.int32).reshape(-1, 1),
        np.zeros(count, np.float32) if taste is None else np.array(taste, np.float32),
        seed,
        np.arange(count, dtype=np.int32),
    )


def build_slate(ranked: Ranked, config: SurfaceConfig, max_items: int | None = None) -> Slate:
    return selection.build_slate(ranked, SurfaceStages.of(config).list_rules, max_items)


def decided(slate: Slate, rule: str) -> list[int]:
    return list(slate.positions.get(rule, []))


def surface(**parts: object) -> SurfaceConfig:
    return SurfaceConfig(task="home", sources={"popularity": 1}, **parts)


def sold(floor: float, *positions: int) -> SurfaceConfig:
    return surface(sponsored=SponsoredConfig(floor=floor, positions=positions))


def test_pins_come_before_sold_positions_and_titles() -> None:
    values, revenue = [5, 4, 3, 2, 1], [0, 0, 0, 7, 9]
    rows = replace(ranked(values, earned=revenue), places={0: 2, 1: 4, 9: 0})
    slate = build_slate(rows, sold(0.0, 0, 2))
    # Position 9 is behind the end: its row is the last.
    assert slate.rows == [2, 4, 3, 1, 0]
    assert (decided(slate, "pinned"), decided(slate, SPONSORED)) == ([0, 1, 4], [2])
    assert build_slate(rows, sold(0.0, 0, 2), 2).rows == [2, 4]
    titles = replace(ranked(values, earned=revenue, pinned=2), places={0: 3})
    assert build_slate(titles, sold(0.0, 1, 3)).rows == [3, 0, 1, 4, 2]
    assert build_slate(titles, surface()).rows == [3, 0, 1, 2, 4]


def test_groups_have_the_configured_number_of_levels() -> None:
    rows = ranked([4, 3, 2, 1])
    codes = np.array([[1, 1], [1, 2], [1, 1], [2, 1]], np.int32)
    deep = replace(rows, codes=codes)
    both = [
        build_slate(deep, surface(diversity=DiversityConfig(most=1, window=2, levels=levels))).rows
        for levels in (1, 2)
    ]
    assert both == [[0, 3, 1, 2], [0, 1, 2, 3]]


def test_exact_titles_keep_their_positions_whatever_their_group() -> None:
    rules = surface(
        diversity=DiversityConfig(most=1, window=2),
        sponsored=SponsoredConfig(positions=(0, 2), floor=0.0),
    )
    slate = build_slate(ranked([1, 1, 9, 8], [0, 0, 1, 2], earned=[0, 0, 0, 5], pinned=2), rules)
    assert slate.rows == [0, 1, 3, 2]
    assert decided(slate, SPONSORED) == [2]


def test_a_position_goes_to_the_highest_revenue_above_the_floor() -> None:
    slate = build_slate(ranked([10, 8, 6, 5, 1], earned=[0, 0, 2, 3, 99]), sold(0.5, 1))
    assert slate.rows == [0, 3, 1, 2, 4]
    assert decided(slate, SPONSORED) == [1]
    assert decided(build_slate(ranked([10, 4, 3], earned=[0, 0, 9]), sold(0.7, 0)), SPONSORED) == []
    assert build_slate(ranked([10, 4, 3], earned=[0, 0, 9]), sold(0.7, 1)).rows == [0, 2, 1]


def test_the_last_position_of_each_block_is_explored_anew_every_hour() -> None:
    rules = surface(exploration=ExplorationConfig(share=0.5))
    slate = build_slate(ranked(range(8, 0, -1), counts=[9, 9, 9, 9, 9, 9, 0, 0]), rules)
    assert decided(slate, EXPLORED) == [1, 3]
    assert sorted(slate.rows[place] for place in decided(slate, EXPLORED)) == [6, 7]
    assert [row for row in slate.rows if row < 6] == list(range(6))

    begin, none = 3_600.0 * 1_000, History()
    known = [request_seed(Query(user_id="u", time=begin + hour * 3_600), none) for hour in (0, 1)]
    assert known[0] == known[1]
    unknown = [request_seed(Query(time=begin + seconds), none) for seconds in (0, 3_599, 3_600)]
    assert unknown[0] == unknown[1] != unknown[2]


def test_explored_items_are_drawn_by_a_softmax_of_their_taste() -> None:
    """In units of the spread of the taste of all candidates, so that its scale does not matter."""
    taste = np.array([0.0] * 5 + [0.0, 0.5, 1.0])
    temperature = 0.5 / float(taste.std())
    rules = surface(exploration=ExplorationConfig(share=0.2, min_taste=-9, temperature=temperature))
    chances = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()  # 0.090, 0.245, 0.665
    drawn = np.zeros(3)
    for seed in range(2_000):
        for scale in (1.0, 7.0):
            rows = ranked([9] * 8, counts=[9] * 5 + [0, 0, 0], taste=4.0 + scale * taste, seed=seed)
            slate = build_slate(rows, rules)
            row = slate.rows[4] - 5
            assert slate.propensities_of_draws()[4] == pytest.approx(chances[row], rel=1e-3)
            drawn[row] += 1
    assert drawn / drawn.sum() == pytest.approx(chances, abs=0.03)


@pytest.mark.parametrize(
    ("min_taste", "explored"), [(-0.6, [3, 4, 5]), (-0.1, [3, 4]), (0.5, [3]), (2.0, [])]
)
def test_no_item_is_explored_that_fits_less_than_its_block(
    min_taste: float, explored: list[int]
) -> None:
    """Whatever the ranker values it at: the taste of the block is 6 on average, its spread 2."""
    rules = surface(
        exploration=ExplorationConfig(share=0.5, min_taste=min_taste, temperature=100.0)
    )
    values, counts, taste = [10, 10, 10, 1, 1, 1], [9, 9, 9, 0, 0, 0], [4, 8, 4, 9, 6, 5]
    slates = [
        build_slate(ranked(values, counts=counts, taste=taste, seed=seed), rules)
        for seed in range(40)
    ]
    assert sorted({slate.rows[1] for slate in slates} - {1}) == explored


def test_explored_items_follow_from_the_seed_and_take_no_place_of_their_own() -> None:
    rules = surface(exploration=ExplorationConfig(share=0.5))
    slate = build_slate(ranked([5, 4, 3, 2], counts=[9, 0, 9, 0], taste=[0, 0, 0, 9]), rules)
    assert slate.rows[:2] == [0, 1]
    assert decided(slate, EXPLORED) == []
    assert np.isnan(slate.propensities_of_draws()).all()

    rules = surface(exploration=ExplorationConfig(share=0.2))
    values, counts = [1] * 40, [5] * 20 + [0] * 20
    slates = [build_slate(ranked(values, counts=counts, seed=seed), rules) for seed in (1, 1, 2)]
    assert slates[0].rows == slates[1].rows != slates[2].rows


def test_the_seed_follows_from_the_contents_of_the_request_only() -> None:
    past = History.of_items(np.array([1, 2], np.int32))
    later = replace(past, timestamps=np.array([0.0, 5.0]))
    query = Query("home", user_id="u", time=1.0)
    same = [query, replace(query, time=2.0, task="similar", history=past)]
    assert len({request_seed(query, past) for query in same}) == 1
    others = [
        replace(query, user_id="v"),
        replace(query, text="tale"),
        replace(query, country="KR"),
        replace(query, source_items=np.array([3], np.int32)),
    ]
    seeds = [request_seed(query, past) for query in (query, *others)]
    assert len({*seeds, request_seed(query, later), request_seed(query, History())}) == 6


VALUE = st.integers(-4, 40).map(lambda number: number / 8)


@st.composite
def candidates(draw: st.DrawFn) -> Ranked:
    count = draw(st.integers(0, 24))
    size = {"min_size": count, "max_size": count}
    values = sorted(draw(st.lists(VALUE, **size)), reverse=True)
    bids = draw(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 7.0]), **size))
    return ranked(
        values,
        draw(st.lists(st.integers(0, 3), **size)),
        [bid * max(value, 0) for bid, value in zip(bids, values, strict=True)],
        draw(st.lists(st.booleans(), **size)),
        draw(st.lists(st.integers(0, 9), **size)),
        draw(st.integers(0, 2)),
        draw(st.integers(0, 5)),
        draw(st.lists(VALUE, **size)),
    )


@st.composite
def rules(draw: st.DrawFn) -> SurfaceConfig:
    return surface(
        diversity=draw(
            st.none() | st.builds(DiversityConfig, most=st.integers(1, 2), window=st.integers(3, 6))
        ),
        exploration=draw(
            st.none()
            | st.builds(
                ExplorationConfig, share=st.just(0.3), min_taste=st.sampled_from([-1.0, 0.0, 1.0])
            )
        ),
        sponsored=draw(st.none() | slots()),
    )


def slots() -> st.SearchStrategy[SponsoredConfig]:
    positions = st.lists(st.integers(0, 8), min_size=1, max_size=4, unique=True).map(tuple)
    floor = st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0])
    return st.builds(SponsoredConfig, positions=positions, floor=floor)


def organic_rows(rows: Ranked) -> list[int]:
    return np.flatnonzero(rows.is_organic).tolist()


@given(candidates(), rules())
def test_a_slate_has_every_organic_row_once_and_only_bought_rows_besides(rows, config) -> None:
    slate = build_slate(rows, config)
    bought = {slate.rows[place] for place in decided(slate, SPONSORED)}
    assert len(set(slate.rows)) == len(slate.rows)
    assert set(slate.rows) == set(organic_rows(rows)) | bought
    assert not set(decided(slate, SPONSORED)) & set(decided(slate, EXPLORED))


@given(candidates(), rules())
def test_the_floor_is_never_violated(rows, config) -> None:
    slate = build_slate(rows, config)
    for place in decided(slate, SPONSORED):
        assert place in config.sponsored.positions
        shown = slate.rows[:place]
        best = max(rows.values[row] for row in organic_rows(rows) if row not in shown)
        assert rows.values[slate.rows[place]] >= config.sponsored.floor * best
        assert rows.revenue[slate.rows[place]] > 0


@given(candidates(), slots())
def test_bids_do_not_change_the_order_of_the_other_rows(rows, config) -> None:
    slate = build_slate(rows, surface(sponsored=config))
    bought = {slate.rows[place] for place in decided(slate, SPONSORED)}
    others = [row for row in organic_rows(rows) if row not in bought]
    assert [row for row in slate.rows if row not in bought] == others


@given(candidates(), slots(), st.sampled_from([0.25, 4.0, 1024.0]))
def test_the_currency_of_the_bids_does_not_matter(rows, config, rate) -> None:
    other = replace(rows, revenue=rows.revenue * rate)
    bought = surface(sponsored=config)
    assert build_slate(rows, bought).rows == build_slate(other, bought).rows


@given(candidates(), rules())
@settings(max_examples=200)
def test_a_group_exceeds_its_limit_only_if_all_groups_are_full(rows, config) -> None:
    slate, groups = build_slate(rows, config), rows.codes[:, 0]
    if config.diversity is None:
        return
    for place in range(rows.pinned, len(slate.rows)):
        window = slate.rows[max(0, place - config.diversity.window + 1) : place]

        def is_full(row: int, window: list[int] = window) -> bool:
            same = sum(groups[other] == groups[row] for other in window)
            return same >= config.diversity.most

        if is_full(slate.rows[place]):
            waiting = [row for row in organic_rows(rows) if row not in slate.rows[:place]]
            assert all(is_full(row) for row in waiting)
            assert place not in decided(slate, EXPLORED) + decided(slate, SPONSORED)


@given(candidates(), rules())
def test_only_new_items_are_explored(rows, config) -> None:
    slate = build_slate(rows, config)
    for place in decided(slate, EXPLORED):
        assert rows.is_new[slate.rows[place]]
        assert place >= rows.pinned
    blocks = [place // 4 for place in decided(slate, EXPLORED)]
    assert all(place % 4 == 3 for place in decided(slate, EXPLORED))
    assert len(set(blocks)) == len(blocks)


@given(candidates(), rules(), st.integers(0, 30))
def test_the_first_positions_are_those_of_the_whole_slate(rows, config, length) -> None:
    whole, short = build_slate(rows, config), build_slate(rows, config, length)
    assert short.rows == whole.rows[:length]
    drawn = {place: chance for place, chance in whole.propensities.items() if place < length}
    assert short.propensities == drawn
    for rule, positions in whole.positions.items():
        assert short.positions[rule] == [place for place in positions if place < length]
