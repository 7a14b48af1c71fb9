"""The served suggestions, in time: generations that each know only what was before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.search_log import Search
from serendip.data.semantic_ids import Codebooks
from serendip.engine.query_suggestions import QuerySuggester, UserContext, build_user
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.jobs.search_log import Log
from serendip.jobs.suggestions.build import SuggestionBuilder
from serendip.jobs.suggestions.ranker_data import train_query_ranker
from serendip.runtime.progress import SilentProgress
from serendip.search.searcher import Searcher
from serendip.search.suggestions.completions import Suggester
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.ranker import RECENT, QueryRanker, SuggestionUser
from serendip_bench.datasets.movielens import Target


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to suggest.

    Args:
        name: in results.
        config: sources and tests.
        learns: whether the order is learned; else it is the prior's.
        knows_users: whether a user's past is read.
    """

    name: str
    config: QueriesConfig
    learns: bool = True
    knows_users: bool = True


class World:
    """Films, ratings, tags and vectors of one folder.

    Args:
        dataset: with all ratings; parts of it are read up to a moment.
        searches: taggings, in order of time.
        vectors: (N, D) unit vectors of the films.
        folder: of the word index.
    """

    def __init__(
        self, dataset: Dataset, searches: Sequence[Search], vectors: FloatArray, folder: Path
    ) -> None:
        self.dataset, self.searches, self.vectors = dataset, searches, vectors
        # Titles are put in order by popularity, which nobody knew before the first tag.
        unknown = np.zeros(dataset.num_items, np.float32)
        self.searcher = Searcher.build(dataset.catalogue, unknown, folder)
        self._suggester = Suggester.of(dataset.catalogue.items, self.searcher)

    def before(self, moment: float) -> tuple[Dataset, list[Search]]:
        """What had happened by then."""
        events = self.dataset.events
        known = replace(self.dataset, events=events.rows(events.timestamps < moment), _by_user={})
        return known, [one for one in self.searches if one.timestamp < moment]

    def builder(self, config: QueriesConfig, moment: float) -> SuggestionBuilder:
        """For all generations from a moment on."""
        counts = self.before(moment)[0].item_counts()
        return SuggestionBuilder(self.dataset.catalogue, counts, self.searcher, config)

    def generation(
        self, variant: Variant, builder: SuggestionBuilder, moment: float, seed: int
    ) -> EngineState:
        """What would have been published at a moment, as far as it suggests."""
        dataset, searches = self.before(moment)
        table = builder.build(searches, SilentProgress()).table
        ranker = QueryRanker.prior()
        if variant.learns:
            ranker = train_query_ranker(table, self.searcher.titles, Log(dataset, searches), seed)
        count = dataset.num_items
        return EngineState(
            catalogue=dataset.catalogue,
            features=ItemFeatures(self.vectors, np.zeros((count, 1), np.int32), 1),
            codebooks=Codebooks(np.zeros((1, 1, self.vectors.shape[1]), np.float32)),
            models={},
            ranker=None,
            searcher=self.searcher,
            suggester=self._suggester,
            counts=dataset.item_counts(),
            quality=np.zeros(count, np.float32),
            hidden=np.zeros(count, np.bool_),
            code_names={},
            queries=table,
            query_ranker=ranker,
        )

    def asker(self, target: Target, state: EngineState) -> tuple[SuggestionUser, UserContext]:
        """The user of a target, as of its moment."""
        number = self.dataset.users.number(target.user_id)
        past = self.dataset.history(number).before(target.timestamp)
        own = [
            one.text
            for one in self.searches
            if one.user_id == target.user_id and one.timestamp < target.timestamp
        ]
        searched = list(dict.fromkeys(own[::-1]))
        return build_user(state, past, self._taste(past.item_nums), searched)

    def _taste(self, history: IntArray) -> FloatArray:
        """(N,) likeness of the films to the last ones chosen, in deviations from the mean."""
        if not len(history):
            return np.empty(0, np.float32)
        scores = self.vectors @ self.vectors[history[-RECENT:]].mean(0)
        spread = float(scores.std()) or 1.0
        taste: FloatArray = ((scores - scores.mean()) / spread).astype(np.float32)
        return taste


def suggested(
    suggester: QuerySuggester,
    state: EngineState,
    asked: tuple[SuggestionUser, UserContext],
    typed: str,
    k: int,
) -> list[str]:
    """Texts of the first k suggestions, as they are served."""
    asker, past = asked
    if typed:
        found = suggester.complete(state, Request(text=typed, k=k), asker, past)
    else:
        found = suggester.recommend(state, Request(k=k), asker, past)
    return [one.text for one in found]
