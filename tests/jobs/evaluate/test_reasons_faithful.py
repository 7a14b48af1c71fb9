"""Without what its reason names an item falls; weak or random evidence does not pass the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from vote_ranker import order_by_votes

from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import Explainer
from serendip.engine.explanations.influence import find_influence
from serendip.engine.explanations.reason_choice import Ground
from serendip.engine.request import Request
from serendip.engine.stages.selection import Result
from serendip.engine.state import EngineState
from serendip.evaluate.faithfulness import FaithfulnessFigures
from serendip.jobs.evaluate.faithfulness import (
    MAX_LISTS,
    PLACES,
    ReasonChooser,
    choose_reasons,
    measure_faithfulness,
)


def measure(engine: Engine, choose: ReasonChooser = choose_reasons) -> FaithfulnessFigures:
    """Figures where the models' votes alone order the lists, so that it is known what moves them.

    A history has items of one genre, which says nothing of any of them: it is short.
    """
    queries = engine.queries([Request("home", f"u{number}") for number in range(40)])
    recent = [replace(query, history=query.history.last(5)) for query in queries]
    surface = engine.settings.all_surfaces()["home"]
    return measure_faithfulness(recent, surface, order_by_votes(engine.state), choose=choose)


def passes(figures: FaithfulnessFigures) -> bool:
    """Whether what the reasons name costs more places than other events for most of them."""
    found = figures.all
    assert found.reasons > 10
    assert found.above is not None
    return found.above >= 0.6


def weakest(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """Names the item of the history whose vote is the smallest, as if votes were sorted upwards."""
    chosen: list[Ground | None] = []
    for ground in choose_reasons(state, result):
        if ground is None or not ground.rests_on:
            chosen.append(ground)
            continue
        model = state.models["transitions"]
        items = np.array([result.items.item_nums[ground.row]], np.int32)
        votes = model.compute_votes(result.query, items)
        assert votes is not None
        context, given = votes
        others = result.query.history.items
        unvoted = others[~np.isin(others, context)]
        least = unvoted[0] if len(unvoted) else context[given[:, 0].argmin()]
        chosen.append(ground._replace(rests_on=(int(least),)))
    return chosen


def by_chance(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """Names any item of the history."""
    rng = np.random.default_rng(int(result.items.item_nums[:3].sum()))
    newest = result.query.history.item_nums[-20:]
    return [
        ground and ground._replace(rests_on=(int(rng.choice(newest)),))
        for ground in choose_reasons(state, result)
    ]


def test_the_reasons_pass_and_weakest_or_random_evidence_does_not(engine: Engine) -> None:
    assert passes(measure(engine))
    assert not passes(measure(engine, weakest))
    assert not passes(measure(engine, by_chance))


def test_as_many_reasons_are_tested_as_lists_have(engine: Engine) -> None:
    figures = measure(engine)
    assert 0 < figures.lists <= MAX_LISTS
    assert 0 < figures.all.reasons <= figures.lists * len(PLACES)
    assert sum(one.reasons for one in figures.by_kind.values()) == figures.all.reasons
    assert figures == measure(engine)


def test_reasons_without_evidence_of_the_history_are_not_tested(engine: Engine) -> None:
    figures = measure(engine, lambda state, result: [None] * 10)
    assert figures.all.reasons == 0
    assert figures.told == {}


def test_any_moment_of_a_user_may_be_asked_not_only_the_first_one(engine: Engine) -> None:
    """Before the first ones there are two events: without one of them the other is the rest."""
    queries = engine.queries([Request("home", f"u{number}") for number in range(40)])
    moments = [
        replace(query, history=query.history.last(size)) for query in queries for size in (2, 4, 6)
    ]
    asked: list[tuple[str, int]] = []

    def note(state: EngineState, result: Result) -> Sequence[Ground | None]:
        asked.append((result.query.user_id, len(result.query.history)))
        return [None] * 10

    home = engine.settings.all_surfaces()["home"]
    figures = measure_faithfulness(moments, home, engine.state, choose=note)
    assert figures.lists == len({user for user, _ in asked}) == len(asked) == len(queries)
    assert {size for _, size in asked} == {2, 4, 6}


def nearly_all(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """Names all of the history but one item, against which nothing can be compared."""
    past = tuple(dict.fromkeys(result.query.history.items.tolist()))[1:]
    return [ground and ground._replace(rests_on=past) for ground in choose_reasons(state, result)]


def test_reasons_that_name_more_than_the_rest_are_left_out_and_counted(engine: Engine) -> None:
    figures = measure(engine, nearly_all)
    assert figures.left_out > figures.all.reasons
    assert measure(engine).left_out < figures.left_out


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_reason_told_is_the_ground_chosen(engine: Engine, language: str) -> None:
    answer = engine.recommend(Request("home", "u0", language=language))
    query = engine.queries([Request("home", "u0")])[0]
    (result,) = engine.run([query], "home")
    page = result.items.take(slice(0, 10))
    words = [page.fields[name].tolist() for name in ("title match", "bm25")]
    influence = find_influence(result, engine.state, page)
    items = page.item_nums
    explainer = Explainer(engine.state, result.query, items, language, influence)  # type: ignore[arg-type]
    assert [item.reason for item in answer.items] == explainer.reasons(*words)
