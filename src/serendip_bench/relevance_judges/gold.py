"""Pairs of a query and an item that people have judged, and the texts of both.

A query is whatever asks: words that somebody typed, or what somebody's job is called. Texts come
first and pairs later, as some bad pairs are drawn by how near texts are.

Shapes: Q queries, N items, P pairs, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.errors import DataError
from serendip.models.relevance.features import PAIR_FEATURES, ItemTexts, PairFeatures, QueryTexts
from serendip_bench.work_folder import Encode

LEARNED_ONLY = -1
"""Fold of pairs that nothing is judged on."""
EXTRA = -2
"""Fold of further such pairs, with other shares of good and bad: neither threshold nor curve is
chosen by them."""

_LIKENESSES = [at for at, name in enumerate(PAIR_FEATURES) if name.endswith(": likeness")]


@dataclass(frozen=True, slots=True)
class GoldTexts:
    """What is known of queries and items beside any judgement.

    Args:
        queries: Q texts.
        titles: N texts.
        bodies: N texts.
        passages: N lists of further texts.
        letters: of a body that are encoded; None = all. Words are those of the whole.
    """

    queries: list[str]
    titles: list[str]
    bodies: list[str]
    passages: list[list[str]]
    letters: int | None = None

    def whole(self, item: int) -> str:
        """Title and body of an item, for whoever reads them in a row."""
        title, body = self.titles[item], self.bodies[item]
        return body if body.startswith(title) else f"{title}. {body}"

    def encoded(self, encode: Encode) -> tuple[QueryTexts, ItemTexts]:
        """With the vectors of all texts."""
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
    """Judged pairs.

    Args:
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_bad: (P,) what people say.
        fold: (P,) int32 0 .. F - 1: pairs of a fold are judged by models that learned from all
            others; ``LEARNED_ONLY`` and ``EXTRA`` for pairs that nothing is judged on.
        units: (P,) int32 what intervals draw, and what is kept together where pairs are parted.
    """

    queries: IntArray
    items: IntArray
    is_bad: BoolArray
    fold: IntArray
    units: IntArray

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def judged(self) -> BoolArray:
        """(P,) the pairs that models are judged on."""
        mask: BoolArray = self.fold >= 0
        return mask

    def checked(self, source: str) -> GoldPairs:
        """The same, if there is something to learn from and something to judge on.

        Raises:
            DataError: a fold has nothing to learn from or to judge on, or labels of one kind alone.
        """
        folds = np.unique(self.fold[self.judged]).tolist()
        parts = [(~self.judged, "learned from")] if not folds else []
        for fold in folds:
            own = self.fold == fold
            parts += [(own, "judged"), (~own, "learned from")]
        for mask, use in parts:
            kinds = set(self.is_bad[mask].tolist())
            if not mask.any() or (use == "learned from" and len(kinds) < 2):
                raise DataError(
                    f"{source}: of {len(self)} pairs {int(mask.sum())} can be {use}, with "
                    f"{len(kinds)} kinds of labels.",
                    "Bring good and bad pairs of several queries.",
                )
        return self

    def where(self, mask: BoolArray) -> GoldPairs:
        """Some of the pairs (P,)."""
        columns = (self.queries, self.items, self.is_bad, self.fold, self.units)
        return GoldPairs(*(column[mask] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """What queries would be shown, and what could take its place.

    Args:
        pairs: of all lists, one for each query.
        likeness: (P,) what each list is ordered by, the highest first.
    """

    pairs: GoldPairs
    likeness: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ListedGold:
    """Lists to filter, and what is learned for that.

    Args:
        kinds: the lists by the name of their kind.
        lessons: labelled pairs of other such lists; None = filters are the judges of the gold.
    """

    kinds: Mapping[str, Lists]
    lessons: GoldPairs | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Gold:
    """Pairs with everything that features are made of.

    Args:
        texts: of queries and items.
        queries: the same with vectors.
        items: the same with vectors.
        pairs: judged.
        crowd: what features are relative to.
    """

    texts: GoldTexts
    queries: QueryTexts
    items: ItemTexts
    pairs: GoldPairs
    crowd: PairFeatures

    @classmethod
    def of(cls, texts: GoldTexts, queries: QueryTexts, items: ItemTexts, pairs: GoldPairs) -> Gold:
        """With the crowd of all queries and items, which knows nothing of the judgements."""
        return cls(texts, queries, items, pairs, PairFeatures.fit(queries, items))

    def features(self, pairs: GoldPairs) -> FloatArray:
        """(P, F) of pairs of these queries and items."""
        return self.crowd.of(self.queries, self.items, pairs.queries, pairs.items)


def likeness(features: FloatArray) -> FloatArray:
    """(P,) mean cosine of query and item over the views of the item, of features (P, F)."""
    means: FloatArray = features[:, _LIKENESSES].mean(1)
    return means
