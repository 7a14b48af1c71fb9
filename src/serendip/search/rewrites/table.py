"""Query rewrites to offer: a table for frequent queries, a scorer for all others.

Only queries with few matches get ``broader`` rewrites or a ``substitute``. They are offered; no
query is replaced by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from serendip.errors import ArtefactError
from serendip.search.rewrites.candidates import CatalogueMatcher, RewriteKind, checked
from serendip.search.rewrites.scorer import RewriteScorer
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
        head: normal form of a logged query -> its rewrites, best first; possibly none.
        scorer: for all other queries; None = there was no training data.
        near: word -> nearest words, with their cosines.
    """

    head: Mapping[str, tuple[Rewrite, ...]] = field(default_factory=dict)
    scorer: RewriteScorer | None = None
    near: Near = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write one file into a folder."""
        document = {
            "format": FORMAT,
            "head": {
                key: [
                    [rewrite.text, rewrite.kind, round(rewrite.confidence, 4)]
                    for rewrite in rewrites
                ]
                for key, rewrites in self.head.items()
            },
            "student": self.scorer.as_dict() if self.scorer else None,
            "near": {word: [[o, round(c, 4)] for o, c in near] for word, near in self.near.items()},
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
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}")
            head = {
                key: tuple(Rewrite(text, kind, confidence) for text, kind, confidence in rows)
                for key, rows in document["head"].items()
            }
            near = {
                word: tuple((other, cosine) for other, cosine in rows)
                for word, rows in document["near"].items()
            }
            weights = document["student"]
            return cls(head, RewriteScorer.of_dict(weights) if weights else None, near)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{path} is not readable: {error}.", "Run `serendip train`."
            ) from None


def rewrites_of(
    key: str, table: RewriteTable, matcher: CatalogueMatcher, synonyms: Synonyms, offer_from: float
) -> tuple[Rewrite, ...]:
    """Find the rewrites of a query, the surest first; each has results now.

    Args:
        key: normal form of the query.
        table: rewrites prepared offline.
        matcher: of the current catalogue.
        synonyms: accepted ones, used as substitutes.
        offer_from: minimum confidence.
    """
    if not key or matcher.is_answered(key):
        return ()
    rewrites = table.head.get(key)
    if rewrites is None and table.scorer is not None:
        rewrites = from_scorer(key, table, table.scorer, matcher, synonyms)
    return tuple(
        rewrite
        for rewrite in rewrites or ()
        if rewrite.confidence >= offer_from and matcher.matches(rewrite.text)
    )[:MOST]


def from_scorer(
    key: str,
    table: RewriteTable,
    scorer: RewriteScorer,
    matcher: CatalogueMatcher,
    synonyms: Synonyms,
) -> tuple[Rewrite, ...]:
    """All candidates of a query with more matches, highest confidence first."""

    def also(term: str) -> list[tuple[str, float]]:
        accepted = synonyms.also.get(term, ())
        return [*table.near.get(term, ()), *((synonym, 1.0) for synonym in accepted)]

    candidates, features = checked(key, matcher, also)
    confidences = scorer.confidences(features).tolist()
    rewrites = [
        Rewrite(candidate.text, candidate.kind, confidence)
        for candidate, confidence in zip(candidates, confidences, strict=True)
    ]
    return tuple(sorted(rewrites, key=lambda rewrite: (-rewrite.confidence, rewrite.text)))
