"""Deletion test of the reasons of a surface: its lists with and without the evidence named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.query import Query
from serendip.engine.explanations.explain import Explainer
from serendip.engine.explanations.influence import find_influence
from serendip.engine.explanations.reason_choice import Ground
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.faithfulness import Deletion, FaithfulnessFigures, summarise_deletions
from serendip.jobs.whole_answers import answer_whole

MAX_LISTS = 60
"""Lists that are measured: of as many users, drawn at random."""

PLACES = (0, 2, 4)
"""Places whose reasons are tested."""

SHOWN = 10
"""Places whose kinds of reasons are counted."""

NEWEST = 20
"""Items of the history that the random ones are drawn from."""

_BATCH = 100

ReasonChooser: TypeAlias = Callable[[EngineState, Result], Sequence[Ground | None]]
"""(state, an answer) -> the reason for each of its first places."""


def choose_reasons(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """The reasons that an answer gives for its first places."""
    page = result.items.take(slice(0, SHOWN))
    words = (page.fields[name].tolist() for name in ("title match", "bm25"))
    influence = find_influence(result, state, page)
    return Explainer(state, result.query, page.item_nums, influence=influence).chosen(*words)


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One reason to be tested.

    Args:
        kind: of the reason.
        item: that it is given for.
        place: of the item in the list.
        without: the query without what the reason names, and without random items.
    """

    kind: str
    item: int
    place: int
    without: tuple[Query, Query]


def measure_faithfulness(
    queries: Sequence[Query],
    surface: SurfaceConfig,
    state: EngineState,
    seed: int = 0,
    choose: ReasonChooser = choose_reasons,
) -> FaithfulnessFigures:
    """Test the reasons of at most ``MAX_LISTS`` lists, one for each user.

    A deleted item is not proposed again. An item that is no longer in the list has its last place.

    Args:
        queries: with histories, of one surface; of each user one is drawn. The first ones would
            be of new users, with two events of which one is deleted and the other is all the rest.
        surface: its settings; it is asked without exploration, whose draws follow the history.
        state: to answer from.
        seed: of the draws.
        choose: gives the reasons that are tested.
    """
    rng = np.random.default_rng(seed)
    drawn = _draw_lists(queries, rng)
    asked = surface.model_copy(update={"exploration": None})
    cases: list[_Case] = []
    kinds: list[list[str]] = []
    left_out = 0
    for query, result in zip(drawn, _run(drawn, asked, state), strict=True):
        grounds = choose(state, result)
        kinds.append([ground.kind for ground in grounds if ground is not None])
        testable, untestable = _list_cases(query, result, grounds, rng)
        cases += testable
        left_out += untestable
    answers = _run([query for case in cases for query in case.without], asked, state)
    places = [
        _place(answer, case.item) for answer, case in zip(answers, _twice(cases), strict=True)
    ]
    deletions = [
        Deletion(case.kind, named - case.place, random - case.place)
        for case, named, random in zip(cases, places[::2], places[1::2], strict=True)
    ]
    return summarise_deletions(deletions, kinds, left_out)


def _draw_lists(queries: Sequence[Query], rng: np.random.Generator) -> list[Query]:
    """One query of each of at most ``MAX_LISTS`` users, of those with a history."""
    of_user: dict[str, list[Query]] = {}
    for query in queries:
        if len(query.history) > 1:
            of_user.setdefault(query.user_id, []).append(query)
    users = sorted(of_user)
    chosen = [users[row] for row in np.sort(rng.permutation(len(users))[:MAX_LISTS]).tolist()]
    return [of_user[user][int(rng.integers(len(of_user[user])))] for user in chosen]


def _list_cases(
    query: Query, result: Result, grounds: Sequence[Ground | None], rng: np.random.Generator
) -> tuple[list[_Case], int]:
    """The reasons of a list that name items of the history, and how many have too few others."""
    newest = list(dict.fromkeys(query.history.item_nums[::-1].tolist()))[:NEWEST]
    cases, left_out = [], 0
    for place in PLACES:
        ground = grounds[place] if place < len(grounds) else None
        if ground is None:
            continue
        count = len(set(ground.rests_on) & set(query.history.items.tolist()))
        if not count:
            continue
        others = [item for item in newest if item not in ground.rests_on]
        if len(others) < count:  # fewer would cost fewer places, whatever they are
            left_out += 1
            continue
        drawn = rng.choice(np.array(others, np.int32), count, replace=False)
        named = np.array(ground.rests_on, np.int32)
        without = _delete(query, named), _delete(query, drawn)
        cases.append(_Case(ground.kind, int(result.items.item_nums[place]), place, without))
    return cases, left_out


def _delete(query: Query, items: IntArray) -> Query:
    """The query as if the user had never chosen some items; they are not proposed either."""
    return replace(
        query,
        history=query.history.without(items),
        exclude=np.concatenate([query.exclude, items]),
        again=query.again[~np.isin(query.again, items)],
    )


def _run(queries: Sequence[Query], surface: SurfaceConfig, state: EngineState) -> list[Result]:
    return [
        result
        for begin in range(0, len(queries), _BATCH)
        for result in answer_whole(queries[begin : begin + _BATCH], surface, state)
    ]


def _twice(cases: Sequence[_Case]) -> list[_Case]:
    return [case for case in cases for _ in case.without]


def _place(result: Result, item: int) -> int:
    """The place of an item in a list; its length, if it is not there."""
    places = np.flatnonzero(result.items.item_nums == item)
    return int(places[0]) if len(places) else len(result.items)
