"""Engine state: everything that a request reads, as one immutable value.

A request uses one state from its first to its last step. Late items (``data.rows.row_array``) and
deletions make a new state for later requests. A state without any is saved into a generation and
opened from it (``state_parts``).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np

from serendip.content.fusion import TEXT_ONLY, Fusion
from serendip.data import MISSING, Catalogue, Codebooks, Item, ItemFeatures, ItemSet, put_rows
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.events.repeats import Repeats
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import CodeCells
from serendip.data.rules import RuleSet
from serendip.engine.feature_names import REPEAT_FEATURES, context_parts, feature_names
from serendip.models.base import Recommender
from serendip.models.context_counts import ContextCounts
from serendip.models.ranker.model import Ranker
from serendip.models.relevance.model import RelevanceModel
from serendip.search.nonsense import MeaningFloor
from serendip.search.searcher import Searcher
from serendip.search.suggestions.ranker import LogisticModel, prior_ranker
from serendip.search.suggestions.table import QueryTable
from serendip.search.synonyms import Synonyms
from serendip.search.variants import number_late

TYPED_TEXTS = "search"  # these labels serve all surfaces that answer typed texts


# Sets that are kept, the least recently used go first; of those that filters of requests leave
# there may be any number.
_MAX_SETS, _MAX_PASSING = 64, 16
ValueT = TypeVar("ValueT")


class Derived:
    """What requests need of one state besides its own arrays; safe to use from many threads.

    It is computed once, on first use: a request makes no array of the catalogue's length.
    """

    def __init__(self) -> None:
        self._sets: OrderedDict[Hashable, ItemSet] = OrderedDict()
        self._passing: OrderedDict[Hashable, ItemSet] = OrderedDict()
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    def item_set(
        self, key: Hashable, build: Callable[[], BoolArray], is_lasting: bool = True
    ) -> ItemSet:
        """A set of items; ``is_lasting`` = many requests read it, not one that filtered by it."""
        kept, most = (self._sets, _MAX_SETS) if is_lasting else (self._passing, _MAX_PASSING)
        with self._lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        built = ItemSet(build(), is_lasting)
        with self._lock:
            found = kept.setdefault(key, built)
            while len(kept) > most:
                kept.popitem(last=False)
        return found

    def value(self, name: str, compute: Callable[[], ValueT]) -> ValueT:
        """An array or a number of the whole state."""
        if name not in self._values:
            self._values[name] = compute()
        return cast(ValueT, self._values[name])


@dataclass(frozen=True, slots=True, eq=False)
class EngineState:
    """Catalogue, item features and trained models, all aligned by item number.

    Args:
        catalogue: N items, deleted ones included (item numbers never change).
        features: content vectors and semantic IDs.
        codebooks: frozen codebooks, which give new items their semantic IDs.
        ranker: orders candidates; None while its own training rows are computed.
        searcher: word search.
        counts: (N,) int32 interactions per item.
        quality: (N,) float32 share of likes, shrunk towards the catalogue's mean; without any event
            ``catalogue_prior``.
        hidden: (N,) bool, True = must not be shown: deleted, or not available yet.
        cells: finds the items near a new one.
        mean_quality: quality of new items.
        code_names: code prefix (``12`` or ``12-7``) -> readable name.
        fusion: maps text vectors into the space of the content vectors.
        relevance_models: surface of the labels -> what predicts P(irrelevant) of its items.
        relevance_thresholds: surface -> threshold that labels prove and the training decided for.
        queries: verified queries to suggest.
        query_ranker: orders them.
        context: what is known of countries, devices and times of requests.
        repeats: when items that a user chose may come again.
        meaning_floor: how near to a text items are that are found by their meaning alone.
        variants: (N,) int32 number that variants of an item share (``search.variants``).
        reception: how often items were shown and rejected.
        rules: in force.
        derived: what requests need besides, computed on first use.
    """

    catalogue: Catalogue
    features: ItemFeatures
    codebooks: Codebooks
    models: Mapping[str, Recommender]
    ranker: Ranker | None
    searcher: Searcher
    counts: IntArray
    quality: FloatArray
    hidden: BoolArray
    cells: CodeCells
    mean_quality: float
    code_names: Mapping[str, str]
    variants: IntArray
    reception: Reception
    fusion: Fusion = TEXT_ONLY
    relevance_models: Mapping[str, RelevanceModel] = field(default_factory=dict)
    relevance_thresholds: Mapping[str, float] = field(default_factory=dict)
    queries: QueryTable = field(default_factory=QueryTable.empty)
    query_ranker: LogisticModel = field(default_factory=prior_ranker)
    context: ContextCounts = field(default_factory=ContextCounts)
    repeats: Repeats = field(default_factory=Repeats)
    meaning_floor: MeaningFloor = field(default_factory=MeaningFloor)
    rules: RuleSet = field(default_factory=RuleSet)
    derived: Derived = field(default_factory=Derived, init=False)

    @property
    def num_items(self) -> int:
        """N, deleted items included."""
        return len(self.catalogue)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the ranker's features, which depend on the models and on what the data have."""
        return self.derived.value(
            "feature names", lambda: feature_names(self.models, self.repeats.is_on, self.context)
        )

    @property
    def new_items(self) -> ItemSet:
        """Items to explore; see ``Reception``. Those posted since the training are the newest, and
        the only new ones where nobody has chosen any item.
        """
        return self.derived.item_set("new", self._find_new)

    def _find_new(self) -> BoolArray:
        begins = np.array(self.catalogue.available_from)  # (N,)
        posted = begins[self.catalogue.table_size :]
        posted[posted == -np.inf] = np.inf
        shown = np.array(~self.hidden)
        if not self.counts.any():
            shown[: self.catalogue.table_size] = False
        return self.reception.find_new(self.counts, shown, begins)

    def match_id(self, text: str) -> int:
        """Number of the item whose id was typed as a text to search; -1 = none, or it is hidden."""
        number = self.searcher.match_item_id(text, self.catalogue.vocabulary)
        return number if number >= 0 and not self.hidden[number] else MISSING

    def title_vector(self, text: str) -> FloatArray | None:
        """Content vector of the item whose title a text is; None = it is no title."""
        titled = self.searcher.find_titled(text)
        return self.features.content[titled[0]] if len(titled) else None

    def with_late(self, items: Sequence[Item], features: ItemFeatures) -> EngineState:
        """A copy with late items: of known ids with other content, or new; hidden ones are shown.

        Known items keep their counts; new ones have no interactions and the mean quality.
        """
        catalogue, count = self.catalogue.with_late(items), self.num_items
        numbers = catalogue.vocabulary.numbers(item.item_id for item in items)
        late = dict(zip(numbers.tolist(), items, strict=True))
        new = numbers[numbers >= count]
        none = np.zeros(len(new), np.int32)
        near = self.cells.near(features.content, self.features.content)
        features = replace(features, near=near)
        variants = [
            number_late(item, number, None, number)
            if number >= count
            else number_late(item, number, self.catalogue[number], int(self.variants[number]))
            for number, item in late.items()
        ]
        return replace(
            self,
            catalogue=catalogue,
            features=self.features.put(numbers, features),
            models={name: one.with_late(features, numbers) for name, one in self.models.items()},
            searcher=self.searcher.with_late(late),
            relevance_models={
                name: model.without(numbers) for name, model in self.relevance_models.items()
            },
            counts=put_rows(self.counts, new, none),
            quality=put_rows(self.quality, new, none + self.mean_quality),
            hidden=put_rows(self.hidden, numbers, np.zeros_like(numbers)),
            repeats=self.repeats.with_late(numbers, items, features.codes),
            variants=put_rows(self.variants, numbers, np.array(variants, np.int32)),
            reception=self.reception.with_new(new),
        )

    def with_hidden(self, numbers: IntArray) -> EngineState:
        """A copy with items (M,) hidden."""
        if self.hidden[numbers].all():
            return self
        searcher = self.searcher.without_items(numbers.tolist())
        return replace(
            self, searcher=searcher, hidden=put_rows(self.hidden, numbers, np.ones_like(numbers))
        )

    def with_synonyms(self, synonyms: Synonyms) -> EngineState:
        """A copy whose search also finds synonyms of the words of a query."""
        return replace(self, searcher=replace(self.searcher, synonyms=synonyms))

    def with_ranker(self, ranker: Ranker | None) -> EngineState:
        """A copy whose candidates a ranker orders, without what it has not learned of.

        It knows what the older part of the data told: whether items come again, and which parts of
        the context help. Without one only the parts are read that the settings name.
        """
        context, count = self.context, self.num_items
        if ranker is None:
            context = context.only(context.config.named, count)
            return replace(self, ranker=None, context=context)
        learned, repeats = ranker.feature_names, self.repeats
        knows_repeats = not REPEAT_FEATURES.keys().isdisjoint(learned)
        if knows_repeats != repeats.is_on:
            repeats = Repeats.never(count) if knows_repeats else Repeats()
        context = context.with_parts(context_parts(learned), count)
        return replace(self, ranker=ranker, context=context, repeats=repeats)
