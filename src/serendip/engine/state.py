"""Engine state: everything that a request reads, as one immutable value.

A request uses one state from its first to its last step. Late items (``data.rows.late_rows``) and
deletions make a new state for later requests. A state without any is saved into a generation and
opened from it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from serendip.content.fusion import TEXT_ONLY, Fusion
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.events.repeats import Repeats
from serendip.data.items.allowed_items import ItemSet
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.code_cells import CodeCells
from serendip.data.items.features import ItemFeatures
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import Codebooks
from serendip.data.rows.late_rows import put_rows
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.engine.feature_names import feature_names
from serendip.errors import ArtefactError
from serendip.models import open_model
from serendip.models.base import Recommender
from serendip.models.context_counts import ContextCounts
from serendip.models.ranker.model import Ranker
from serendip.models.relevance.features import ItemTexts
from serendip.models.relevance.model import LearnedRelevance, RelevanceModel
from serendip.search.logistic import LogisticModel
from serendip.search.nonsense import MeaningFloor
from serendip.search.rewrites import RewriteTable
from serendip.search.searcher import Searcher
from serendip.search.suggestions.ranker import FEATURES, prior_ranker
from serendip.search.suggestions.table import ItemChoices, QueryTable
from serendip.search.synonyms import Synonyms
from serendip.search.values import ValueTable
from serendip.search.variants import number_late

_CATALOGUE_FILE, _IDS, _NUMBERS = "catalogue.arrow", "ids", "numbers"
_FACTS, _QUERIES, _QUERY_RANKER = "facts", "queries", "query-ranker"
_REWRITES, _RELEVANCE, _VALUES = "rewrites", "relevance", "value-names"
# What ``EngineState.save_tables`` writes.
TABLES = (_FACTS, _QUERIES, _QUERY_RANKER, _REWRITES, _RELEVANCE)
_ITEM_TEXTS = "_items"  # texts of items, which all relevance models read
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

    def save(self, folder: Path) -> None:
        """Write everything into an empty folder."""
        self.save_tables(folder)
        for name in _PARTS:
            part: Artefact = getattr(self, name)
            part.save(folder / name)
        self.catalogue.vocabulary.save(folder / _IDS)
        self.catalogue.save(folder / _CATALOGUE_FILE)
        ItemNumbers(self.counts, self.quality, self.variants).save(folder / _NUMBERS)
        for name, model in self.models.items():
            model.save(folder / "models" / name)
        if self.ranker is not None:
            self.ranker.save(folder / "ranker")
        searcher = self.searcher
        searcher.values.save(folder / _VALUES)
        Searcher.build(
            self.catalogue,
            self.counts,
            folder / "search",
            searcher.lexical.fields,
            searcher.searches,
        )

    def save_tables(self, folder: Path) -> None:
        """Write what is made of the models, ``TABLES``."""
        for relevance in [*self.relevance_models.values()][:1]:
            relevance.items.save(folder / _RELEVANCE / _ITEM_TEXTS)
        for name, relevance in self.relevance_models.items():
            relevance.learned.save(folder / _RELEVANCE / name)
        self.queries.save(folder / _QUERIES)
        self.query_ranker.save(folder / _QUERY_RANKER)
        self.searcher.rewrites.save(folder / _REWRITES)
        StateFacts(
            models={name: model.name for name, model in self.models.items()},
            has_ranker=self.ranker is not None,
            relevance_models=tuple(self.relevance_models),
            relevance_thresholds=self.relevance_thresholds,
            code_names=self.code_names,
            mean_quality=self.mean_quality,
            meaning_floor=self.meaning_floor,
        ).save(folder / _FACTS)

    @classmethod
    def open(cls, folder: Path) -> EngineState:
        """Read what ``save`` wrote. The caller has checked the checksums of the generation.

        Raises:
            ArtefactError: another version of the code saved the state, or its parts are of
                different numbers of items or sizes of vectors.
        """
        facts, numbers = StateFacts.open(folder / _FACTS), ItemNumbers.open(folder / _NUMBERS)
        vocabulary = Vocabulary.open(folder / _IDS)
        catalogue = Catalogue.open(folder / _CATALOGUE_FILE, vocabulary)
        parts: dict[str, Any] = {name: kind.open(folder / name) for name, kind in _PARTS.items()}
        rows = {"items": catalogue.available_from, "codes": parts["features"].codes}
        rows |= numbers.stored()
        sizes = {f"rows of {name}": (len(part), len(vocabulary)) for name, part in rows.items()}
        _require_fitting(folder, sizes)
        searcher = Searcher.open(folder / "search", catalogue, numbers.counts)
        rewrites, values = (
            RewriteTable.open(folder / _REWRITES),
            ValueTable.open(folder / "value-names"),
        )
        state = cls(
            catalogue=catalogue,
            models={
                name: open_model(kind, folder / "models" / name)
                for name, kind in facts.models.items()
            },
            ranker=Ranker.open(folder / "ranker") if facts.has_ranker else None,
            searcher=replace(searcher, rewrites=rewrites, values=values),
            hidden=np.zeros(len(catalogue), np.bool_),
            mean_quality=facts.mean_quality,
            code_names=facts.code_names,
            relevance_models=_open_relevance(folder, facts.relevance_models, catalogue),
            relevance_thresholds=facts.relevance_thresholds,
            queries=replace(
                QueryTable.open(folder / _QUERIES), choices=ItemChoices.of(numbers.counts)
            ),
            query_ranker=LogisticModel.open(folder / _QUERY_RANKER).require_names(FEATURES),
            meaning_floor=facts.meaning_floor,
            **numbers.stored(),
            **parts,
        )
        if state.ranker is not None:
            state.ranker.require_features(state.feature_names)
        _require_fitting(folder, state._sizes())
        return state

    def _sizes(self) -> dict[str, tuple[int, int]]:
        features, (levels, _, size) = self.features, self.codebooks.centroids.shape
        parts: dict[str, Sized] = {"content": features.content, "cells": self.cells.items}
        parts |= {} if features.present is None else {"present": features.present}
        parts |= self.reception.stored()
        parts |= {"repeats": self.repeats.after} if self.repeats.is_on else {}
        rows = {f"rows of {name}": len(part) for name, part in parts.items()}
        rows |= {f"items of the model {name}": one.num_items for name, one in self.models.items()}
        return {what: (count, self.num_items) for what, count in rows.items()} | {
            "levels of codes": (features.codes.shape[1], levels),
            "values of a vector": (features.content.shape[1], size),
        }


_PARTS: Mapping[str, type[Artefact]] = {
    "features": ItemFeatures,
    "codebooks": Codebooks,
    "cells": CodeCells,
    "fusion": Fusion,
    "context": ContextCounts,
    "repeats": Repeats,
    "reception": Reception,
}


@dataclass(frozen=True, slots=True, eq=False)
class ItemNumbers(Artefact):
    """Arrays of a state with a row per item; see ``EngineState``."""

    counts: IntArray
    quality: FloatArray
    variants: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class StateFacts(Artefact):
    """What else a state has; see ``EngineState``.

    Args:
        models: name -> name of its class in the registry.
        has_ranker: whether there is one.
        relevance_models: surfaces of their labels.
    """

    models: Mapping[str, str]
    has_ranker: bool
    relevance_models: tuple[str, ...]
    relevance_thresholds: Mapping[str, float]
    code_names: Mapping[str, str]
    mean_quality: float
    meaning_floor: MeaningFloor


def open_code_names(folder: Path) -> Mapping[str, str]:
    """Open only the names of code prefixes of a saved state."""
    return StateFacts.open(folder / _FACTS).code_names


def open_codes(folder: Path) -> tuple[Codebooks, Vocabulary, IntArray]:
    """Open only the codebooks, the item ids and the codes (N, L) of a saved state."""
    vocabulary, features = Vocabulary.open(folder / _IDS), ItemFeatures.open(folder / "features")
    return Codebooks.open(folder / "codebooks"), vocabulary, features.codes


def open_counts(folder: Path) -> tuple[Vocabulary, IntArray]:
    """Open only the item ids and the interactions per item (N,) of a saved state."""
    return Vocabulary.open(folder / _IDS), ItemNumbers.open(folder / _NUMBERS).counts


def _open_relevance(
    folder: Path, labels: Sequence[str], catalogue: Catalogue
) -> dict[str, RelevanceModel]:
    if not labels:
        return {}
    place = folder / _RELEVANCE
    items = ItemTexts.open(place / _ITEM_TEXTS)
    return {name: LearnedRelevance.open(place / name).apply(items, catalogue) for name in labels}


def _require_fitting(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Check that parts are of the same items and sizes.

    Raises:
        ArtefactError: one is not.
    """
    for what, (found, wanted) in sizes.items():
        if found != wanted:
            raise ArtefactError(
                f"the parts of {folder} do not fit together: {found:,} {what} for {wanted:,}.",
                "Run `serendip rollback`, or train again.",
            )
