"""Query rewrites to offer: a table of what people searched next, and a model.

Only queries with few matches get ``broader`` rewrites or a ``substitute``. They are offered; no
query is replaced by one.

The model is a logistic regression for P(rewrite helps). It is trained on synthetic examples first:
verified queries made too narrow, whose relevant items are known. The log then updates the weights
as far as its evidence goes: queries with few results, and what people chose after them. A rewrite
is a positive example if its first ten results contain a relevant item, and no fewer of them than
those of the query itself. The predicted probability is its confidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from serendip.data.text import title_key
from serendip.errors import require_readable
from serendip.search.logistic import LogisticModel
from serendip.search.rewrites.candidates import FEATURES, CatalogueMatcher, RewriteKind, checked
from serendip.search.synonyms import Synonyms

Near: TypeAlias = Mapping[str, tuple[tuple[str, float], ...]]
"""Word -> nearest words, each with its cosine."""

REWRITES_FILE = "rewrites.json"
FORMAT = 1
MOST = 3
"""Maximum number of rewrites per query."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A query to offer instead.

    Args:
        text: as shown and searched.
        kind: ``broader`` or ``substitute``.
        confidence: in [0, 1].
    """

    text: str
    kind: RewriteKind
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class RewriteTable:
    """Rewrites prepared offline.

    Args:
        head: normal form of a query that people left without a choice -> what they searched next.
        scorer: of all candidates; None = there was no training data.
        near: word -> nearest words, with their cosines.
    """

    head: Mapping[str, tuple[Rewrite, ...]] = field(default_factory=dict)
    scorer: LogisticModel | None = None
    near: Near = field(default_factory=dict)

    def find(
        self, key: str, matcher: CatalogueMatcher, synonyms: Synonyms, offer_from: float
    ) -> tuple[Rewrite, ...]:
        """The rewrites of a query with few matches, the surest first; each has results now.

        Args:
            key: normal form of the query.
            matcher: of the current catalogue.
            synonyms: accepted ones, used as substitutes.
            offer_from: minimum confidence.
        """
        if not key or matcher.is_answered(key):
            return ()
        rewrites = [*self.head.get(key, ()), *self.score(key, matcher, synonyms)]
        distinct: dict[str, Rewrite] = {}
        for rewrite in sorted(rewrites, key=lambda rewrite: (-rewrite.confidence, rewrite.text)):
            if rewrite.confidence >= offer_from:
                distinct.setdefault(title_key(rewrite.text), rewrite)
        return tuple(one for one in distinct.values() if matcher.matches(one.text))[:MOST]

    def score(self, key: str, matcher: CatalogueMatcher, synonyms: Synonyms) -> list[Rewrite]:
        """All candidates of a query with more matches."""
        if self.scorer is None:
            return []

        def also(term: str) -> list[tuple[str, float]]:
            accepted = synonyms.also.get(term, ())
            return [*self.near.get(term, ()), *((synonym, 1.0) for synonym in accepted)]

        candidates, features = checked(key, matcher, also)
        confidences = 1.0 / (1.0 + np.exp(-np.clip(self.scorer.log_odds(features), -30.0, 30.0)))
        return [
            Rewrite(candidate.text, candidate.kind, confidence)
            for candidate, confidence in zip(candidates, confidences.tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write one file into a folder."""
        document = {
            "format": FORMAT,
            "head": {key: [[*asdict(one).values()] for one in self.head[key]] for key in self.head},
            "student": self.scorer.as_dict() if self.scorer else None,
            "near": self.near,
        }
        text = json.dumps(document, ensure_ascii=False)
        (folder / REWRITES_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> RewriteTable:
        """Read what ``save`` wrote; an empty table without the file.

        Raises:
            ArtefactError: the file is unreadable or of another format.
        """
        path = folder / REWRITES_FILE
        if not path.exists():
            return cls()
        with require_readable(path, "rewrites"):
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}")
            head = {
                key: tuple(Rewrite(*row) for row in rows) for key, rows in document["head"].items()
            }
            near = {
                word: tuple((other, cosine) for other, cosine in rows)
                for word, rows in document["near"].items()
            }
            learned = document["student"]
            return cls(head, LogisticModel.of_dict(FEATURES, learned) if learned else None, near)
