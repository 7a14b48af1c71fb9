"""Requests and answers of the engine as plain values, which the API, the CLI and the page render.

Each field is declared here once, for JSON as well: where its name or its schema differs there, its
annotation says so.

A cursor names a page of an answer: an opaque string for callers, what was shown before it inside.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, WithJsonSchema

from serendip.data.items.attributes import Attribute
from serendip.engine.listing import Facet
from serendip.errors import DataError
from serendip.search.rewrites import Rewrite


@dataclass(frozen=True, slots=True)
class Request:
    """All parameters of a request; an empty field means that the parameter is not given.

    A new parameter is a field here, sent by a model of ``serve.api.requests`` and read by
    ``QueryBuilder`` (what is asked) or by ``Engine`` and ``presenter`` (which part of the answer,
    in what form); nothing between them names it.

    Args:
        surface: name of a surface, built in or configured; suggestions do not read it.
        user_id: external id; empty for an unknown visitor.
        text: the query as typed, or its beginning if suggestions are requested.
        item_ids: external ids of the source items: the item viewed, or the cart.
        country: country of the request, spelt as in the attribute of the items; empty = that of
            the user, if it is known.
        literal: whether to search the text as typed, without correction or rewrites.
        k: maximum number of items or suggestions, at least 1.
        cursor: that of the previous answer; empty for the first page.
        after: the query of the results page that the suggestions are shown on.
        reasons: whether each item has the sentence that says why it is shown.
        parts: whether each item has the numbers that its score was computed from; without them only
            those that its events carry.
        device: kind of device of the request, spelt as in the events.
        items: external ids of what was chosen in this visit and is not logged, oldest first; others
            are not read.
        session_id: of the visit, as the events of it carry it; empty = it is told by time.
        language: of the sentences in the answer: a tag such as ``ko``, or an ``Accept-Language``;
            English where there are none in it.
        filters: tests of attributes, all of which every item of the answer passes:
            ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``year<=2010``.
        facets: attributes whose values are counted in the whole list.
        fields: attributes that each item carries, ``description`` and ``available_from`` among
            them; empty = those of ``[page] fields``.
        sort: attribute whose numbers order the list, ``-price`` from the largest, or
            ``available_from``, ``-available_from`` from the newest; empty = by score.
    """

    surface: str = "home"
    user_id: str = ""
    text: str = ""
    item_ids: tuple[str, ...] = ()
    country: str = ""
    literal: bool = False
    k: int = 10
    cursor: str = ""
    after: str = ""
    reasons: bool = True
    parts: bool = False
    device: str = ""
    items: tuple[str, ...] = ()
    session_id: str = ""
    language: str = ""
    filters: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    sort: str = ""


Number: TypeAlias = Annotated[
    # JSON has null for what is not finite.
    float, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}, mode="serialization")
]


ReasonPart: TypeAlias = str | int | float
_UNLESS_EMPTY = Field(exclude_if=lambda value: not value)


@dataclass(frozen=True, slots=True)
class AnswerItem:
    """One item of an answer.

    Args:
        item_id: external id.
        title: as shown; the id of an item without one.
        score: final value, higher is better; comparable within one answer only. The score of a
            sponsored item is its expected revenue, bid x P(action); ``parts`` has its organic
            value.
        parts: name -> number that the score is computed from: ranker features, probabilities. Those
            that events carry, ``propensity`` and ``explored``, are there unasked.
        reason: the strongest evidence as one sentence for people; empty = no evidence.
        reason_code: which sentence it is, for programs that word it themselves; empty = no
            evidence.
        reason_parts: name -> what the sentence says: ``title``, ``item_id``, ``value``, ``count``.
        sponsored: whether the position was bought; pages must mark such an item.
        attributes: those that the request asks for, of which the item has a value.
        highlights: places in the title that match the searched text: begin and end, in characters.
    """

    item_id: str
    title: str
    score: Number
    parts: Annotated[dict[str, Number], _UNLESS_EMPTY] = field(default_factory=dict)
    reason: str = ""
    reason_code: str = ""
    reason_parts: Annotated[Mapping[str, ReasonPart], _UNLESS_EMPTY] = field(default_factory=dict)
    sponsored: bool = False
    attributes: Annotated[Mapping[str, Attribute], _UNLESS_EMPTY] = field(default_factory=dict)
    highlights: Annotated[Sequence[tuple[int, int]], _UNLESS_EMPTY] = ()


@dataclass(frozen=True, slots=True)
class SearchFeedback:
    """How a typed text was interpreted.

    Args:
        searched: the searched text: as typed, corrected, or what a sentence asks for.
        is_corrected: whether ``searched`` differs from the typed text; pages must say so and offer
            a search for the text as typed.
        did_you_mean: a suggested correction that was not searched; empty = none.
        unknown: searched words that no item has.
        by_meaning: whether no item has any of the words, so that the items were found by the
            similarity of their vectors only.
        nothing: whether nothing matches: no item has any of the words, and none is close enough in
            meaning.
        similar_to: external id of the item that the text asks for others like: the items are those
            of the surface ``similar``; empty = it asks for none.
        rewrites: texts to search instead if few items have all words, best first.
    """

    searched: str
    is_corrected: bool = False
    did_you_mean: str = ""
    unknown: tuple[str, ...] = ()
    by_meaning: bool = False
    nothing: bool = False
    similar_to: str = ""
    rewrites: tuple[Rewrite, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request.

    Args:
        request_id: unique id of this answer; callers send it with the events that follow. The id
            of a request over HTTP, ``X-Request-ID``, is another one.
        generation: name of the generation that answered.
        surface: name of the requested surface.
        items: one page of the list, in the order to show.
        next: ``cursor`` in JSON, of the next page; empty on the last page. Pages of one list repeat
            nothing and skip nothing, whatever happens between them.
        total: number of items in the list; pages end after the first thousand or so.
        is_exact: whether it is that number; else there are about as many.
        degraded: stages and rungs that are missing: they failed, or were skipped; empty if none.
        understood: how the text was interpreted, ``query`` in JSON; None if no text was searched.
        facets: attribute -> its values in the whole list, for those that the request names.
        experiment: name of the experiment that the request is in; empty = none.
        arm: name of its arm; empty in an interleaved list, whose places follow from ``request_id``.
        redirect: address or path where a rule sends whoever searched this; empty = nowhere.
        banner: text of a rule to show above the list; empty = none.
    """

    request_id: str
    generation: str
    surface: str
    items: tuple[AnswerItem, ...]
    next: Annotated[str, Field(serialization_alias="cursor")] = ""
    total: int = 0
    is_exact: Annotated[bool, Field(serialization_alias="total_is_exact")] = False
    degraded: tuple[str, ...] = ()
    understood: Annotated[
        SearchFeedback | None,
        Field(serialization_alias="query", exclude_if=lambda feedback: feedback is None),
    ] = None
    facets: Annotated[Mapping[str, Facet], _UNLESS_EMPTY] = field(default_factory=dict)
    experiment: Annotated[str, _UNLESS_EMPTY] = ""
    arm: Annotated[str, _UNLESS_EMPTY] = ""
    redirect: Annotated[str, _UNLESS_EMPTY] = ""
    banner: Annotated[str, _UNLESS_EMPTY] = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested query.

    Args:
        text: the query.
        kind: ``title``, ``attribute``, ``rule`` (several values of attributes), ``name`` (a person
            or a brand, and a type), ``series`` (of titles), ``phrase`` (of a description), ``like``
            (items similar to one), ``query`` (searched before), ``written`` (by an LLM) or
            ``spelling`` (a title that was probably meant).
        item_id: the item with exactly this title, or the one whose similar items are searched;
            else empty.
        propensity: probability with which it was chosen for its position, in (0, 1]; below 1 for a
            query drawn at random.
    """

    text: str
    kind: str
    item_id: str = ""
    propensity: float = 1.0


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Suggested queries, best first.

    Args:
        request_id: unique id of this answer; callers send it with the events that follow.
        generation: name of the generation that answered.
        queries: ``suggestions`` in JSON; each has at least one result.
    """

    request_id: str
    generation: str
    queries: Annotated[tuple[Suggestion, ...], Field(serialization_alias="suggestions")]


@dataclass(frozen=True, slots=True)
class ItemFile:
    """What an answer about an item says of one of its media files.

    Args:
        state: ``encoded`` = its vector is in use; ``waiting`` = it will be encoded; ``left out`` =
            it cannot be used.
        problem: why it is left out; else empty.
    """

    state: Literal["encoded", "waiting", "left out"]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ChosenItem:
    """An item that a user chose.

    Args:
        liked: whether one of the user's events with the item was a like.
    """

    item_id: str
    liked: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason to show an item.

    Args:
        kind: ``transition``, ``neighbour``, ``content``, ``attribute``, ``code``, ``word``,
            ``again``, ``country``, ``popular`` or ``new``.
        text: one sentence for people.
        weight: strength, higher is stronger; comparable within one kind only.
        item_id: the item of the history or the context behind it, of several the newest; empty =
            none.
        code: which sentence it is: ``kind``, or of a kind with several a name of its own.
        values: name -> what the sentence says of this item.
    """

    kind: str
    text: str
    weight: Number
    item_id: str = ""
    code: str = ""
    values: Mapping[str, ReasonPart] = field(default_factory=dict)


AbsenceKind = Literal["filter", "candidates", "list filter", "length", "rule", "score", "order"]


@dataclass(frozen=True, slots=True)
class Absence:
    """Why an item is not among the items that a request shows.

    Args:
        kind: ``filter`` = it may not be shown; ``candidates`` = no source proposed it; ``list
            filter`` = it was proposed and removed; ``length`` = the list ends before it; ``rule`` =
            a list rule gave its place to others; ``score`` = the items shown have higher scores;
            ``order`` = it is further down in the order of the request, or not in that list.
        stage: name of the filter or rule, as in the trace; else empty.
        text: one sentence for people.
        change: what would change it, one sentence for people.
        score: its score; None = it has none.
        last_score: the lowest score of the items that are shown for their score; None without any.
    """

    kind: AbsenceKind
    stage: str
    text: str
    change: str
    score: float | None = None
    last_score: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an item is, or is not, in the answer to a request.

    Args:
        generation: name of the generation that answered.
        item_id: the explained item.
        evidence: reasons to show it, strongest first.
        parts: name -> number that the score is computed from, as in ``AnswerItem``.
        semantic_id: its codes in text form, ``12-7-201``.
        trace: stage -> number of items after it, in the order of the stages.
        position: 0-based position in the whole list; None = not in it.
        absence: why it is not among the first ``Request.k`` items; None = it is.
        rules: ids of the rules of a merchandiser that are about it in this request.
    """

    generation: str
    item_id: str
    evidence: tuple[Evidence, ...]
    parts: Mapping[str, Number]
    semantic_id: str
    trace: Mapping[str, int]
    position: int | None = None
    absence: Absence | None = None
    rules: Annotated[tuple[str, ...], _UNLESS_EMPTY] = ()

    def without_rules(self) -> Explanation:
        """The explanation for shoppers: that a rule decides, not which one."""
        absence = self.absence
        if absence is not None and absence.stage in ("rules", "pinned"):
            absence = replace(absence, text="A rule of the shop decides this", change="")
        return replace(self, rules=(), absence=absence)


MAX_SHOWN = 10_000  # items before a page


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a page begins.

    Args:
        shown: (S,) hashes of the ids of the items before it: they say the same in each process and
            generation.
    """

    shown: NDArray[np.uint32] = field(default_factory=lambda: hash_ids(()))

    @classmethod
    def read(cls, cursor: str) -> Place:
        """Read a cursor.

        Raises:
            DataError: ``write`` did not write it.
        """
        if not cursor:
            return cls()
        try:
            packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            *shown, check = np.frombuffer(packed, _WORD).tolist()
        except ValueError:
            shown, check = [], -1
        place = cls(np.array(shown, _WORD))
        if check != place._check or len(shown) > MAX_SHOWN:
            raise DataError(
                f"cursor {cursor[:40]!r} is not valid.",
                "Send `cursor` of the previous answer unchanged.",
            )
        return place

    def write(self, item_ids: Sequence[str]) -> str:
        """The cursor of the page after one with these items."""
        place = Place(np.concatenate([self.shown, hash_ids(item_ids)]))
        packed = np.append(place.shown, np.array(place._check, _WORD)).tobytes()
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @property
    def _check(self) -> int:
        return zlib.crc32(self.shown.tobytes())


_WORD = np.dtype("<u4")


def hash_ids(item_ids: Sequence[str]) -> NDArray[np.uint32]:
    """(C,) hashes by which a cursor tells items: of a thousand two are alike in one of 10,000."""
    return np.array([zlib.crc32(item_id.encode()) for item_id in item_ids], _WORD)
