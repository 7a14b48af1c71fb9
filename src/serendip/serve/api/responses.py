"""Response bodies of the API: their types, declared in ``/openapi.json``, and how they are built.

``plain`` makes them of the dataclasses of the engine; the service encodes them as they are, so the
schema costs nothing per request. JSON has no NaN: numbers that are not finite become null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, NotRequired, cast

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from serendip.content.posted_media import FileProblem
from serendip.data import Event, Item
from serendip.data.users.user import User
from serendip.engine.answer import (
    AbsenceKind,
    Answer,
    Explanation,
    Suggestions,
)
from serendip.engine.artefacts.erasure import ErasureReceipt, PlaceState
from serendip.search.rewrites.candidates import RewriteKind
from serendip.serve.workers.shared_state import ServiceStatus

if TYPE_CHECKING:
    from serendip.engine.engine import Engine


class AnswerItemOut(TypedDict):
    """One item of an answer."""

    item_id: str
    """Its id."""

    title: str
    """Its title, or its id if it has no title."""

    score: float | None
    """Final value, higher is better; comparable within one answer only."""

    parts: dict[str, float | None]
    """Named numbers that the score was computed from."""

    reason: str
    """Why it is shown, one sentence made from evidence; empty = no evidence."""

    sponsored: bool
    """Whether its position was bought; mark it where it is shown."""


class RewriteOut(TypedDict):
    """A query to offer instead."""

    text: str
    """The query, as shown and searched."""

    kind: RewriteKind
    """How it differs from the query of the request."""

    confidence: float | None
    """In [0, 1]."""


class SearchFeedbackOut(TypedDict):
    """How the text of a search was interpreted."""

    searched: str
    """The text that was searched: as typed, or corrected."""

    is_corrected: bool
    """Whether ``searched`` differs from the typed text; show it, with a link that searches the
    text as typed."""

    did_you_mean: str
    """A correction that was not searched; empty = none."""

    unknown: list[str]
    """Searched words that no item contains."""

    by_meaning: bool
    """True if no item contains any of the words: the items were found by similar meaning alone."""

    similar_to: str
    """Id of the item that the text asks for others like, "movies like Heat"; empty = none."""

    nothing: bool
    """True if nothing matches: no item contains any of the words, and none is close enough in
    meaning."""

    rewrites: list[RewriteOut]
    """Queries to offer instead, best first."""


class FacetOut(TypedDict):
    """The values of one attribute in the whole list."""

    values: dict[str, int]
    """Text -> number of items that have it, the most frequent ones first, at most 50."""

    least: float | None
    """Smallest of its numbers; null without any."""

    most: float | None
    """Largest of its numbers; null without any."""


class AnswerOut(TypedDict):
    """Items for one request."""

    request_id: str
    """Send it back with events about these items."""

    generation: str
    """Name of the generation that answered."""

    surface: str
    """The surface of the request."""

    items: list[AnswerItemOut]
    """In the order in which to show them."""

    next: str
    """Cursor of the following page; empty = this is the last page."""

    degraded: list[str]
    """Stages that failed or were skipped; empty = none."""

    query: NotRequired[SearchFeedbackOut]
    """How the text was interpreted; absent if no text was searched."""

    facets: NotRequired[dict[str, FacetOut]]
    """Attribute -> its values in the whole list; absent if the request names none."""


class SuggestionOut(TypedDict):
    """A suggested query."""

    text: str
    """The query."""

    kind: str
    """``title``, ``attribute``, ``rule`` (several values of attributes), ``name`` (a person or a
    brand, and a type), ``series`` (of titles), ``phrase`` (of a description), ``like`` (items like
    one), ``query`` (searched before), ``written`` (by an LLM) or ``spelling`` (a corrected
    title)."""

    item_id: str
    """The item with exactly this title, or whose similar items it asks for; empty = neither."""

    propensity: float
    """Probability of its position, in (0, 1]; below 1 if the position was drawn at random."""


class SuggestionsOut(TypedDict):
    """Suggested queries."""

    request_id: str
    """Send it back with events about these suggestions."""

    generation: str
    """Name of the generation that answered."""

    suggestions: list[SuggestionOut]
    """Best first."""


class EvidenceOut(TypedDict):
    """One piece of evidence for showing an item."""

    kind: str
    """Its kind: ``transition``, ``neighbour``, ``content``, ``attribute``, ``code``, ``word``,
    ``again``, ``country``, ``popular``, ``new``, or that of another model."""

    text: str
    """One sentence."""

    weight: float | None
    """Strength, higher is stronger; comparable within one kind only."""

    item_id: str
    """The item of the history or context that it comes from; empty = none."""


class AbsenceOut(TypedDict):
    """Why an item is not among the items shown, and what would change it."""

    kind: AbsenceKind
    """``filter`` = it may not be shown; ``candidates`` = no source proposed it; ``list filter`` =
    it was proposed and removed; ``length`` = the list ends before it; ``rule`` = a list rule gave
    its place to others; ``score`` = the items shown have higher scores."""

    stage: str
    """The filter or rule, as in ``trace``: ``seen``, ``rejected``, ``context``, a filter of an
    attribute, ``relevance filter``, ``min value``, ``sponsored``, ``explored`` or ``moved by
    diversity``; else empty."""

    text: str
    """Why, in one sentence."""

    change: str
    """What would change it, in one sentence."""

    score: float | None
    """Its score; null = it has none."""

    last_score: float | None
    """The lowest score of the items shown for their score; null = none is."""


class ExplanationOut(TypedDict):
    """Why an item would be shown."""

    generation: str
    """Name of the generation that answered."""

    item_id: str
    """The explained item."""

    position: int | None
    """0-based position in the whole list; null = not in it."""

    absence: AbsenceOut | None
    """Why it is not among the first ``k`` items; null = it is."""

    evidence: list[EvidenceOut]
    """Strongest first."""

    parts: dict[str, float | None]
    """Ranker features by name."""

    semantic_id: str
    """Its codes, coarse to fine, such as ``12-7-201``."""

    trace: dict[str, int]
    """Stage -> number of candidates after it, in the order of the stages."""


class ItemFileOut(TypedDict):
    """State of a picture or sound of an item."""

    state: str
    """``encoded`` = it is in use; ``waiting`` = it will be encoded; ``left out`` = it cannot be
    used."""

    problem: str
    """Why it is left out; else empty."""


class ItemOut(TypedDict):
    """An item of the catalogue."""

    item_id: str
    """Its id."""

    title: str
    """As shown."""

    description: str
    """Longer text."""

    attributes: dict[str, str | float | list[str] | None]
    """Further columns: text, numbers or lists of words."""

    generated_attributes: list[str]
    """Names of those whose values an LLM or rules chose, as the catalogue has none."""

    available_from: float | None
    """Unix seconds from which it may be shown; null = always."""

    semantic_id: list[int]
    """Its codes, coarse to fine; empty = not encoded."""

    code_label: str
    """What the items with the same first code have in common; empty = unknown."""

    files: dict[str, ItemFileOut]
    """Modality (``image``, ``audio``) -> state of the item's file; only those that it names and the
    settings read."""


class EventOut(TypedDict):
    """A stored event."""

    user_id: str
    """The user."""

    item_id: str
    """The item; empty for a query without a click."""

    timestamp: float | None
    """Unix seconds."""

    action: str
    """The kind of interaction."""

    value: float | None
    """Strength, such as stars; null = none."""

    query: str
    """The search text before it."""

    request_id: str
    """The answer that led to it."""

    position: int | None
    """0-based position in that answer; null = unknown."""

    surface: str
    """Where it happened."""

    session_id: str
    """The visit."""

    event_id: str
    """The sender's own id."""

    country: str
    """Where the user was."""

    device: str
    """Kind of device."""

    propensity: float | None
    """Probability with which it was drawn for its position; null = it was not drawn."""


class UserOut(TypedDict):
    """A known user."""

    user_id: str
    """Their id."""

    num_events: int
    """Number of their events, impressions not counted."""


class UsersOut(TypedDict):
    """Known users."""

    users: list[UserOut]
    """Most active first."""


class UserAttributesOut(TypedDict):
    """What is known of a user besides their events."""

    user_id: str
    """The user."""

    attributes: dict[str, str | float | list[str] | None]
    """Text, numbers or lists of texts."""


class HistoryOut(TypedDict):
    """The history of a user."""

    user_id: str
    """The user."""

    events: list[EventOut]
    """Newest first, without impressions."""


class StoredOut(TypedDict):
    """Confirmation that rows were stored."""

    received: int
    """Number of rows in the body."""

    new: int
    """Number of rows that were not stored before."""

    unknown_items: NotRequired[list[str]]
    """Ids that events name and no item has, ten at most. Such events are stored, and count once
    there is an item."""


class FileProblemOut(TypedDict):
    """A file of an item that cannot be used; the item is stored and found by its text."""

    item_id: str
    """The item."""

    field: str
    """Attribute that names the file."""

    problem: str
    """Why it cannot be used."""


class StoredItemsOut(StoredOut):
    """Confirmation that items were stored."""

    left_out: list[FileProblemOut]
    """Pictures and sounds that cannot be used, as far as is seen without opening them."""


class ErasurePlaceOut(TypedDict):
    """A place where something about a user was, or may still be."""

    place: str
    """Its name."""

    state: PlaceState
    """``erased`` = nothing is left; ``pending`` = something is, for the reason given; ``kept`` = it
    tells nothing about the user, or is not the service's to erase."""

    detail: str
    """One sentence."""


class ErasureOut(TypedDict):
    """The receipt of an erasure, with the state of every place at this moment."""

    kind: Literal["user", "item"]
    """What was erased."""

    digest: str
    """Keyed digest of the id, so that the receipt can be kept without the id."""

    erased_at: str
    """When: what happened until then is not stored again. ISO 8601."""

    events: int
    """Number of events that this request removed."""

    is_complete: bool
    """Whether nothing is pending."""

    places: list[ErasurePlaceOut]
    """All places."""


class DeletedOut(TypedDict):
    """Confirmation that an item was deleted."""

    item_id: str
    """The item."""

    deleted: Literal[True]
    """Always true; an unknown item is an error."""


class LiveOut(TypedDict):
    """The process runs."""

    status: Literal["live"]
    """Always ``live``."""


class ReadyOut(TypedDict):
    """A generation answers."""

    status: Literal["ready"]
    """Always ``ready``; a service without a generation answers 503."""

    generation: str
    """Name of the current generation."""

    workers: int
    """Number of processes that answer."""

    degraded: bool
    """Whether a generation was refused, writes fail, or a worker is missing."""

    refused_generation: str
    """The published generation that could not be opened; empty = none."""

    storage_problem: str
    """Why writes fail; empty = they do not."""


class ErrorDetailOut(TypedDict):
    """What went wrong."""

    type: str
    """Stable name for programs, such as ``unknown_item``."""

    message: str
    """What happened, with the value."""

    hint: str
    """What to do next; empty if the message suffices."""

    request_id: str
    """Id of the request in the log and in the header ``x-request-id``."""


class ErrorOut(TypedDict):
    """Every error of the API."""

    error: ErrorDetailOut
    """What went wrong."""


_SCHEMAS = "#/components/schemas/{model}"


def declare_body(body: type) -> dict[str, Any]:
    """A body in the description of a response.

    It refers to the schema, which ``build_schemas`` builds for the document alone. FastAPI would
    build one for each route whenever a service starts.
    """
    return {"application/json": {"schema": {"$ref": _SCHEMAS.format(model=body.__name__)}}}


def build_schemas(bodies: Iterable[type]) -> dict[str, Any]:
    """Schemas of bodies and of the types in them: name -> schema."""
    types: list[tuple[type, Literal["serialization"], TypeAdapter[Any]]] = [
        (body, "serialization", TypeAdapter(body)) for body in bodies
    ]
    _, document = TypeAdapter.json_schemas(types, ref_template=_SCHEMAS)
    return cast(dict[str, Any], document["$defs"])


_ERROR = declare_body(ErrorOut)

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"content": _ERROR, "description": description}
    for status, description in {
        401: "The key is missing, or it is not accepted.",
        403: "The host, the origin, or the scope of the key does not allow it.",
        404: "The item or route is unknown.",
        405: "The route has other methods.",
        408: "The request did not arrive in time.",
        413: "The body is too large.",
        422: "A parameter or the body is wrong.",
        429: "Too many requests, of the key, of the address or of all; Retry-After says when to "
        "try again.",
        431: "The address and the headers are too large.",
        500: "The service failed; the log has the cause under the request id.",
        503: "The service is loading or cannot store now; Retry-After says when to try again.",
        507: "The disk is full; nothing was stored.",
    }.items()
} | {"default": {"content": _ERROR, "description": "Any other error."}}
"""Error responses of every route."""


def plain(value: Any) -> Any:
    """A value of the engine as JSON has it.

    Dataclasses become objects, sequences arrays; numbers that are not finite null.
    """
    if value.__class__ is float:  # as most are
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return [plain(one) for one in value]


def build_answer(answer: Answer, engine: Engine) -> AnswerOut:
    """An answer with the titles of its items."""
    body = plain(answer)
    body["items"] = [
        {"item_id": item["item_id"], "title": get_title(engine, item["item_id"])} | item
        for item in body["items"]
    ]
    understood, facets = body.pop("understood"), body.pop("facets")
    body |= {} if understood is None else {"query": understood}
    body |= {"facets": facets} if facets else {}
    return cast(AnswerOut, body)


def get_title(engine: Engine, item_id: str) -> str:
    """The title of an item, or its id if it has no title."""
    item = engine.item(item_id)
    return item.title if item is not None and item.title else item_id


def build_suggestions(suggestions: Suggestions) -> SuggestionsOut:
    """Suggested queries, best first."""
    body = plain(suggestions)
    body["suggestions"] = body.pop("queries")
    return cast(SuggestionsOut, body)


def build_explanation(explanation: Explanation, generation: str) -> ExplanationOut:
    """An explanation by the named generation."""
    return cast(ExplanationOut, {"generation": generation, **plain(explanation)})


def build_item(item: Item, engine: Engine) -> ItemOut:
    """An item with its semantic ID."""
    more = {
        "semantic_id": plain(engine.semantic_id(item.item_id)),
        "code_label": engine.code_label(item.item_id),
        "files": plain(engine.files(item)),
    }
    body = plain(item) | more
    return cast(ItemOut, {name: body[name] for name in ItemOut.__annotations__})


def build_stored_items(received: int, new: int, left_out: Sequence[FileProblem]) -> StoredItemsOut:
    """The answer to posted items."""
    return {"received": received, "new": new, "left_out": plain(left_out)}


def build_users(totals: Sequence[tuple[str, int]]) -> UsersOut:
    """Users from (user id, number of events)."""
    return {"users": [{"user_id": name, "num_events": count} for name, count in totals]}


def build_user(user: User) -> UserAttributesOut:
    """A user with their attributes."""
    return cast(UserAttributesOut, plain(user))


def build_erasure(receipt: ErasureReceipt) -> ErasureOut:
    """The receipt of an erasure."""
    return cast(ErasureOut, receipt.as_dict())


def build_history(user_id: str, events: Sequence[Event]) -> HistoryOut:
    """The events of a user."""
    return {"user_id": user_id, "events": plain(events)}


def build_ready(status: ServiceStatus) -> ReadyOut:
    """Build the state of a service with a current generation."""
    return {
        "status": "ready",
        "generation": status.generation,
        "workers": status.workers,
        "degraded": status.is_degraded,
        "refused_generation": status.refused_generation,
        "storage_problem": status.storage_problem,
    }
