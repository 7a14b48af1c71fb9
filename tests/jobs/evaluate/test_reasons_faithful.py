from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from vote_ranker import order_by_votes

from serendip.content.encoders.text import open_encoder
from serendip.data import Item, Query
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import Explainer, Ground
from serendip.engine.explanations.influence import find_influence
from serendip.engine.live.state import ItemUpdater
from serendip.engine.request import Request
from serendip.engine.stages.selection import Result
from serendip.engine.state import EngineState
from serendip.evaluate.lists import FaithfulnessFigures
from serendip.jobs.evaluate.faithfulness import (
    Asked,
    Named,
    NamedEvidence,
    ReasonChooser,
    SourceValue,
    Thing,
    TypedWords,
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
    return found.above >= 0.6


def by_chance(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """Names any item of the history."""
    rng = np.random.default_rng(int(result.items.item_nums[:3].sum()))
    newest = result.query.history.item_nums[-20:]
    return [
        ground and ground._replace(rests_on=(int(rng.choice(newest)),))
        for ground in choose_reasons(state, result)
    ]


def test_the_reasons_pass_and_random_evidence_does_not(reader: Engine) -> None:
    assert passes(measure(reader))
    assert not passes(measure(reader, by_chance))


def nearly_all(state: EngineState, result: Result) -> Sequence[Ground | None]:
    """Names all of the history but one item, against which nothing can be compared."""
    past = tuple(dict.fromkeys(result.query.history.items.tolist()))[1:]
    return [ground and ground._replace(rests_on=past) for ground in choose_reasons(state, result)]


def test_reasons_that_name_more_than_the_rest_are_left_out_and_counted(reader: Engine) -> None:
    figures = measure(reader, nearly_all)
    assert figures.left_out > figures.all.reasons
    assert measure(reader).left_out < figures.left_out


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_reason_told_is_the_ground_chosen(reader: Engine, language: str) -> None:
    answer = reader.recommend(Request("home", "u0", language=language))
    query = reader.queries([Request("home", "u0")])[0]
    (result,) = reader.run([query], "home")
    page = result.items.take(slice(0, 10))
    words = [page.fields[name].tolist() for name in ("title match", "bm25")]
    influence = find_influence(result, reader.state, page)
    items = page.item_nums
    explainer = Explainer(reader.state, result.query, items, language, influence)  # type: ignore[arg-type]
    told = explainer.reasons(*words)
    assert [item.reason for item in answer.items] == [one.text if one else "" for one in told]


def read_with(engine: Engine) -> Callable[[Sequence[Query]], list[Query]]:
    """Queries as the service reads their texts."""

    def read(queries: Sequence[Query]) -> list[Query]:
        return engine.queries([Request("search", one.user_id, one.text) for one in queries])

    return read


class Inverted(NamedEvidence):
    """Takes away something else in place of what is named."""

    def __init__(self, own: NamedEvidence) -> None:
        self._own = own

    def find(self, asked: Asked, ground: Ground, item: int) -> Named:
        named, others = self._own.find(asked, ground, item)
        return Named(others[:1], named) if named and others else Named()

    def take_away(self, asked: Asked, taken: Sequence[Thing]) -> Asked:
        return self._own.take_away(asked, taken)


def require_faithful(engine: Engine, requests: list[Request], evidence: NamedEvidence) -> None:
    """What is named costs more places than something else, and not the other way round."""
    surface = engine.settings.all_surfaces()[requests[0].surface]
    found = [
        measure_faithfulness(engine.queries(requests), surface, engine.state, evidence=[one])
        for one in (evidence, Inverted(evidence))
    ]
    assert [passes(figures) for figures in found] == [True, False]


def test_a_word_that_an_item_has_costs_more_places_than_one_that_it_has_not(reader: Engine) -> None:
    texts = ["horror western", "comedy horror", "western comedy tale", "number horror western"]
    requests = [Request("search", f"u{n}", texts[n % len(texts)]) for n in range(20)]
    require_faithful(reader, requests, TypedWords(read_with(reader)))


def test_words_that_an_item_has_are_named_in_any_form_and_the_others_are_not(
    reader: Engine,
) -> None:
    words = TypedWords(read_with(reader))
    (query,) = reader.queries([Request("search", text="the tales of westerns or comedy")])
    item = reader.state.catalogue.vocabulary.number("i2")  # The western tale number 2
    asked = Asked(query, reader.state)
    ground = Ground(0, "word", 1.0, 1.0, "")
    assert words.find(asked, ground, item) == (["tales"], ["comedy"])
    assert words.find(asked, ground._replace(kind="popular"), item) == ((), ())
    without = words.take_away(asked, ["tales"])
    assert without.query.text == "the of westerns or comedy"
    assert without.query.text_vector is not None


@pytest.fixture
def coloured(engine: Engine) -> Engine:
    """An engine with items that have a colour of their genre's and a place of their own."""
    engine.add_items(
        Item(
            f"c{number}",
            f"Thing {number}",
            attributes={
                "genre": ("red", "blue", "green")[number % 3],
                "places": (f"town {number % 8}", "anywhere"),
            },
        )
        for number in range(48)
    )
    return engine


def updater_of(engine: Engine) -> ItemUpdater:
    content = engine.settings.content
    return ItemUpdater(open_encoder(content), content, engine.settings.token_reader)


def test_a_value_that_is_named_costs_more_places_than_another_one(coloured: Engine) -> None:
    requests = [Request("similar", f"u{n}", item_ids=(f"c{n}",)) for n in range(20)]
    require_faithful(coloured, requests, SourceValue(updater_of(coloured)))
