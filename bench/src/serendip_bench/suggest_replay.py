"""Replay of query suggestions over time: each generation is built from earlier data only.

Shapes: N films, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np

from serendip.data import (
    AllowedItems,
    Codebooks,
    Dataset,
    FloatArray,
    History,
    IntArray,
    ItemFeatures,
    ItemList,
)
from serendip.data.events.search_log import Search
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import CodeCells
from serendip.engine.query_suggestions import QuerySuggester, build_user
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.jobs.context import Log
from serendip.jobs.suggestions.build import build_table
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.runtime.progress import SilentProgress
from serendip.search.config import QueriesConfig
from serendip.search.names import ValueTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate, catalogue_candidates
from serendip.search.suggestions.ranker import RECENT, SuggestionUser
from serendip.search.suggestions.table import QueryTable
from serendip_bench.suggest_sets import QueryCounts, SuggestData, Target, filter_public

TableBuilder: TypeAlias = Callable[[Dataset, Sequence[Search]], QueryTable]
"""Builds the suggestions of a generation from the events and searches before it."""


class KnownSearches(Searcher):
    """A searcher that keeps what each text finds: generations verify the same queries."""

    @cached_property
    def _found(self) -> dict[tuple[str, int], ItemList]:
        return {}

    def search(
        self, text: str, k: int, allowed: AllowedItems | None = None, literal: bool = False
    ) -> ItemList:
        """See ``Searcher.search``."""
        if (text, k) not in self._found:
            self._found[text, k] = super().search(text, k)
        return self._found[text, k]


class SuggestReplay:
    """A set of searches, with vectors of the items.

    Args:
        vectors: (N, D) unit vectors of the items.
    """

    def __init__(self, data: SuggestData, vectors: FloatArray, folder: Path) -> None:
        dataset = data.dataset
        self.data, self.dataset, self.searches, self.vectors = data, dataset, data.searches, vectors
        # Titles are ordered by popularity, which is unknown before the first search.
        unknown = np.zeros(dataset.num_items, np.float32)
        self.searcher = Searcher.build(dataset.catalogue, unknown, folder)
        self._served = replace(self.searcher, values=ValueTable.of(dataset.catalogue.items))
        self._of_user: dict[str, list[Search]] = {}
        for search in data.searches:
            self._of_user.setdefault(search.user_id, []).append(search)
        self._answered: dict[str, bool] = {}
        self._counts: dict[tuple[float, int], QueryCounts] = {}
        self._known = KnownSearches(
            **{one.name: getattr(self.searcher, one.name) for one in fields(Searcher)}
        )
        self._candidates: dict[tuple[float, str], list[Candidate]] = {}

    def has_results(self, text: str) -> bool:
        """Whether a search finds anything."""
        if text not in self._answered:
            self._answered[text] = len(self.searcher.search(text, 1)) > 0
        return self._answered[text]

    def find_own(self, target: Target) -> list[Search]:
        """Searches of the user of a target before it, by time."""
        found = self._of_user.get(target.user_id, [])
        return [search for search in found if search.timestamp < target.timestamp]

    def find_history(self, target: Target) -> History:
        """Events of the user of a target before it."""
        number = self.dataset.users.number(target.user_id)
        return self.dataset.history(number).before(target.timestamp)

    def count_queries(self, target: Target, min_users: int) -> QueryCounts:
        """Counts of what others searched before a target; of held-out users nothing is known."""
        moment = min(target.timestamp, self.data.held_out_from)
        user = "" if moment < target.timestamp else target.user_id
        key = (moment, min_users)
        if key not in self._counts:
            before = filter_public(self.before(moment)[1], min_users)
            others = [search for search in before if search.user_id != user]
            self._counts = {key: QueryCounts(before, others)}
        return self._counts[key]

    def before(self, moment: float) -> tuple[Dataset, list[Search]]:
        """Events and searches before a moment."""
        events = self.dataset.events
        dataset = replace(self.dataset, events=events.rows(events.timestamps < moment))
        return dataset, [search for search in self.searches if search.timestamp < moment]

    def open_builder(self, config: QueriesConfig, moment: float) -> TableBuilder:
        """A builder of suggestions for generations from a moment on.

        Variants share the candidates of the catalogue and what the verifier has found: neither
        depends on the log that a generation reads, nor on how many people searched a query.
        """
        catalogue, searcher = self.dataset.catalogue, self._known
        origin = moment, config.model_dump_json(exclude={"min_users"})
        if origin not in self._candidates:
            counts = self.before(moment)[0].item_counts().astype(np.float32)
            self._candidates[origin] = catalogue_candidates(catalogue, counts, config)
        candidates, progress = self._candidates[origin], SilentProgress()

        def build(dataset: Dataset, searches: Sequence[Search]) -> QueryTable:
            counts = dataset.item_counts()
            parts = (catalogue, candidates, searcher, config, counts, searches, progress)
            return build_table(*parts)[0]

        return build

    def build_generation(self, build: TableBuilder, moment: float, seed: int) -> EngineState:
        """The state of a generation published at a moment, with the parts that suggestions need."""
        dataset, searches = self.before(moment)
        table = build(dataset, searches)
        ranker = train_query_ranker(table, self.searcher.titles, Log(dataset, searches), seed)
        count = dataset.num_items
        codes = np.zeros((count, 1), np.int32)
        codebooks = Codebooks(np.zeros((1, 1, self.vectors.shape[1]), np.float32))
        return EngineState(
            catalogue=dataset.catalogue,
            features=ItemFeatures(self.vectors, codes, 1),
            codebooks=codebooks,
            models={},
            ranker=None,
            searcher=self._served,
            counts=dataset.item_counts(),
            quality=np.zeros(count, np.float32),
            hidden=np.zeros(count, np.bool_),
            cells=CodeCells.of(codes, codebooks),
            mean_quality=0.0,
            code_names={},
            variants=np.arange(count, dtype=np.int32),
            reception=Reception.none(count),
            queries=table,
            query_ranker=ranker,
        )

    def build_user_features(self, target: Target, state: EngineState) -> SuggestionUser:
        """The user of a target, at its moment."""
        history = self.find_history(target)
        searches = [search.text for search in self.find_own(target)][::-1]
        return build_user(state, history, self._score_films(history.item_nums), searches)

    def _score_films(self, history: IntArray) -> FloatArray:
        """(N,) standardised similarity of the films to the last chosen ones."""
        if not len(history):
            return np.empty(0, np.float32)
        scores = self.vectors @ self.vectors[history[-RECENT:]].mean(0)  # (N,)
        spread = float(scores.std()) or 1.0
        taste: FloatArray = ((scores - scores.mean()) / spread).astype(np.float32)
        return taste


def list_suggestions(
    state: EngineState, config: QueriesConfig, user: SuggestionUser, typed: str, k: int
) -> list[str]:
    """Texts of the first k suggestions, as served."""
    suggester = QuerySuggester(state, config, Request(text=typed, k=k), user)
    suggestions = suggester.complete() if typed else suggester.recommend()
    return [suggestion.text for suggestion in suggestions]
