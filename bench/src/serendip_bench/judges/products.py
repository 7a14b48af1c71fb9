"""Judged products as gold labels: is a product irrelevant to a search query?

Label I is irrelevant, E, S and C (exact, substitute, complement) are relevant. Queries are split
into folds, so that every pair is tested by a judge that was not trained on its query.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serendip.models.relevance.features import ItemTexts, QueryTexts
from serendip_bench.datasets.products import PRODUCT_FILES, read_judgements, read_products
from serendip_bench.judges.gold import (
    Gold,
    GoldPairs,
    GoldTexts,
    Part,
    RankedSlates,
    is_in_part,
    mean_similarity,
)

FOLDS = 5
LETTERS = 300
"""Number of letters of bullet points and description that are encoded: the beginning matters most,
and all of them would take ten minutes."""

_BODY, _PASSAGES = ("bullet_points", "description"), ("category", "brand", "color")


@dataclass(frozen=True, slots=True)
class JudgedProducts:
    """Products and their labels."""

    texts: GoldTexts
    pairs: GoldPairs
    files: Sequence[Path]
    part: Part

    @classmethod
    def read(cls, folder: Path, part: Part = "test") -> JudgedProducts:
        """Read both files.

        Raises:
            DataError: one is missing or damaged, or a label is unknown.
        """
        items = read_products(folder).catalogue
        rows = read_judgements(folder, items.vocabulary)
        queries = rows.requests.astype(np.int32)
        texts = list(dict.fromkeys(query.text for query in rows.queries))
        folds = np.random.default_rng(0).permutation(len(texts)) % FOLDS
        pairs = GoldPairs(
            queries,
            rows.items,
            rows.gains == 0,
            folds.astype(np.int32)[queries],
            queries,
            is_in_part(texts, part)[queries],
        )
        passages = [[item.field_text(name) for name in _PASSAGES] for item in items]
        products = GoldTexts(
            texts,
            [item.title for item in items],
            [item.text(_BODY) for item in items],
            [list(filter(None, row)) for row in passages],
            LETTERS,
        )
        return cls(products, pairs, [folder / name for name in PRODUCT_FILES], part)

    def draw_pairs(self, queries: QueryTexts, items: ItemTexts) -> GoldPairs:
        """All of them."""
        return self.pairs

    def rank_slates(self, gold: Gold) -> tuple[Mapping[str, RankedSlates], None]:
        """The tested products of each query, ranked by mean similarity.

        ``dev`` chooses on its own lists only; for ``test`` those of ``dev`` would choose.
        """
        pairs = gold.pairs.where(gold.pairs.in_part) if self.part == "dev" else gold.pairs
        assert pairs.features is not None
        chooses = None if self.part == "dev" else ~pairs.in_part
        slates = RankedSlates.of(pairs, mean_similarity(pairs.features), chooses)
        return {"judged": slates}, None
