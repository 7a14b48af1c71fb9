# Written by `python dev/client_types.py`; change the code of the service, not this file.

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict, Unpack

class Absence(TypedDict):
    """Why an item is not among the items that a request shows."""
    kind: Literal['filter', 'candidates', 'list filter', 'length', 'rule', 'score', 'order']
    """``filter`` = it may not be shown; ``candidates`` = no source proposed it; ``list filter``
    = it was proposed and removed; ``length`` = the list ends before it; ``rule`` = a list
    rule gave its place to others; ``score`` = the items shown have higher scores; ``order`` =
    it is further down in the order of the request, or not in that list."""
    stage: str
    """Name of the filter or rule, as in the trace; else empty."""
    text: str
    """One sentence for people."""
    change: str
    """What would change it, one sentence for people."""
    score: float | None
    """Its score; None = it has none."""
    last_score: float | None
    """The lowest score of the items that are shown for their score; None without any."""

class Answer(TypedDict):
    """The answer to one request."""
    request_id: str
    """Unique id of this answer; callers send it with the events that follow. The id of a request
    over HTTP, ``X-Request-ID``, is another one."""
    generation: str
    """Name of the generation that answered."""
    surface: str
    """Name of the requested surface."""
    items: Sequence[AnswerItem]
    """One page of the list, in the order to show."""
    cursor: str
    """``cursor`` in JSON, of the next page; empty on the last page. Pages of one list repeat
    nothing and skip nothing, whatever happens between them."""
    total: int
    """Number of items in the list; pages end after the first thousand or so."""
    total_is_exact: bool
    """Whether it is that number; else there are about as many."""
    degraded: Sequence[str]
    """Stages and rungs that are missing: they failed, or were skipped; empty if none."""
    query: NotRequired[SearchFeedback | None]
    """How the text was interpreted, ``query`` in JSON; None if no text was searched."""
    facets: NotRequired[Mapping[str, Facet]]
    """Attribute -> its values in the whole list, for those that the request names."""
    experiment: NotRequired[str]
    """Name of the experiment that the request is in; empty = none."""
    arm: NotRequired[str]
    """Name of its arm; empty in an interleaved list, whose places follow from ``request_id``."""
    redirect: NotRequired[str]
    """Address or path where a rule sends whoever searched this; empty = nowhere."""
    banner: NotRequired[str]
    """Text of a rule to show above the list; empty = none."""

class AnswerItem(TypedDict):
    """One item of an answer."""
    item_id: str
    """External id."""
    title: str
    """As shown; the id of an item without one."""
    score: float | None
    """Final value, higher is better; comparable within one answer only. The score of a sponsored
    item is its expected revenue, bid x P(action); ``parts`` has its organic value."""
    parts: NotRequired[Mapping[str, float | None]]
    """Name -> number that the score is computed from: ranker features, probabilities. Those that
    events carry, ``propensity`` and ``explored``, are there unasked."""
    reason: str
    """The strongest evidence as one sentence for people; empty = no evidence."""
    reason_code: str
    """Which sentence it is, for programs that word it themselves; empty = no evidence."""
    reason_parts: NotRequired[Mapping[str, str | int | float]]
    """Name -> what the sentence says: ``title``, ``item_id``, ``value``, ``count``."""
    sponsored: bool
    """Whether the position was bought; pages must mark such an item."""
    attributes: NotRequired[Mapping[str, str | float | Sequence[str]]]
    """Those that the request asks for, of which the item has a value."""
    highlights: NotRequired[Sequence[Sequence[int]]]
    """Places in the title that match the searched text: begin and end, in characters."""

class ChangedRuleOut(TypedDict):
    """Confirmation that a rule was stored or removed; an unknown one to remove is an error."""
    rule_id: str
    version: int
    unknown_items: Sequence[str]

class DeletedOut(TypedDict):
    """Confirmation that an item was deleted."""
    item_id: str
    deleted: bool

class ErasurePlace(TypedDict):
    """A place where something about a user or an item was, or may still be."""
    place: str
    """Its name."""
    state: Literal['erased', 'pending', 'kept']
    """``erased``: nothing is left; ``pending``: something is, for the reason given; ``kept``: it
    is not the engine's to erase, or tells nothing about anybody."""
    detail: str
    """One sentence."""

class ErasureReceipt(TypedDict):
    """What became of a user or an item, place by place."""
    kind: Literal['user', 'item']
    """``user`` or ``item``."""
    digest: str
    """Keyed digest of the user's id, so that the receipt can be kept without the id; of an item
    its id."""
    erased_at: str
    """When, in ISO 8601: what happened until then is not stored again."""
    events: int
    """Number of events that this call removed."""
    places: Sequence[ErasurePlace]
    """All of them, with their state at this moment."""
    is_complete: bool
    """Whether nothing is pending."""

class ErrorDetailOut(TypedDict):
    """What went wrong."""
    type: str
    message: str
    hint: str
    request_id: str

class ErrorOut(TypedDict):
    """Every error of the API."""
    error: ErrorDetailOut

class Event(TypedDict):
    """An interaction of a user with an item, or an impression.  Each field is declared here
    once: its type is its column in the store, in files and in the API. It is optional if its
    default is ``""`` or None."""
    user_id: str
    """The user."""
    item_id: str
    """The item; empty for a query without a click."""
    timestamp: str
    """Unix seconds, UTC."""
    action: str
    """Kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``; ``impression`` =
    shown."""
    value: float | None
    """Strength, such as stars."""
    query: str
    """The search text that led to it."""
    request_id: str
    """The answer that led to it; joins clicks with impressions."""
    position: int | None
    """0-based position in that answer."""
    surface: str
    """Where it happened: one from the settings, or ``suggest``."""
    session_id: str
    """The visit."""
    event_id: str
    """The sender's id of the event; one with a stored id is not stored again."""
    country: str
    """Where the user was; empty = not known."""
    device: str
    """Kind of device, such as ``phone``; empty = not known."""
    propensity: float | None
    """Probability with which its item or query was drawn for its position, in (0, 1]:
    ``parts.propensity`` of an item that has it, ``propensity`` of a suggested query."""

class EventBatch(TypedDict):
    """A body with events."""
    events: Sequence[EventIn]
    """The rows; all are stored or none."""

class EventIn(TypedDict):
    """An interaction or impression of a user."""
    user_id: str
    """The user."""
    item_id: NotRequired[str]
    """The item; may be empty if there is a query."""
    timestamp: NotRequired[float | str | None]
    """Unix seconds, or ISO 8601 (UTC without an offset); defaults to the time of arrival."""
    action: NotRequired[str]
    """Kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``; ``impression`` =
    shown."""
    value: NotRequired[float | None]
    """Strength, such as stars."""
    query: NotRequired[str]
    """The search text that led to it."""
    request_id: NotRequired[str]
    """The answer that led to it; joins clicks with impressions."""
    position: NotRequired[int | None]
    """0-based position in that answer."""
    surface: NotRequired[str]
    """Where it happened: one from the settings, or ``suggest``."""
    session_id: NotRequired[str]
    """The visit."""
    event_id: NotRequired[str]
    """The sender's id of the event; one with a stored id is not stored again."""
    country: NotRequired[str]
    """Where the user was; empty = not known."""
    device: NotRequired[str]
    """Kind of device, such as ``phone``; empty = not known."""
    propensity: NotRequired[float | None]
    """Probability with which its item or query was drawn for its position, in (0, 1]:
    ``parts.propensity`` of an item that has it, ``propensity`` of a suggested query."""

class Evidence(TypedDict):
    """One reason to show an item."""
    kind: str
    """``transition``, ``neighbour``, ``content``, ``attribute``, ``code``, ``word``, ``again``,
    ``country``, ``popular`` or ``new``."""
    text: str
    """One sentence for people."""
    weight: float | None
    """Strength, higher is stronger; comparable within one kind only."""
    item_id: str
    """The item of the history or the context behind it, of several the newest; empty = none."""
    code: str
    """Which sentence it is: ``kind``, or of a kind with several a name of its own."""
    values: Mapping[str, str | int | float]
    """Name -> what the sentence says of this item."""

class ExplainParams(TypedDict):
    """A request to explain why an item would be shown."""
    language: NotRequired[str]
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
    Language``. English where there are no sentences in it."""
    user_id: NotRequired[str]
    """The user; empty = unknown visitor."""
    filter: NotRequired[Sequence[str]]
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
    May be repeated."""
    limit: NotRequired[int]
    """Maximum number of items, 1 to 1,000; one that is further down is absent."""
    country: NotRequired[str]
    """Country of the request, spelled as in items and events; empty = that of the user."""
    device: NotRequired[str]
    """Kind of device, spelled as in the events; empty = unknown."""
    items: NotRequired[Sequence[str]]
    """What was chosen in this visit and is not logged, oldest first; may be repeated."""
    session_id: NotRequired[str]
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty =
    the events of the last half hour are."""
    sort: NotRequired[str]
    """Attribute whose numbers order the list, ``-price`` from the largest, or
    ``available_from``, ``-available_from`` from the newest; empty = by score."""
    item_id: str
    """The item to explain."""
    surface: NotRequired[str]
    """The surface that would show it."""
    q: NotRequired[str]
    """The search text, for a surface that searches."""
    literal: NotRequired[bool]
    """Search the text exactly as typed, without corrections."""
    source_item_id: NotRequired[Sequence[str]]
    """Context items. May be repeated."""

class Explanation(TypedDict):
    """Why an item is, or is not, in the answer to a request."""
    generation: str
    """Name of the generation that answered."""
    item_id: str
    """The explained item."""
    evidence: Sequence[Evidence]
    """Reasons to show it, strongest first."""
    parts: Mapping[str, float | None]
    """Name -> number that the score is computed from, as in ``AnswerItem``."""
    semantic_id: str
    """Its codes in text form, ``12-7-201``."""
    trace: Mapping[str, int]
    """Stage -> number of items after it, in the order of the stages."""
    position: int | None
    """0-based position in the whole list; None = not in it."""
    absence: Absence | None
    """Why it is not among the first ``Request.k`` items; None = it is."""
    rules: NotRequired[Sequence[str]]
    """Ids of the rules of a merchandiser that are about it in this request."""

class Facet(TypedDict):
    """The values of one attribute in a list."""
    values: Mapping[str, int]
    """Text -> number of items that have it, the most frequent ones first, at most 50; of numbers
    none."""
    min: float | None
    """Smallest of its numbers; None without any."""
    max: float | None
    """Largest of its numbers; None without any."""

class Figure(TypedDict):
    """Figures of one surface, query or item, or of all."""
    name: str
    """What they are of; empty = all."""
    answers: int
    """Number of answers that were seen."""
    searches: int
    """Number of them to a typed text."""
    without_results: int
    """Number of searches that found nothing."""
    shown: int
    """Number of impressions."""
    clicks: int
    """Number of items that were chosen, each once for an answer."""
    click_rate: float | None
    """Clicks per impression (CTR), of answers with impressions; None without any."""
    conversions: int
    """Number of actions that always are likes."""
    users: int
    """Number of different users."""
    place: float | None
    """Mean 1-based place of what was chosen; None = not known."""
    title: str
    """Of an item."""

class Figures(TypedDict):
    """Figures of a time."""
    since: str
    """Begin of the time, which ends now."""
    total: Figure
    """Of everything."""
    surfaces: Sequence[Figure]
    """Of each surface, most frequent first."""
    queries: Sequence[Figure]
    """Of the most frequent typed texts."""
    items: Sequence[Figure]
    """Of the items in most answers."""
    coverage: float
    """Share of the catalogue that was shown."""
    new_share: float | None
    """Share of the impressions that are of new items."""

class FileProblem(TypedDict):
    """A file of an item that cannot be used."""
    item_id: str
    """External id."""
    field: str
    """Item attribute with the path."""
    problem: str
    """Why it cannot be used, one sentence."""

class HistoryOut(TypedDict):
    """The history of a user."""
    user_id: str
    events: Sequence[Event]

class ItemBatch(TypedDict):
    """A body with items."""
    items: Sequence[ItemIn]
    """The rows; all are stored or none."""

class ItemFile(TypedDict):
    """What an answer about an item says of one of its media files."""
    state: Literal['encoded', 'waiting', 'left out']
    """``encoded`` = its vector is in use; ``waiting`` = it will be encoded; ``left out`` = it
    cannot be used."""
    problem: str
    """Why it is left out; else empty."""

class ItemIds(TypedDict):
    """Items to read."""
    item_ids: Sequence[str]
    """Their ids, at most 1,000."""

class ItemIn(TypedDict):
    """An item of the catalogue; replaces a stored item with the same id."""
    item_id: str
    """Its id."""
    title: NotRequired[str]
    """The displayed title."""
    description: NotRequired[str]
    """Longer text."""
    attributes: NotRequired[Mapping[str, float | str | Sequence[str]]]
    """Further columns: text, numbers or lists of texts."""
    available_from: NotRequired[float | str | None]
    """Unix seconds or ISO 8601 from which it may be shown; omitted = always."""

class ItemListOut(TypedDict):
    """A part of the catalogue."""
    items: Sequence[ItemOut]
    cursor: str

class ItemOut(TypedDict):
    """An item of the catalogue, with what a generation says of it."""
    item_id: str
    """External id, unique."""
    title: str
    """As shown; empty if unknown."""
    description: str
    """Longer text; empty if there is none."""
    attributes: Mapping[str, str | float | Sequence[str]]
    """Further columns: text, numbers or lists of texts (year, genres, brand)."""
    available_from: str | None
    """Unix seconds from which it may be shown; None = always."""
    generated_attributes: Sequence[str]
    """Names of the attributes whose values are generated ones in use: the catalogue itself has
    none for this item."""
    semantic_id: Sequence[int]
    """Its codes, coarse to fine; empty = not encoded."""
    code_label: str
    """What the items with the same first code have in common; empty = unknown."""
    files: Mapping[str, ItemFile]
    """Modality (``image``, ``audio``) -> state of the item's file; only those that it names and
    the settings read."""

class ItemPatch(TypedDict):
    """Changes of an item; what is not named stays."""
    title: NotRequired[str]
    """The displayed title."""
    description: NotRequired[str]
    """Longer text."""
    attributes: NotRequired[Mapping[str, float | str | Sequence[str] | None]]
    """Attributes to set; null removes one, and others stay."""
    available_from: NotRequired[float | str | None]
    """Unix seconds or ISO 8601 from which it may be shown; null = always."""

class ItemsOut(TypedDict):
    """Items that were asked for."""
    items: Sequence[ItemOut]
    unknown: Sequence[str]

class LiveOut(TypedDict):
    """The process runs."""
    status: str

class Login(TypedDict):
    """The login of a visitor."""
    visitor_id: str
    """The id by which the visitor's events were sent."""

class PreviewOut(TypedDict):
    """Two answers to one request."""
    with_rules: Answer
    without_rules: Answer

class PreviewParams(TypedDict):
    """A request, and rules to try with it."""
    language: NotRequired[str]
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
    Language``. English where there are no sentences in it."""
    user_id: NotRequired[str]
    """The user; empty = unknown visitor."""
    filter: NotRequired[Sequence[str]]
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
    May be repeated."""
    limit: NotRequired[int]
    """Maximum number of items, 1 to 1,000; one that is further down is absent."""
    country: NotRequired[str]
    """Country of the request, spelled as in items and events; empty = that of the user."""
    device: NotRequired[str]
    """Kind of device, spelled as in the events; empty = unknown."""
    items: NotRequired[Sequence[str]]
    """What was chosen in this visit and is not logged, oldest first; may be repeated."""
    session_id: NotRequired[str]
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty =
    the events of the last half hour are."""
    sort: NotRequired[str]
    """Attribute whose numbers order the list, ``-price`` from the largest, or
    ``available_from``, ``-available_from`` from the newest; empty = by score."""
    cursor: NotRequired[str]
    """That of the previous page; empty = first page. A long one is sent in the body of a POST."""
    fields: NotRequired[Sequence[str]]
    """Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
    may be among them. Empty = those of ``[page] fields``."""
    reasons: NotRequired[bool]
    """Say why each item is shown."""
    parts: NotRequired[bool]
    """Tell the numbers that the score of each item was computed from; without them only those
    that its events carry: ``propensity`` and ``explored`` of an explored item."""
    facet: NotRequired[Sequence[str]]
    """Attributes whose values are counted in the whole list. May be repeated."""
    q: NotRequired[str]
    """The search text."""
    literal: NotRequired[bool]
    """Search the text exactly as typed, without corrections."""
    surface: NotRequired[str]
    """The surface: a built-in name or one from the settings."""
    item_id: NotRequired[Sequence[str]]
    """Context items: the current item or the cart. May be repeated."""
    rules: NotRequired[Sequence[RuleRow]]
    """The rules, whose times are not read; without any those in force are compared with none."""

class ReadyOut(TypedDict):
    """A generation answers."""
    status: str
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

class RecommendParams(TypedDict):
    """A request for recommendations."""
    language: NotRequired[str]
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
    Language``. English where there are no sentences in it."""
    user_id: NotRequired[str]
    """The user; empty = unknown visitor."""
    filter: NotRequired[Sequence[str]]
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
    May be repeated."""
    limit: NotRequired[int]
    """Maximum number of items, 1 to 1,000; one that is further down is absent."""
    country: NotRequired[str]
    """Country of the request, spelled as in items and events; empty = that of the user."""
    device: NotRequired[str]
    """Kind of device, spelled as in the events; empty = unknown."""
    items: NotRequired[Sequence[str]]
    """What was chosen in this visit and is not logged, oldest first; may be repeated."""
    session_id: NotRequired[str]
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty =
    the events of the last half hour are."""
    sort: NotRequired[str]
    """Attribute whose numbers order the list, ``-price`` from the largest, or
    ``available_from``, ``-available_from`` from the newest; empty = by score."""
    cursor: NotRequired[str]
    """That of the previous page; empty = first page. A long one is sent in the body of a POST."""
    fields: NotRequired[Sequence[str]]
    """Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
    may be among them. Empty = those of ``[page] fields``."""
    reasons: NotRequired[bool]
    """Say why each item is shown."""
    parts: NotRequired[bool]
    """Tell the numbers that the score of each item was computed from; without them only those
    that its events carry: ``propensity`` and ``explored`` of an explored item."""
    facet: NotRequired[Sequence[str]]
    """Attributes whose values are counted in the whole list. May be repeated."""
    q: NotRequired[str]
    """The search text."""
    literal: NotRequired[bool]
    """Search the text exactly as typed, without corrections."""
    surface: NotRequired[str]
    """The surface: a built-in name or one from the settings."""
    item_id: NotRequired[Sequence[str]]
    """Context items: the current item or the cart. May be repeated."""

class Rewrite(TypedDict):
    """A text to search instead."""
    text: str
    """The text, as it is shown."""
    kind: Literal['broader', 'substitute']
    """``broader`` = it drops words; ``substitute`` = another text."""
    confidence: float
    """Of people who searched it next, the share among all who gave up; of a broader text, the
    share of the query's IDF that it keeps."""

class Rule(TypedDict):
    """What happens to the answers of some requests; all conditions that are given must hold."""
    rule_id: str
    """Its id."""
    action: Literal['pin', 'boost', 'bury', 'hide', 'redirect', 'banner']
    """``pin`` = the items have the positions from ``value`` on; ``boost``, ``bury`` = their
    scores are multiplied, or divided, by ``value``; ``hide`` = they are not shown;
    ``redirect``, ``banner`` = the answer has ``value`` as its ``redirect`` or ``banner``."""
    surfaces: Sequence[str]
    """Names of surfaces; empty = all."""
    queries: Sequence[str]
    """Texts, compared without case, accents and signs with what was typed, and with what is
    searched for it; empty = any, and requests without a text."""
    category: str
    """An attribute and its values, ``genres=Comedy``, by one of which the request filters; empty
    = any."""
    segment: str
    """A text attribute of the user and its values, ``country=KR``; empty = everybody."""
    begins: str | None
    """Unix seconds from which it counts; None = at once."""
    ends: str | None
    """Unix seconds from which it no longer counts; None = never."""
    items: Sequence[str]
    """Ids of the items."""
    where: str
    """A test of an attribute that items pass, in place of their ids."""
    value: float | str | None
    """Of a pin the 1-based position of its first item, None = 1; of ``boost`` and ``bury`` the
    factor, None = 2; of ``redirect`` an address or a path; of ``banner`` a text."""

class RuleIn(TypedDict):
    """A rule; replaces the stored one with the same id. Conditions that are left out hold."""
    action: Literal['pin', 'boost', 'bury', 'hide', 'redirect', 'banner']
    """``pin``, ``boost``, ``bury``, ``hide``, ``redirect`` or ``banner``."""
    surfaces: NotRequired[Sequence[str]]
    """Names of surfaces; empty = all."""
    queries: NotRequired[Sequence[str]]
    """Texts, compared without case, accents and signs with what was typed."""
    category: NotRequired[str]
    """An attribute and its values by which the request filters, such as ``genres=Comedy``."""
    segment: NotRequired[str]
    """A text attribute of the user and its values, such as ``country=KR``."""
    begins: NotRequired[float | str | None]
    """Unix seconds or ISO 8601 from which it counts; omitted = at once."""
    ends: NotRequired[float | str | None]
    """Unix seconds or ISO 8601 from which it no longer counts; omitted = never."""
    items: NotRequired[Sequence[str]]
    """Ids of the items, in the order in which a pin shows them."""
    where: NotRequired[str]
    """A test of an attribute that items pass, in place of their ids: ``brand=Acme``."""
    value: NotRequired[float | str | None]
    """Of a pin the position of its first item, from 1; of ``boost`` and ``bury`` the factor, 1.1
    to 10, omitted = 2; of ``redirect`` an address or a path; of ``banner`` a text."""

class RuleRow(TypedDict):
    """A rule of a file or a list."""
    action: Literal['pin', 'boost', 'bury', 'hide', 'redirect', 'banner']
    """``pin``, ``boost``, ``bury``, ``hide``, ``redirect`` or ``banner``."""
    surfaces: NotRequired[Sequence[str]]
    """Names of surfaces; empty = all."""
    queries: NotRequired[Sequence[str]]
    """Texts, compared without case, accents and signs with what was typed."""
    category: NotRequired[str]
    """An attribute and its values by which the request filters, such as ``genres=Comedy``."""
    segment: NotRequired[str]
    """A text attribute of the user and its values, such as ``country=KR``."""
    begins: NotRequired[float | str | None]
    """Unix seconds or ISO 8601 from which it counts; omitted = at once."""
    ends: NotRequired[float | str | None]
    """Unix seconds or ISO 8601 from which it no longer counts; omitted = never."""
    items: NotRequired[Sequence[str]]
    """Ids of the items, in the order in which a pin shows them."""
    where: NotRequired[str]
    """A test of an attribute that items pass, in place of their ids: ``brand=Acme``."""
    value: NotRequired[float | str | None]
    """Of a pin the position of its first item, from 1; of ``boost`` and ``bury`` the factor, 1.1
    to 10, omitted = 2; of ``redirect`` an address or a path; of ``banner`` a text."""
    rule_id: str
    """Its id."""

class RulesOut(TypedDict):
    """The rules."""
    version: int
    rules: Sequence[Rule]

class SearchFeedback(TypedDict):
    """How a typed text was interpreted."""
    searched: str
    """The searched text: as typed, corrected, or what a sentence asks for."""
    is_corrected: bool
    """Whether ``searched`` differs from the typed text; pages must say so and offer a search for
    the text as typed."""
    did_you_mean: str
    """A suggested correction that was not searched; empty = none."""
    unknown: Sequence[str]
    """Searched words that no item has."""
    by_meaning: bool
    """Whether no item has any of the words, so that the items were found by the similarity of
    their vectors only."""
    nothing: bool
    """Whether nothing matches: no item has any of the words, and none is close enough in
    meaning."""
    similar_to: str
    """External id of the item that the text asks for others like: the items are those of the
    surface ``similar``; empty = it asks for none."""
    rewrites: Sequence[Rewrite]
    """Texts to search instead if few items have all words, best first."""

class SearchParams(TypedDict):
    """A search."""
    language: NotRequired[str]
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
    Language``. English where there are no sentences in it."""
    user_id: NotRequired[str]
    """The user; empty = unknown visitor."""
    filter: NotRequired[Sequence[str]]
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
    May be repeated."""
    limit: NotRequired[int]
    """Maximum number of items, 1 to 1,000; one that is further down is absent."""
    country: NotRequired[str]
    """Country of the request, spelled as in items and events; empty = that of the user."""
    device: NotRequired[str]
    """Kind of device, spelled as in the events; empty = unknown."""
    items: NotRequired[Sequence[str]]
    """What was chosen in this visit and is not logged, oldest first; may be repeated."""
    session_id: NotRequired[str]
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty =
    the events of the last half hour are."""
    sort: NotRequired[str]
    """Attribute whose numbers order the list, ``-price`` from the largest, or
    ``available_from``, ``-available_from`` from the newest; empty = by score."""
    cursor: NotRequired[str]
    """That of the previous page; empty = first page. A long one is sent in the body of a POST."""
    fields: NotRequired[Sequence[str]]
    """Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
    may be among them. Empty = those of ``[page] fields``."""
    reasons: NotRequired[bool]
    """Say why each item is shown."""
    parts: NotRequired[bool]
    """Tell the numbers that the score of each item was computed from; without them only those
    that its events carry: ``propensity`` and ``explored`` of an explored item."""
    facet: NotRequired[Sequence[str]]
    """Attributes whose values are counted in the whole list. May be repeated."""
    q: NotRequired[str]
    """The search text."""
    literal: NotRequired[bool]
    """Search the text exactly as typed, without corrections."""

class SimilarParams(TypedDict):
    """A request for similar items."""
    language: NotRequired[str]
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
    Language``. English where there are no sentences in it."""
    user_id: NotRequired[str]
    """The user; empty = unknown visitor."""
    filter: NotRequired[Sequence[str]]
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
    May be repeated."""
    limit: NotRequired[int]
    """Maximum number of items, 1 to 1,000; one that is further down is absent."""
    country: NotRequired[str]
    """Country of the request, spelled as in items and events; empty = that of the user."""
    device: NotRequired[str]
    """Kind of device, spelled as in the events; empty = unknown."""
    items: NotRequired[Sequence[str]]
    """What was chosen in this visit and is not logged, oldest first; may be repeated."""
    session_id: NotRequired[str]
    """The visit, as its events carry it: what was chosen in it is the session so far. Empty =
    the events of the last half hour are."""
    sort: NotRequired[str]
    """Attribute whose numbers order the list, ``-price`` from the largest, or
    ``available_from``, ``-available_from`` from the newest; empty = by score."""
    cursor: NotRequired[str]
    """That of the previous page; empty = first page. A long one is sent in the body of a POST."""
    fields: NotRequired[Sequence[str]]
    """Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
    may be among them. Empty = those of ``[page] fields``."""
    reasons: NotRequired[bool]
    """Say why each item is shown."""
    parts: NotRequired[bool]
    """Tell the numbers that the score of each item was computed from; without them only those
    that its events carry: ``propensity`` and ``explored`` of an explored item."""
    facet: NotRequired[Sequence[str]]
    """Attributes whose values are counted in the whole list. May be repeated."""

class StoredItemsOut(TypedDict):
    """Confirmation that items were stored."""
    received: int
    new: int
    unknown_items: NotRequired[Sequence[str]]
    left_out: Sequence[FileProblem]

class StoredOut(TypedDict):
    """Confirmation that rows were stored."""
    received: int
    new: int
    unknown_items: NotRequired[Sequence[str]]

class SuggestParams(TypedDict):
    """A request for query suggestions."""
    language: NotRequired[str]
    """Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
    Language``. English where there are no sentences in it."""
    user_id: NotRequired[str]
    """The user; empty = unknown visitor."""
    filter: NotRequired[Sequence[str]]
    """Tests of attributes, all of which an item passes, and some item that a suggestion finds:
    ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
    May be repeated."""
    q: NotRequired[str]
    """The text typed so far; blank = suggest what to search next."""
    after: NotRequired[str]
    """The query of the current results page; used if ``q`` is blank."""
    limit: NotRequired[int]
    """Maximum number of suggestions."""

class Suggestion(TypedDict):
    """A suggested query."""
    text: str
    """The query."""
    kind: str
    """``title``, ``attribute``, ``rule`` (several values of attributes), ``name`` (a person or a
    brand, and a type), ``series`` (of titles), ``phrase`` (of a description), ``like`` (items
    similar to one), ``query`` (searched before), ``written`` (by an LLM) or ``spelling`` (a
    title that was probably meant)."""
    item_id: str
    """The item with exactly this title, or the one whose similar items are searched; else empty."""
    propensity: float
    """Probability with which it was chosen for its position, in (0, 1]; below 1 for a query
    drawn at random."""

class Suggestions(TypedDict):
    """Suggested queries, best first."""
    request_id: str
    """Unique id of this answer; callers send it with the events that follow."""
    generation: str
    """Name of the generation that answered."""
    suggestions: Sequence[Suggestion]
    """``suggestions`` in JSON; each has at least one result."""

class User(TypedDict):
    """A user with attributes."""
    user_id: str
    """External id."""
    attributes: Mapping[str, str | float | Sequence[str]]
    """Further columns: texts, numbers or lists of texts; ``country`` is a text."""

class UserBatch(TypedDict):
    """A body with users."""
    users: Sequence[UserRow]
    """The rows; all are stored or none."""

class UserIds(TypedDict):
    """Users to read."""
    user_ids: Sequence[str]
    """Their ids, at most 1,000."""

class UserIn(TypedDict):
    """What is known of a user; replaces all that was stored."""
    attributes: NotRequired[Mapping[str, float | str | Sequence[str]]]
    """Text, numbers or lists of texts. ``country`` is a text: where requests come from that name
    no country."""

class UserOut(TypedDict):
    """A known user."""
    user_id: str
    num_events: int

class UserPatch(TypedDict):
    """Changes of a user; what is not named stays."""
    attributes: NotRequired[Mapping[str, float | str | Sequence[str] | None]]
    """Attributes to set; null removes one, and others stay."""

class UserRow(TypedDict):
    """A user; replaces all that was stored of them."""
    user_id: str
    """Their id."""
    attributes: NotRequired[Mapping[str, float | str | Sequence[str]]]
    """As those of one user."""

class UserRowsOut(TypedDict):
    """The attributes of users."""
    users: Sequence[User]

class UsersOut(TypedDict):
    """Known users."""
    users: Sequence[UserOut]

class Operations:
    """What the API does."""

    def search(self, **params: Unpack[SearchParams]) -> Answer:
        """Items that match the search text, best first."""
    def recommend(self, **params: Unpack[RecommendParams]) -> Answer:
        """Items for a surface, best first."""
    def suggest(self, **params: Unpack[SuggestParams]) -> Suggestions:
        """Suggested queries, best first."""
    def explain(self, **params: Unpack[ExplainParams]) -> Explanation:
        """Why an item would be shown, or why not: evidence, features, stages, absence."""
    def similar(self, item_id: str, /, **params: Unpack[SimilarParams]) -> Answer:
        """Items similar to one item, best first."""
    def list_users(self, *, limit: int = ...) -> UsersOut:
        """The most active known users."""
    def put_users(self, users: Sequence[UserRow], /) -> UserRowsOut:
        """Store the attributes of one user or several in place of all earlier ones."""
    def get_users(self, **params: Unpack[UserIds]) -> UserRowsOut:
        """The attributes of several users."""
    def get_history(self, user_id: str, /, *, limit: int = ...) -> HistoryOut:
        """A user's events, newest first; empty for an unknown user."""
    def get_user(self, user_id: str, /) -> User:
        """The attributes of a user; none for an unknown user."""
    def put_user(self, user_id: str, /, **params: Unpack[UserIn]) -> User:
        """Store the attributes of a user in place of all earlier ones."""
    def change_user(self, user_id: str, /, **params: Unpack[UserPatch]) -> User:
        """Change some attributes of a user; null removes one."""
    def erase_user(self, user_id: str, /) -> ErasureReceipt:
        """Erase a user: events, attributes and all that is known of them, also in other workers.
        Earlier events are not stored again. The answer is a receipt; asking again is another
        erasure, of what came since."""
    def list_items(self, *, limit: int = ..., cursor: str = ...) -> ItemListOut:
        """The catalogue in parts, for those who copy it: nothing twice, nothing left out."""
    def add_items(self, items: Sequence[ItemIn], /) -> StoredItemsOut:
        """Store one item or several; they can be found and recommended from the response on.
        Pictures and sounds are encoded soon after it."""
    def get_items(self, **params: Unpack[ItemIds]) -> ItemsOut:
        """Several items by their ids."""
    def get_item(self, item_id: str, /) -> ItemOut:
        """One item with its semantic ID."""
    def change_item(self, item_id: str, /, **params: Unpack[ItemPatch]) -> ItemOut:
        """Change an item, such as its price or stock; what is not named stays."""
    def delete_item(self, item_id: str, /) -> DeletedOut:
        """Delete an item permanently."""
    def get_figures(self, *, days: int = ..., limit: int = ...) -> Figures:
        """What people did with answers: searches, clicks, conversions, places."""
    def add_events(self, events: Sequence[EventIn], /) -> StoredOut:
        """Store one event or several; they are durable before the response."""
    def merge_user(self, user_id: str, /, **params: Unpack[Login]) -> StoredOut:
        """Let what a visitor did count for the user that they log in as; may be repeated."""
    def list_rules(self) -> RulesOut:
        """The rules of answers."""
    def put_rule(self, rule_id: str, /, **params: Unpack[RuleIn]) -> ChangedRuleOut:
        """Store a rule in place of the one with its id; it counts from the next request on."""
    def remove_rule(self, rule_id: str, /) -> ChangedRuleOut:
        """Remove a rule; what was in force when stays known."""
    def preview_rules(self, **params: Unpack[PreviewParams]) -> PreviewOut:
        """A list with some rules, and without them; nothing is stored."""
    def get_liveness(self) -> LiveOut:
        """The process runs."""
    def get_readiness(self) -> ReadyOut:
        """A generation is loaded and answers; waits for no other request. A worker whose requests
        hang is not ready."""

class AsyncOperations:
    """What the API does."""

    async def search(self, **params: Unpack[SearchParams]) -> Answer:
        """Items that match the search text, best first."""
    async def recommend(self, **params: Unpack[RecommendParams]) -> Answer:
        """Items for a surface, best first."""
    async def suggest(self, **params: Unpack[SuggestParams]) -> Suggestions:
        """Suggested queries, best first."""
    async def explain(self, **params: Unpack[ExplainParams]) -> Explanation:
        """Why an item would be shown, or why not: evidence, features, stages, absence."""
    async def similar(self, item_id: str, /, **params: Unpack[SimilarParams]) -> Answer:
        """Items similar to one item, best first."""
    async def list_users(self, *, limit: int = ...) -> UsersOut:
        """The most active known users."""
    async def put_users(self, users: Sequence[UserRow], /) -> UserRowsOut:
        """Store the attributes of one user or several in place of all earlier ones."""
    async def get_users(self, **params: Unpack[UserIds]) -> UserRowsOut:
        """The attributes of several users."""
    async def get_history(self, user_id: str, /, *, limit: int = ...) -> HistoryOut:
        """A user's events, newest first; empty for an unknown user."""
    async def get_user(self, user_id: str, /) -> User:
        """The attributes of a user; none for an unknown user."""
    async def put_user(self, user_id: str, /, **params: Unpack[UserIn]) -> User:
        """Store the attributes of a user in place of all earlier ones."""
    async def change_user(self, user_id: str, /, **params: Unpack[UserPatch]) -> User:
        """Change some attributes of a user; null removes one."""
    async def erase_user(self, user_id: str, /) -> ErasureReceipt:
        """Erase a user: events, attributes and all that is known of them, also in other workers.
        Earlier events are not stored again. The answer is a receipt; asking again is another
        erasure, of what came since."""
    async def list_items(self, *, limit: int = ..., cursor: str = ...) -> ItemListOut:
        """The catalogue in parts, for those who copy it: nothing twice, nothing left out."""
    async def add_items(self, items: Sequence[ItemIn], /) -> StoredItemsOut:
        """Store one item or several; they can be found and recommended from the response on.
        Pictures and sounds are encoded soon after it."""
    async def get_items(self, **params: Unpack[ItemIds]) -> ItemsOut:
        """Several items by their ids."""
    async def get_item(self, item_id: str, /) -> ItemOut:
        """One item with its semantic ID."""
    async def change_item(self, item_id: str, /, **params: Unpack[ItemPatch]) -> ItemOut:
        """Change an item, such as its price or stock; what is not named stays."""
    async def delete_item(self, item_id: str, /) -> DeletedOut:
        """Delete an item permanently."""
    async def get_figures(self, *, days: int = ..., limit: int = ...) -> Figures:
        """What people did with answers: searches, clicks, conversions, places."""
    async def add_events(self, events: Sequence[EventIn], /) -> StoredOut:
        """Store one event or several; they are durable before the response."""
    async def merge_user(self, user_id: str, /, **params: Unpack[Login]) -> StoredOut:
        """Let what a visitor did count for the user that they log in as; may be repeated."""
    async def list_rules(self) -> RulesOut:
        """The rules of answers."""
    async def put_rule(self, rule_id: str, /, **params: Unpack[RuleIn]) -> ChangedRuleOut:
        """Store a rule in place of the one with its id; it counts from the next request on."""
    async def remove_rule(self, rule_id: str, /) -> ChangedRuleOut:
        """Remove a rule; what was in force when stays known."""
    async def preview_rules(self, **params: Unpack[PreviewParams]) -> PreviewOut:
        """A list with some rules, and without them; nothing is stored."""
    async def get_liveness(self) -> LiveOut:
        """The process runs."""
    async def get_readiness(self) -> ReadyOut:
        """A generation is loaded and answers; waits for no other request. A worker whose requests
        hang is not ready."""
