"""Gold labels: query-item pairs labelled by people, with the texts of both.

A query is a text that somebody typed, or a job title. Texts are read first and pairs are drawn
later, as some irrelevant pairs are chosen by the similarity of their texts.

The labels are split once, by a seeded hash: on the part ``dev`` features and settings are chosen,
the part ``test`` is reported and nothing is chosen on it.

Shapes: Q queries, N items, P pairs, K folds, F features, C size of a text vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray, take_rows
from serendip.errors import DataError
from serendip.models.relevance.features import PAIR_FEATURES, ItemTexts, PairFeatures, QueryTexts

TRAIN_ONLY = -1
"""Fold of pairs that are for training only."""

EXTRA = -2
"""Fold of further training pairs, whose share of irrelevant items is not that of the gold labels:
neither threshold nor calibration is fitted on them."""

Part = Literal["dev", "test"]

SPLIT_SEED = "serendip gold 1"


def is_in_part(names: Sequence[str], part: Part) -> BoolArray:
    """(n,) which names are of a part: half of all, whatever the other names are."""
    digests = [hashlib.sha256(f"{SPLIT_SEED}\0{name}".encode()).digest() for name in names]
    is_dev = np.array([digest[0] % 2 == 0 for digest in digests], np.bool_)
    return is_dev if part == "dev" else ~is_dev


@dataclass(frozen=True, slots=True)
class GoldTexts:
    """Texts of queries and items, without labels.

    Args:
        queries: Q texts.
        titles: N texts.
        bodies: N texts.
        passages: N lists of further texts.
        letters: number of letters of a body that are encoded; None = all. Words are those of the
            whole body.
    """

    queries: list[str]
    titles: list[str]
    bodies: list[str]
    passages: list[list[str]]
    letters: int | None = None

    def encode(self, encode: Callable[[Sequence[str]], FloatArray]) -> tuple[QueryTexts, ItemTexts]:
        """Queries and items with the vectors of their texts."""
        items = ItemTexts.of(
            list(zip(self.titles, self.bodies, self.passages, strict=True)),
            encode(self.titles),
            encode([body[: self.letters] for body in self.bodies]),
            encode(list(chain.from_iterable(self.passages))),
            np.cumsum([0, *map(len, self.passages)]),
        )
        return QueryTexts.of(self.queries, encode(self.queries)), items


@dataclass(frozen=True, slots=True, eq=False)
class GoldPairs:
    """Labelled pairs.

    Args:
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_irrelevant: (P,) labels by people.
        fold: (P,) int32 0 .. K - 1: a fold is tested by judges trained on all other pairs;
            ``TRAIN_ONLY`` and ``EXTRA`` are never tested.
        groups: (P,) int32 groups that intervals resample and that splits keep together.
        in_part: (P,) pairs of the part that figures are about.
        features: (P, F), once computed.
    """

    queries: IntArray
    items: IntArray
    is_irrelevant: BoolArray
    fold: IntArray
    groups: IntArray
    in_part: BoolArray
    features: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def is_test(self) -> BoolArray:
        """(P,) the pairs that judges are tested on."""
        mask: BoolArray = self.fold >= 0
        return mask

    @property
    def is_counted(self) -> BoolArray:
        """(P,) the tested pairs that figures are about."""
        return self.is_test & self.in_part

    def check(self, source: str) -> GoldPairs:
        """The pairs, if each fold can be trained for and tested.

        Raises:
            DataError: a fold has no pairs to train on or to test, or training labels of one kind.
        """
        folds = np.unique(self.fold[self.is_test]).tolist()
        parts = [(~self.is_test, "trained on")] if not folds else []
        for fold in folds:
            is_fold = self.fold == fold
            parts += [(is_fold, "tested"), (~is_fold, "trained on")]
        for mask, use in parts:
            kinds = set(self.is_irrelevant[mask].tolist())
            if not mask.any() or (use == "trained on" and len(kinds) < 2):
                raise DataError(
                    f"{source}: of {len(self)} pairs {int(mask.sum())} can be {use}, with "
                    f"{len(kinds)} kinds of labels.",
                    "Add relevant and irrelevant pairs of several queries.",
                )
        return self

    def where(self, mask: BoolArray) -> GoldPairs:
        """The pairs of a mask (P,)."""
        return take_rows(self, mask)


@dataclass(frozen=True, slots=True, eq=False)
class RankedSlates:
    """Slates to filter: their first positions are shown, the others replace what is removed.

    Args:
        pairs: of all slates, one slate per query.
        similarity: (P,) by which each slate is ranked, the highest first.
        chooses: (P,) pairs of the slates that a threshold would be chosen on; the others measure.
    """

    pairs: GoldPairs
    similarity: FloatArray
    chooses: BoolArray

    @classmethod
    def of(
        cls, pairs: GoldPairs, similarity: FloatArray, chooses: BoolArray | None = None
    ) -> RankedSlates:
        """Slates of which half of the groups choose, unless others do."""
        if chooses is None:
            groups, group_of = np.unique(pairs.groups, return_inverse=True)
            chooses = np.random.default_rng(0).permutation(len(groups))[group_of] % 2 == 0
        return cls(pairs, similarity, chooses)


@dataclass(frozen=True, slots=True, eq=False)
class Gold:
    """Gold labels with everything that features are computed from.

    Args:
        pair_features: fitted on all queries and items, without labels.
    """

    queries: QueryTexts
    items: ItemTexts
    pairs: GoldPairs
    pair_features: PairFeatures

    @classmethod
    def of(cls, queries: QueryTexts, items: ItemTexts, pairs: GoldPairs) -> Gold:
        """With the features of all pairs."""
        features = PairFeatures.fit(queries, items)
        gold = cls(queries, items, pairs, features)
        return replace(gold, pairs=gold.with_features(pairs))

    def with_features(self, pairs: GoldPairs) -> GoldPairs:
        """Pairs of these queries and items with their features."""
        found = self.pair_features.compute(self.queries, self.items, pairs.queries, pairs.items)
        return replace(pairs, features=found)


class GoldSource(Protocol):
    """Gold labels of a folder, before texts are encoded."""

    @property
    def texts(self) -> GoldTexts:
        """Of queries and items."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """All files that were read."""
        ...

    def draw_pairs(self, queries: QueryTexts, items: ItemTexts) -> GoldPairs:
        """Labelled pairs, some chosen by vectors."""
        ...

    def rank_slates(self, gold: Gold) -> tuple[Mapping[str, RankedSlates], GoldPairs | None]:
        """Slates to filter by the name of their kind, and training examples of filters.

        Without examples filters are the judges that were trained on the gold labels.
        """
        ...


_SIMILARITIES = [at for at, name in enumerate(PAIR_FEATURES) if name.endswith(": similarity")]


def mean_similarity(features: FloatArray) -> FloatArray:
    """(P,) mean cosine of query and item over the item's views, of features (P, F)."""
    means: FloatArray = features[:, _SIMILARITIES].mean(1)
    return means
