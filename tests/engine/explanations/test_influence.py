from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from vote_ranker import VoteRanker, order_by_votes

from serendip.data import FloatArray, History, IntArray, Query
from serendip.engine.engine import Engine
from serendip.engine.explanations.influence import (
    NEWEST,
    NOTICED,
    Influence,
    find_influence,
    measure_influence,
)
from serendip.engine.request import Request
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.features import feature_matrix
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.stages.selection import Result


def features_of_page(engine: Engine, query: Query, items: IntArray) -> FloatArray:
    batch = Batch.of([query], engine.settings.all_surfaces()["home"], engine.state, [])
    return feature_matrix(batch, Candidates(np.zeros(len(items), np.int32), items))


def result_of(engine: Engine, query: Query, **surface: object) -> Result:
    """The list of a query on home, as if that had other settings."""
    home = engine.settings.all_surfaces()["home"]
    (result,) = answer_queries([query], home, engine.state)
    return replace(result, query=query, surface=home.model_copy(update=surface))


def test_losses_are_those_of_a_request_without_the_item(reader: Engine) -> None:
    state = order_by_votes(reader.state)
    (query,) = reader.queries([Request("home", "u3")])
    query = replace(query, history=query.history.last(7))
    items = np.setdiff1d(np.arange(40, dtype=np.int32), query.history.items)[:10]
    features = features_of_page(reader, query, items)
    found = measure_influence(result_of(reader, query), state, items, features)
    assert found is not None and state.ranker is not None
    assert found.items.tolist() == list(dict.fromkeys(query.history.item_nums[::-1].tolist()))
    assert set(found.votes) == {"transitions", "item-knn", "content"}

    def values(history: History) -> FloatArray:
        features = features_of_page(reader, replace(query, history=history), items)
        return state.ranker.predict(features, np.zeros(len(items), np.int64))[:, 0]

    whole = values(query.history)
    for left_out, losses in zip(found.items, found.losses, strict=True):
        without = values(query.history.without(np.array([left_out])))
        assert losses == pytest.approx(1 - without / whole, abs=1e-4)
    assert np.ptp(found.losses) > 0.2


def test_similarities_and_codes_are_those_without_the_item(reader: Engine) -> None:
    (query,) = reader.queries([Request("home", "u3")])
    query = replace(query, history=query.history.last(7))
    items = np.setdiff1d(np.arange(40, dtype=np.int32), query.history.items)[:10]
    names = reader.state.feature_names
    exact = ("content", "last item cosine", "best code match", "mean code match")
    columns = [names.index(name) for name in exact]
    state = order_by_votes(reader.state)
    assert isinstance(state.ranker, VoteRanker)
    whole = features_of_page(reader, query, items)
    found = measure_influence(result_of(reader, query), state, items, whole)
    tables = state.ranker.asked[0].reshape(len(found.items) + 1, len(items), -1)
    assert tables[0] == pytest.approx(whole, nan_ok=True)
    for left_out, table in zip(found.items, tables[1:], strict=True):
        without = query.history.without(np.array([left_out]))
        asked = features_of_page(reader, replace(query, history=without), items)
        assert table[:, columns] == pytest.approx(asked[:, columns], abs=1e-4)


class TwoActions(VoteRanker):
    """Predicts ``interact`` by transitions, ``like`` by what is left of them for the best item."""

    def predict(self, features: FloatArray, task: NDArray[np.integer]) -> FloatArray:
        names = self.names
        interact = np.expm1(features[:, names.index("transitions")])
        like = features[:, names.index("transitions relative")]
        chances = {"interact": 0.01 + interact, "like": 0.01 + like}
        none = np.zeros(len(features))
        return np.column_stack([chances.get(action, none) for action in self.config.actions])


def test_losses_are_of_the_value_to_the_surface(reader: Engine) -> None:
    state = replace(reader.state, ranker=TwoActions(reader.state.feature_names))
    (query,) = reader.queries([Request("home", "u3")])

    def losses(**surface: object) -> FloatArray:
        result = result_of(reader, query, **surface)
        found = find_influence(result, state, result.items.take(slice(0, 5)))
        return found.losses

    interact, like = (losses(action_weights={name: 1.0}) for name in ("interact", "like"))
    assert np.abs(interact - like).max() > 0.01
    assert losses(action_weights={"interact": 2.0}) == pytest.approx(interact, abs=1e-5)
    both = losses(action_weights={"interact": 1.0, "like": 1.0})
    assert np.abs(both - interact).max() > 0.001
    # Where an action lowers the value, what raises it is a gain.
    assert losses(action_weights={"interact": -1.0}) == pytest.approx(-interact, abs=1e-5)


def test_strengths_compare_with_the_item_that_matters_most() -> None:
    items = np.array([5, 9, 2], np.int32)
    losses = np.array([[0.6, 0.15], [0.3, -0.1], [0.0, 0.0]], np.float32)
    influence = Influence(items, losses)
    asked = np.array([9, 5, 7], np.int32)
    # From a loss of NOTICED on a ground is as strong as can be; smaller ones are weaker.
    expected = np.array([[0.3, 0.0], [0.6, 0.15], [0.0, 0.0]]) / NOTICED
    assert influence.strengths(asked) == pytest.approx(expected, abs=1e-6)
    # Of 6 items 2 would lose .3 by chance; these lose .9.
    assert influence.strengths_of_set((5, 9), 6)[0] == pytest.approx(0.6 / NOTICED)
    assert influence.strengths_of_set((9, 2), 6)[0] == 0.0
    assert influence.strengths_of_set((5,), 6)[0] == pytest.approx((0.6 - 0.15) / NOTICED)
    # What all newest items have moves nothing more than what random ones have.
    assert influence.strengths_of_set((5, 9, 2), 3)[0] == pytest.approx(0.0, abs=1e-6)
    large = Influence(items, losses + np.float32([[0.3], [0], [0]]))
    assert large.strengths(asked)[1, 0] == 1.0
    assert NEWEST > len(items)
