"""What the newest items of a history do for the values of shown items: each is left out in turn.

The ranker is asked again with the features that an item would have without one item of the history
(leave one out). Scores of models that give votes, similarities of content and semantic IDs follow
from the votes; scores of other models, of which an encoder would have to read the history again,
are taken to stay as they are. The value is that of the surface: its weights of actions, and its
value of items.

Shapes: T newest items of the history, C shown items, F features, M items of a model's context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from serendip.data import BoolArray, FloatArray, IntArray, ItemList, Query
from serendip.data.items.semantic_ids import common_prefix
from serendip.engine.feature_names import relative_name
from serendip.engine.stages.base import FIRST
from serendip.engine.stages.features import CODE_HISTORY
from serendip.engine.stages.scoring import may_order, predict_actions, weigh_actions
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import RANKER
from serendip.engine.state import EngineState
from serendip.models.base import Recommender
from serendip.models.context import compute_context_weights, compute_growth_without

NOTICED = 0.85  # share of the value from which on its loss is noticed in full
NEWEST = 8  # distinct items of a history that are left out in turn


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """What the items of a context add to the scores of a model.

    Args:
        context: (M,) int32 items.
        given: (M, C) their votes.
    """

    context: IntArray
    given: FloatArray


@dataclass(frozen=True, eq=False)
class Influence:
    """What values lose without one of the newest items of the history.

    Args:
        items: (T,) int32, newest first.
        losses: (T, C) share of the value; below 0 = the value grows.
        votes: model -> its votes for the C items.
    """

    items: IntArray
    losses: FloatArray
    votes: Mapping[str, Votes] = field(default_factory=dict)

    def strengths(self, items: IntArray) -> FloatArray:
        """(M, C) strengths in [0, 1] of some items as grounds; 0 for those not left out.

        1 = no other item of the history does more for the value, and it is noticed.
        """
        same = items[:, None] == self.items[None]  # (M, T)
        losses: FloatArray = same.astype(np.float32) @ self.losses
        strengths: FloatArray = np.maximum(losses * self._scale, 0.0)
        return strengths

    def strengths_of_set(self, items: Sequence[int], size: int) -> FloatArray:
        """(C,) strengths of several items together, beyond as many random ones of ``size``.

        What all of them have says nothing of any of them: its strength is 0.
        """
        named = self.losses[np.isin(self.items, items)].sum(0)  # (C,)
        most = max(size, len(self.items))
        chance = self.losses.sum(0) * (len(items) / most)  # (C,)
        strengths: FloatArray = np.clip((named - chance) * self._scale, 0.0, 1.0)
        return strengths

    @cached_property
    def _scale(self) -> FloatArray:
        largest = np.maximum(self.losses.max(0), 1e-9)
        # (C,), from a loss to a strength.
        scale: FloatArray = np.minimum(largest / NOTICED, 1.0) / largest
        return scale


def measure_influence(
    result: Result, state: EngineState, items: IntArray, features: FloatArray
) -> Influence | None:
    """Leave out each of the newest items; None where no ranker orders by a history.

    What is measured of an item does not depend on the other ones.

    Of the request, the history decides, without a text and source items; the first items of the
    result stand for the best of the catalogue. Features are (C, F).
    """
    query, surface, ranker = result.query, result.surface, state.ranker
    if query.text or len(query.source_items) or len(query.history) < 2 or not len(items):
        return None
    if ranker is None or surface.scorer != RANKER or not may_order(ranker, surface):
        return None
    newest = dict.fromkeys(query.history.item_nums[::-1].tolist())
    left_out = np.array([*newest][:NEWEST], np.int32)  # (T,)
    first = result.items.take(slice(0, FIRST))
    first_features = _read_features(first, state)
    if first_features is None or not len(first):
        return None
    others = ~np.isin(first.item_nums, items)
    shown = np.concatenate([items, first.item_nums[others]])  # (C + O,)
    both = np.concatenate([features, first_features[others]])  # (C + O, F)
    rows = _FeaturesWithout(query, state, shown, left_out, both)
    rows.change_scores(np.isin(shown, first.item_nums))
    rows.change_content()
    rows.change_codes()
    table = rows.table[:, : len(items)].reshape(-1, features.shape[1])  # ((T + 1) * C, F)
    chances = predict_actions(ranker, surface.task, table)
    asked = np.tile(items, len(left_out) + 1)  # ((T + 1) * C,)
    values = weigh_actions(chances, ranker, surface, state, asked)
    values = values.reshape(len(left_out) + 1, -1)  # (T + 1, C)
    losses = (values[0] - values[1:]) / np.maximum(np.abs(values[0]), 1e-9)
    own = {name: Votes(one.context, one.given[:, : len(items)]) for name, one in rows.votes.items()}
    return Influence(left_out, losses.astype(np.float32), own)


def find_influence(result: Result, state: EngineState, page: ItemList) -> Influence | None:
    """``measure_influence`` on the items of a page; None if the ranker has not ordered them."""
    features = _read_features(page, state)
    return None if features is None else measure_influence(result, state, page.item_nums, features)


def _read_features(items: ItemList, state: EngineState) -> FloatArray | None:
    names = state.feature_names
    if not all(name in items.fields for name in names):
        return None
    features = np.empty((len(items), len(names)), np.float32)
    for column, name in enumerate(names):
        features[:, column] = items.fields[name]
    return features


class _FeaturesWithout:
    """Features of the items with the whole history (row 0), and without each of T items.

    Args:
        items: (C,) shown items.
        left_out: (T,) items of the history.
        features: (C, F) with the whole history.
    """

    def __init__(
        self,
        query: Query,
        state: EngineState,
        items: IntArray,
        left_out: IntArray,
        features: FloatArray,
    ) -> None:
        self._query, self._state, self._items, self._left_out = query, state, items, left_out
        self._places = {name: column for column, name in enumerate(state.feature_names)}
        self.table = np.repeat(features[None], len(left_out) + 1, 0)  # (T + 1, C, F)
        self.votes: dict[str, Votes] = {}

    def change_scores(self, is_first: BoolArray) -> None:
        """Scores of the models that give votes.

        Items of which ``is_first`` (C,) is True stand for the best of the catalogue: it is taken to
        lose as the best of these does.
        """
        for name, model in self._state.models.items():
            if name not in self._places or model.evidence is None:
                continue
            given = model.compute_votes(self._query, self._items)
            if given is None or not len(given[0]):
                continue
            votes = self.votes[name] = Votes(*given)
            if model.score_kind == "count":
                self._change_count(name, model, votes, is_first)
            else:
                self._change_mean(name, model, votes, is_first)

    def _change_count(
        self, name: str, model: Recommender, votes: Votes, is_first: BoolArray
    ) -> None:
        """A sum of votes: log(1 + sum), and its ratio to the best item of the catalogue."""
        growth = compute_growth_without(
            self._query.history, votes.context, self._left_out, model.decay
        )
        before = np.maximum(votes.given.sum(0), 1e-12)  # (C,)
        ratios = (growth @ votes.given) / before  # (T, C)
        score, relative = self._places[name], self._places[relative_name(name)]
        scores = np.expm1(self.table[0, :, score])  # (C,)
        self.table[1:, :, score] = np.log1p(scores * ratios)
        first = scores[is_first]  # (O,)
        best = (first * ratios[:, is_first]).max(1) / max(float(first.max()), 1e-12)  # (T,)
        self.table[1:, :, relative] *= ratios / np.maximum(best, 1e-9)[:, None]

    def _change_mean(
        self, name: str, model: Recommender, votes: Votes, is_first: BoolArray
    ) -> None:
        """A mean of votes by the weights of the context, and its difference to the best item."""
        context, weights = compute_context_weights(self._query, self._state.num_items, model.decay)
        if not np.array_equal(context, votes.context):
            return
        growth = compute_growth_without(self._query.history, context, self._left_out, model.decay)
        grown = growth * weights  # (T, M)
        means = grown @ votes.given / np.maximum(grown.sum(1), 1e-12)[:, None]  # (T, C)
        before = weights @ votes.given / max(float(weights.sum()), 1e-12)  # (C,)
        score, relative = self._places[name], self._places[relative_name(name)]
        self.table[1:, :, score] += means - before
        best = means[:, is_first].max(1) - before[is_first].max()  # (T,)
        self.table[1:, :, relative] += means - before - best[:, None]

    def change_content(self) -> None:
        if len(self._left_out) > 1:
            content = self._state.features.content
            cosines = content[self._items] @ content[int(self._left_out[1])]  # (C,)
            self.table[1, :, self._places["last item cosine"]] = cosines

    def change_codes(self) -> None:
        codes, newest = self._state.features.codes, self._query.history.item_nums[-CODE_HISTORY:]
        shared = common_prefix(codes[self._items][:, None], codes[newest][None])  # (C, H)
        kept = self._left_out[:, None] != newest[None]  # (T, H)
        best = np.where(kept[:, None], shared[None], 0).max(2)  # (T, C)
        self.table[1:, :, self._places["best code match"]] = best
        means = kept @ shared.T / np.maximum(kept.sum(1), 1)[:, None]  # (T, C)
        self.table[1:, :, self._places["mean code match"]] = means
