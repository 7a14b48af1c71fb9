"""What the engine answers: plain values that the API, the CLI and the page render as they are.

Cursors of paged answers: opaque outside, an offset inside.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from serendip.errors import DataError
from serendip.search.rewrites.table import Rewrite


@dataclass(frozen=True, slots=True)
class AnswerItem:
    """One item of an answer.

    Args:
        item_id: external id.
        score: final value, higher is better; comparable within one answer only. Of a sponsored
            item it is bid x P(action), and what it is worth to the user is a part.
        parts: named numbers that the score came from.
        reason: one sentence for people, made from evidence; empty where there is none.
        sponsored: it stands here because the place was bought; to be marked where it is shown.
    """

    item_id: str
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    sponsored: bool = False


@dataclass(frozen=True, slots=True)
class SearchFeedback:
    """What was made of a text that was typed.

    Args:
        searched: what was searched: the text, or what it was taken to mean.
        is_corrected: ``searched`` is not what was typed; to be told, with a way back.
        did_you_mean: what may have been meant and was not searched; empty where nothing was.
        unknown: words searched that no item has.
        by_meaning: no item has any of the words; those answered are close in meaning alone.
        rewrites: what may be searched instead, best first: broader texts and substitutes where
            few items have all words, narrower ones where many do.
    """

    searched: str
    is_corrected: bool = False
    did_you_mean: str = ""
    unknown: tuple[str, ...] = ()
    by_meaning: bool = False
    rewrites: tuple[Rewrite, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request.

    Args:
        request_id: to be sent back with events.
        generation: name of the artefacts that answered.
        surface: the surface asked for.
        items: in the order in which they are to be shown.
        next: cursor of the following page; empty at the end.
        degraded: names of stages that failed or were skipped; empty when all is well.
        understood: how the words were read; None where none were searched.
    """

    request_id: str
    generation: str
    surface: str
    items: tuple[AnswerItem, ...]
    next: str = ""
    degraded: tuple[str, ...] = ()
    understood: SearchFeedback | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A query worth typing.

    Args:
        text: the suggested query.
        kind: what it is: ``title``, ``attribute``, ``rule`` (several attributes), ``phrase`` (of a
            description), ``like`` (items like one), ``query`` (searched before), ``written`` (by
            an LLM) or ``spelling`` (a title that was probably meant).
        item_id: the item that bears exactly this title, or that others are to be like; else empty.
        propensity: chance that it had to be at its place, in (0, 1]; below 1 where it was drawn.
    """

    text: str
    kind: str
    item_id: str = ""
    propensity: float = 1.0


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Queries worth typing, best first.

    Args:
        request_id: to be sent back with events about them.
        generation: name of the artefacts that answered.
        queries: each of them finds something.
    """

    request_id: str
    generation: str
    queries: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An item that a user chose.

    Args:
        item_id: external id.
        liked: one of their events with it was a like.
    """

    item_id: str
    liked: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """One ground for showing an item.

    Args:
        kind: ``transition``, ``neighbour``, ``content``, ``code``, ``word``, ``popular``
            or ``new``.
        text: one sentence for people.
        weight: strength, higher is stronger; comparable within one kind only.
        item_id: the item of the history or context that it rests on; empty where there is none.
    """

    kind: str
    text: str
    weight: float
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an item would be shown: evidence first, then the numbers, then the stages.

    Args:
        item_id: the item asked about.
        evidence: strongest first.
        parts: ranker features by name.
        semantic_id: codes as written for people, ``12-7-201``.
        trace: stage name -> count of candidates after it, in order of the stages.
        position: 0-based place in the answer; None where it was not in it.
    """

    item_id: str
    evidence: tuple[Evidence, ...]
    parts: Mapping[str, float]
    semantic_id: str
    trace: Mapping[str, int]
    position: int | None = None


_LARGEST = 10_000


def cursor_of(offset: int) -> str:
    """The cursor of the page that starts at ``offset``."""
    return base64.urlsafe_b64encode(f"o{offset}".encode()).decode().rstrip("=")


def offset_of(cursor: str) -> int:
    """Where the page of a cursor starts; 0 for the empty cursor.

    Raises:
        DataError: it was not made by ``cursor_of``, or lies too far.
    """
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        offset = int(text.removeprefix("o")) if text.startswith("o") else -1
    except (ValueError, binascii.Error):
        offset = -1
    if not 0 <= offset <= _LARGEST:
        raise DataError(
            f"cursor {cursor[:40]!r} is not valid.", "Use `next` of an answer as it is."
        )
    return offset
