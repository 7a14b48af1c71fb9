"""What to search instead: a table for texts that were seen, a student for those that were not.

Only texts that few items answer get a ``broader`` one or a ``substitute``, only texts that many
answer a ``narrower`` one, and no text is searched otherwise because of any of them unless
``recover_from`` says so and not one item has all of its words.
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
"""Word -> words nearest to it, each with its cosine."""

REWRITES_FILE = "rewrites.json"
FORMAT = 1
MOST = 3
"""Rewrites of one text."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Another text to search.

    Args:
        text: as it is shown and searched.
        kind: ``narrower``, ``broader`` or ``substitute``.
        confidence: in [0, 1]; of a narrower one the share of its results that the text finds, too.
    """

    text: str
    kind: RewriteKind
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class RewriteTable:
    """What was prepared offline.

    Args:
        head: normal form of a text that was seen -> its rewrites, best first; none are an answer.
        student: answers for all others; None = nothing was there to learn from.
        near: word -> words nearest to it, with their cosines.
    """

    head: Mapping[str, tuple[Rewrite, ...]] = field(default_factory=dict)
    student: RewriteScorer | None = None
    near: Near = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write one file into a folder."""
        document = {
            "format": FORMAT,
            "head": {
                key: [[one.text, one.kind, round(one.confidence, 4)] for one in found]
                for key, found in self.head.items()
            },
            "student": self.student.as_dict() if self.student else None,
            "near": {word: [[o, round(c, 4)] for o, c in near] for word, near in self.near.items()},
        }
        text = json.dumps(document, ensure_ascii=False)
        (folder / REWRITES_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> RewriteTable:
        """Read what ``save`` wrote; an empty table where there is no file.

        Raises:
            ArtefactError: the file is not readable, or made by other code.
        """
        path = folder / REWRITES_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}")
            head = {
                key: tuple(Rewrite(text, kind, confidence) for text, kind, confidence in found)
                for key, found in document["head"].items()
            }
            near = {
                word: tuple((other, cosine) for other, cosine in found)
                for word, found in document["near"].items()
            }
            told = document["student"]
            return cls(head, RewriteScorer.of_dict(told) if told else None, near)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{path} is not readable: {error}.", "Run `serendip train`."
            ) from None


def rewrites_of(
    key: str, table: RewriteTable, matcher: CatalogueMatcher, synonyms: Synonyms, offer_from: float
) -> tuple[Rewrite, ...]:
    """The rewrites of a text, best first; each finds something now.

    Broader ones and substitutes are best where they are surest, narrower ones where most people
    searched them, then where they have most items.

    Args:
        key: normal form of the text.
        table: what was prepared.
        matcher: of the catalogue as it is now.
        synonyms: that people accepted; each may stand for its term.
        offer_from: confidence from which on broader ones and substitutes are offered.
    """
    if not key:
        return ()
    known, is_answered = table.head.get(key), matcher.is_answered(key)
    if known is None and not is_answered and table.student is not None:
        known = from_scorer(key, table, table.student, matcher, synonyms)
    wanted = [
        one
        for one in known or ()
        if (one.kind == "narrower" or one.confidence >= offer_from)
        and (one.kind == "narrower") == is_answered
    ]
    return tuple(one for one in wanted if matcher.matches(one.text))[:MOST]


def from_scorer(
    key: str,
    table: RewriteTable,
    student: RewriteScorer,
    matcher: CatalogueMatcher,
    synonyms: Synonyms,
) -> tuple[Rewrite, ...]:
    """All changes of a text that find more, surest first."""

    def also(term: str) -> list[tuple[str, float]]:
        return [*table.near.get(term, ()), *((one, 1.0) for one in synonyms.also.get(term, ()))]

    found, features = checked(key, matcher, also)
    rated = zip(found, student.confidences(features).tolist(), strict=True)
    rewrites = [Rewrite(change.text, change.kind, chance) for change, chance in rated]
    return tuple(sorted(rewrites, key=lambda one: (-one.confidence, one.text)))
