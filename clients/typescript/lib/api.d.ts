/** Why an item is not among the items that a request shows. */
export interface Absence {
    /**
     * ``filter`` = it may not be shown; ``candidates`` = no source proposed it; ``list filter``
     * = it was proposed and removed; ``length`` = the list ends before it; ``rule`` = a list
     * rule gave its place to others; ``score`` = the items shown have higher scores; ``order`` =
     * it is further down in the order of the request, or not in that list.
     */
    kind: "filter" | "candidates" | "list filter" | "length" | "rule" | "score" | "order";
    /** Name of the filter or rule, as in the trace; else empty. */
    stage: string;
    /** One sentence for people. */
    text: string;
    /** What would change it, one sentence for people. */
    change: string;
    /** Its score; None = it has none. */
    score: number | null;
    /** The lowest score of the items that are shown for their score; None without any. */
    last_score: number | null;
}
/** The answer to one request. */
export interface Answer {
    /**
     * Unique id of this answer; callers send it with the events that follow. The id of a request
     * over HTTP, ``X-Request-ID``, is another one.
     */
    request_id: string;
    /** Name of the generation that answered. */
    generation: string;
    /** Name of the requested surface. */
    surface: string;
    /** One page of the list, in the order to show. */
    items: Array<AnswerItem>;
    /**
     * ``cursor`` in JSON, of the next page; empty on the last page. Pages of one list repeat
     * nothing and skip nothing, whatever happens between them.
     */
    cursor: string;
    /** Number of items in the list; pages end after the first thousand or so. */
    total: number;
    /** Whether it is that number; else there are about as many. */
    total_is_exact: boolean;
    /** Stages and rungs that are missing: they failed, or were skipped; empty if none. */
    degraded: Array<string>;
    /** How the text was interpreted, ``query`` in JSON; None if no text was searched. */
    query?: SearchFeedback | null;
    /** Attribute -> its values in the whole list, for those that the request names. */
    facets?: Record<string, Facet>;
    /** Name of the experiment that the request is in; empty = none. */
    experiment?: string;
    /** Name of its arm; empty in an interleaved list, whose places follow from ``request_id``. */
    arm?: string;
    /** Address or path where a rule sends whoever searched this; empty = nowhere. */
    redirect?: string;
    /** Text of a rule to show above the list; empty = none. */
    banner?: string;
}
/** One item of an answer. */
export interface AnswerItem {
    /** External id. */
    item_id: string;
    /** As shown; the id of an item without one. */
    title: string;
    /**
     * Final value, higher is better; comparable within one answer only. The score of a sponsored
     * item is its expected revenue, bid x P(action); ``parts`` has its organic value.
     */
    score: number | null;
    /**
     * Name -> number that the score is computed from: ranker features, probabilities. Those that
     * events carry, ``propensity`` and ``explored``, are there unasked.
     */
    parts?: Record<string, number | null>;
    /** The strongest evidence as one sentence for people; empty = no evidence. */
    reason: string;
    /** Which sentence it is, for programs that word it themselves; empty = no evidence. */
    reason_code: string;
    /** Name -> what the sentence says: ``title``, ``item_id``, ``value``, ``count``. */
    reason_parts?: Record<string, string | number>;
    /** Whether the position was bought; pages must mark such an item. */
    sponsored: boolean;
    /** Those that the request asks for, of which the item has a value. */
    attributes?: Record<string, string | number | Array<string>>;
    /** Places in the title that match the searched text: begin and end, in characters. */
    highlights?: Array<[number, number]>;
}
/** Confirmation that a rule was stored or removed; an unknown one to remove is an error. */
export interface ChangedRuleOut {
    rule_id: string;
    version: number;
    unknown_items: Array<string>;
}
/** Confirmation that an item was deleted. */
export interface DeletedOut {
    item_id: string;
    deleted: boolean;
}
/** A place where something about a user or an item was, or may still be. */
export interface ErasurePlace {
    /** Its name. */
    place: string;
    /**
     * ``erased``: nothing is left; ``pending``: something is, for the reason given; ``kept``: it
     * is not the engine's to erase, or tells nothing about anybody.
     */
    state: "erased" | "pending" | "kept";
    /** One sentence. */
    detail: string;
}
/** What became of a user or an item, place by place. */
export interface ErasureReceipt {
    /** ``user`` or ``item``. */
    kind: "user" | "item";
    /**
     * Keyed digest of the user's id, so that the receipt can be kept without the id; of an item
     * its id.
     */
    digest: string;
    /** When, in ISO 8601: what happened until then is not stored again. */
    erased_at: string;
    /** Number of events that this call removed. */
    events: number;
    /** All of them, with their state at this moment. */
    places: Array<ErasurePlace>;
    /** Whether nothing is pending. */
    is_complete: boolean;
}
/** What went wrong. */
export interface ErrorDetailOut {
    type: string;
    message: string;
    hint: string;
    request_id: string;
}
/** Every error of the API. */
export interface ErrorOut {
    error: ErrorDetailOut;
}
/**
 * An interaction of a user with an item, or an impression.  Each field is declared here
 * once: its type is its column in the store, in files and in the API. It is optional if its
 * default is ``""`` or None.
 */
export interface Event {
    /** The user. */
    user_id: string;
    /** The item; empty for a query without a click. */
    item_id: string;
    /** Unix seconds, UTC. */
    timestamp: string;
    /**
     * Kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``; ``impression`` =
     * shown.
     */
    action: string;
    /** Strength, such as stars. */
    value: number | null;
    /** The search text that led to it. */
    query: string;
    /** The answer that led to it; joins clicks with impressions. */
    request_id: string;
    /** 0-based position in that answer. */
    position: number | null;
    /** Where it happened: one from the settings, or ``suggest``. */
    surface: string;
    /** The visit. */
    session_id: string;
    /** The sender's id of the event; one with a stored id is not stored again. */
    event_id: string;
    /** Where the user was; empty = not known. */
    country: string;
    /** Kind of device, such as ``phone``; empty = not known. */
    device: string;
    /**
     * Probability with which its item or query was drawn for its position, in (0, 1]:
     * ``parts.propensity`` of an item that has it, ``propensity`` of a suggested query.
     */
    propensity: number | null;
}
/** A body with events. */
export interface EventBatch {
    /** The rows; all are stored or none. */
    events: Array<EventIn>;
}
/** An interaction or impression of a user. */
export interface EventIn {
    /** The user. */
    user_id: string;
    /** The item; may be empty if there is a query. */
    item_id?: string;
    /** Unix seconds, or ISO 8601 (UTC without an offset); defaults to the time of arrival. */
    timestamp?: number | string | null;
    /**
     * Kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``; ``impression`` =
     * shown.
     */
    action?: string;
    /** Strength, such as stars. */
    value?: number | null;
    /** The search text that led to it. */
    query?: string;
    /** The answer that led to it; joins clicks with impressions. */
    request_id?: string;
    /** 0-based position in that answer. */
    position?: number | null;
    /** Where it happened: one from the settings, or ``suggest``. */
    surface?: string;
    /** The visit. */
    session_id?: string;
    /** The sender's id of the event; one with a stored id is not stored again. */
    event_id?: string;
    /** Where the user was; empty = not known. */
    country?: string;
    /** Kind of device, such as ``phone``; empty = not known. */
    device?: string;
    /**
     * Probability with which its item or query was drawn for its position, in (0, 1]:
     * ``parts.propensity`` of an item that has it, ``propensity`` of a suggested query.
     */
    propensity?: number | null;
}
/** One reason to show an item. */
export interface Evidence {
    /**
     * ``transition``, ``neighbour``, ``content``, ``attribute``, ``code``, ``word``, ``again``,
     * ``country``, ``popular`` or ``new``.
     */
    kind: string;
    /** One sentence for people. */
    text: string;
    /** Strength, higher is stronger; comparable within one kind only. */
    weight: number | null;
    /** The item of the history or the context behind it, of several the newest; empty = none. */
    item_id: string;
    /** Which sentence it is: ``kind``, or of a kind with several a name of its own. */
    code: string;
    /** Name -> what the sentence says of this item. */
    values: Record<string, string | number>;
}
/** A request to explain why an item would be shown. */
export interface ExplainParams {
    /**
     * Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
     * Language``. English where there are no sentences in it.
     */
    language?: string;
    /** The user; empty = unknown visitor. */
    user_id?: string;
    /**
     * Tests of attributes, all of which an item passes, and some item that a suggestion finds:
     * ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
     * May be repeated.
     */
    filter?: Array<string>;
    /** Maximum number of items, 1 to 1,000; one that is further down is absent. */
    limit?: number;
    /** Country of the request, spelled as in items and events; empty = that of the user. */
    country?: string;
    /** Kind of device, spelled as in the events; empty = unknown. */
    device?: string;
    /** What was chosen in this visit and is not logged, oldest first; may be repeated. */
    items?: Array<string>;
    /**
     * The visit, as its events carry it: what was chosen in it is the session so far. Empty =
     * the events of the last half hour are.
     */
    session_id?: string;
    /**
     * Attribute whose numbers order the list, ``-price`` from the largest, or
     * ``available_from``, ``-available_from`` from the newest; empty = by score.
     */
    sort?: string;
    /** The item to explain. */
    item_id: string;
    /** The surface that would show it. */
    surface?: string;
    /** The search text, for a surface that searches. */
    q?: string;
    /** Search the text exactly as typed, without corrections. */
    literal?: boolean;
    /** Context items. May be repeated. */
    source_item_id?: Array<string>;
}
/** Why an item is, or is not, in the answer to a request. */
export interface Explanation {
    /** Name of the generation that answered. */
    generation: string;
    /** The explained item. */
    item_id: string;
    /** Reasons to show it, strongest first. */
    evidence: Array<Evidence>;
    /** Name -> number that the score is computed from, as in ``AnswerItem``. */
    parts: Record<string, number | null>;
    /** Its codes in text form, ``12-7-201``. */
    semantic_id: string;
    /** Stage -> number of items after it, in the order of the stages. */
    trace: Record<string, number>;
    /** 0-based position in the whole list; None = not in it. */
    position: number | null;
    /** Why it is not among the first ``Request.k`` items; None = it is. */
    absence: Absence | null;
    /** Ids of the rules of a merchandiser that are about it in this request. */
    rules?: Array<string>;
}
/** The values of one attribute in a list. */
export interface Facet {
    /**
     * Text -> number of items that have it, the most frequent ones first, at most 50; of numbers
     * none.
     */
    values: Record<string, number>;
    /** Smallest of its numbers; None without any. */
    min: number | null;
    /** Largest of its numbers; None without any. */
    max: number | null;
}
/** Figures of one surface, query or item, or of all. */
export interface Figure {
    /** What they are of; empty = all. */
    name: string;
    /** Number of answers that were seen. */
    answers: number;
    /** Number of them to a typed text. */
    searches: number;
    /** Number of searches that found nothing. */
    without_results: number;
    /** Number of impressions. */
    shown: number;
    /** Number of items that were chosen, each once for an answer. */
    clicks: number;
    /** Clicks per impression (CTR), of answers with impressions; None without any. */
    click_rate: number | null;
    /** Number of actions that always are likes. */
    conversions: number;
    /** Number of different users. */
    users: number;
    /** Mean 1-based place of what was chosen; None = not known. */
    place: number | null;
    /** Of an item. */
    title: string;
}
/** Figures of a time. */
export interface Figures {
    /** Begin of the time, which ends now. */
    since: string;
    /** Of everything. */
    total: Figure;
    /** Of each surface, most frequent first. */
    surfaces: Array<Figure>;
    /** Of the most frequent typed texts. */
    queries: Array<Figure>;
    /** Of the items in most answers. */
    items: Array<Figure>;
    /** Share of the catalogue that was shown. */
    coverage: number;
    /** Share of the impressions that are of new items. */
    new_share: number | null;
}
/** A file of an item that cannot be used. */
export interface FileProblem {
    /** External id. */
    item_id: string;
    /** Item attribute with the path. */
    field: string;
    /** Why it cannot be used, one sentence. */
    problem: string;
}
/** The history of a user. */
export interface HistoryOut {
    user_id: string;
    events: Array<Event>;
}
/** A body with items. */
export interface ItemBatch {
    /** The rows; all are stored or none. */
    items: Array<ItemIn>;
}
/** What an answer about an item says of one of its media files. */
export interface ItemFile {
    /**
     * ``encoded`` = its vector is in use; ``waiting`` = it will be encoded; ``left out`` = it
     * cannot be used.
     */
    state: "encoded" | "waiting" | "left out";
    /** Why it is left out; else empty. */
    problem: string;
}
/** Items to read. */
export interface ItemIds {
    /** Their ids, at most 1,000. */
    item_ids: Array<string>;
}
/** An item of the catalogue; replaces a stored item with the same id. */
export interface ItemIn {
    /** Its id. */
    item_id: string;
    /** The displayed title. */
    title?: string;
    /** Longer text. */
    description?: string;
    /** Further columns: text, numbers or lists of texts. */
    attributes?: Record<string, number | string | Array<string>>;
    /** Unix seconds or ISO 8601 from which it may be shown; omitted = always. */
    available_from?: number | string | null;
}
/** A part of the catalogue. */
export interface ItemListOut {
    items: Array<ItemOut>;
    cursor: string;
}
/** An item of the catalogue, with what a generation says of it. */
export interface ItemOut {
    /** External id, unique. */
    item_id: string;
    /** As shown; empty if unknown. */
    title: string;
    /** Longer text; empty if there is none. */
    description: string;
    /** Further columns: text, numbers or lists of texts (year, genres, brand). */
    attributes: Record<string, string | number | Array<string>>;
    /** Unix seconds from which it may be shown; None = always. */
    available_from: string | null;
    /**
     * Names of the attributes whose values are generated ones in use: the catalogue itself has
     * none for this item.
     */
    generated_attributes: Array<string>;
    /** Its codes, coarse to fine; empty = not encoded. */
    semantic_id: Array<number>;
    /** What the items with the same first code have in common; empty = unknown. */
    code_label: string;
    /**
     * Modality (``image``, ``audio``) -> state of the item's file; only those that it names and
     * the settings read.
     */
    files: Record<string, ItemFile>;
}
/** Changes of an item; what is not named stays. */
export interface ItemPatch {
    /** The displayed title. */
    title?: string;
    /** Longer text. */
    description?: string;
    /** Attributes to set; null removes one, and others stay. */
    attributes?: Record<string, number | string | Array<string> | null>;
    /** Unix seconds or ISO 8601 from which it may be shown; null = always. */
    available_from?: number | string | null;
}
/** Items that were asked for. */
export interface ItemsOut {
    items: Array<ItemOut>;
    unknown: Array<string>;
}
/** The process runs. */
export interface LiveOut {
    status: string;
}
/** The login of a visitor. */
export interface Login {
    /** The id by which the visitor's events were sent. */
    visitor_id: string;
}
/** Two answers to one request. */
export interface PreviewOut {
    with_rules: Answer;
    without_rules: Answer;
}
/** A request, and rules to try with it. */
export interface PreviewParams {
    /**
     * Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
     * Language``. English where there are no sentences in it.
     */
    language?: string;
    /** The user; empty = unknown visitor. */
    user_id?: string;
    /**
     * Tests of attributes, all of which an item passes, and some item that a suggestion finds:
     * ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
     * May be repeated.
     */
    filter?: Array<string>;
    /** Maximum number of items, 1 to 1,000; one that is further down is absent. */
    limit?: number;
    /** Country of the request, spelled as in items and events; empty = that of the user. */
    country?: string;
    /** Kind of device, spelled as in the events; empty = unknown. */
    device?: string;
    /** What was chosen in this visit and is not logged, oldest first; may be repeated. */
    items?: Array<string>;
    /**
     * The visit, as its events carry it: what was chosen in it is the session so far. Empty =
     * the events of the last half hour are.
     */
    session_id?: string;
    /**
     * Attribute whose numbers order the list, ``-price`` from the largest, or
     * ``available_from``, ``-available_from`` from the newest; empty = by score.
     */
    sort?: string;
    /** That of the previous page; empty = first page. A long one is sent in the body of a POST. */
    cursor?: string;
    /**
     * Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
     * may be among them. Empty = those of ``[page] fields``.
     */
    fields?: Array<string>;
    /** Say why each item is shown. */
    reasons?: boolean;
    /**
     * Tell the numbers that the score of each item was computed from; without them only those
     * that its events carry: ``propensity`` and ``explored`` of an explored item.
     */
    parts?: boolean;
    /** Attributes whose values are counted in the whole list. May be repeated. */
    facet?: Array<string>;
    /** The search text. */
    q?: string;
    /** Search the text exactly as typed, without corrections. */
    literal?: boolean;
    /** The surface: a built-in name or one from the settings. */
    surface?: string;
    /** Context items: the current item or the cart. May be repeated. */
    item_id?: Array<string>;
    /** The rules, whose times are not read; without any those in force are compared with none. */
    rules?: Array<RuleRow>;
}
/** A generation answers. */
export interface ReadyOut {
    /** Always ``ready``; a service without a generation answers 503. */
    status: string;
    /** Name of the current generation. */
    generation: string;
    /** Number of processes that answer. */
    workers: number;
    /** Whether a generation was refused, writes fail, or a worker is missing. */
    degraded: boolean;
    /** The published generation that could not be opened; empty = none. */
    refused_generation: string;
    /** Why writes fail; empty = they do not. */
    storage_problem: string;
}
/** A request for recommendations. */
export interface RecommendParams {
    /**
     * Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
     * Language``. English where there are no sentences in it.
     */
    language?: string;
    /** The user; empty = unknown visitor. */
    user_id?: string;
    /**
     * Tests of attributes, all of which an item passes, and some item that a suggestion finds:
     * ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
     * May be repeated.
     */
    filter?: Array<string>;
    /** Maximum number of items, 1 to 1,000; one that is further down is absent. */
    limit?: number;
    /** Country of the request, spelled as in items and events; empty = that of the user. */
    country?: string;
    /** Kind of device, spelled as in the events; empty = unknown. */
    device?: string;
    /** What was chosen in this visit and is not logged, oldest first; may be repeated. */
    items?: Array<string>;
    /**
     * The visit, as its events carry it: what was chosen in it is the session so far. Empty =
     * the events of the last half hour are.
     */
    session_id?: string;
    /**
     * Attribute whose numbers order the list, ``-price`` from the largest, or
     * ``available_from``, ``-available_from`` from the newest; empty = by score.
     */
    sort?: string;
    /** That of the previous page; empty = first page. A long one is sent in the body of a POST. */
    cursor?: string;
    /**
     * Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
     * may be among them. Empty = those of ``[page] fields``.
     */
    fields?: Array<string>;
    /** Say why each item is shown. */
    reasons?: boolean;
    /**
     * Tell the numbers that the score of each item was computed from; without them only those
     * that its events carry: ``propensity`` and ``explored`` of an explored item.
     */
    parts?: boolean;
    /** Attributes whose values are counted in the whole list. May be repeated. */
    facet?: Array<string>;
    /** The search text. */
    q?: string;
    /** Search the text exactly as typed, without corrections. */
    literal?: boolean;
    /** The surface: a built-in name or one from the settings. */
    surface?: string;
    /** Context items: the current item or the cart. May be repeated. */
    item_id?: Array<string>;
}
/** A text to search instead. */
export interface Rewrite {
    /** The text, as it is shown. */
    text: string;
    /** ``broader`` = it drops words; ``substitute`` = another text. */
    kind: "broader" | "substitute";
    /**
     * Of people who searched it next, the share among all who gave up; of a broader text, the
     * share of the query's IDF that it keeps.
     */
    confidence: number;
}
/** What happens to the answers of some requests; all conditions that are given must hold. */
export interface Rule {
    /** Its id. */
    rule_id: string;
    /**
     * ``pin`` = the items have the positions from ``value`` on; ``boost``, ``bury`` = their
     * scores are multiplied, or divided, by ``value``; ``hide`` = they are not shown;
     * ``redirect``, ``banner`` = the answer has ``value`` as its ``redirect`` or ``banner``.
     */
    action: "pin" | "boost" | "bury" | "hide" | "redirect" | "banner";
    /** Names of surfaces; empty = all. */
    surfaces: Array<string>;
    /**
     * Texts, compared without case, accents and signs with what was typed, and with what is
     * searched for it; empty = any, and requests without a text.
     */
    queries: Array<string>;
    /**
     * An attribute and its values, ``genres=Comedy``, by one of which the request filters; empty
     * = any.
     */
    category: string;
    /** A text attribute of the user and its values, ``country=KR``; empty = everybody. */
    segment: string;
    /** Unix seconds from which it counts; None = at once. */
    begins: string | null;
    /** Unix seconds from which it no longer counts; None = never. */
    ends: string | null;
    /** Ids of the items. */
    items: Array<string>;
    /** A test of an attribute that items pass, in place of their ids. */
    where: string;
    /**
     * Of a pin the 1-based position of its first item, None = 1; of ``boost`` and ``bury`` the
     * factor, None = 2; of ``redirect`` an address or a path; of ``banner`` a text.
     */
    value: number | string | null;
}
/** A rule; replaces the stored one with the same id. Conditions that are left out hold. */
export interface RuleIn {
    /** ``pin``, ``boost``, ``bury``, ``hide``, ``redirect`` or ``banner``. */
    action: "pin" | "boost" | "bury" | "hide" | "redirect" | "banner";
    /** Names of surfaces; empty = all. */
    surfaces?: Array<string>;
    /** Texts, compared without case, accents and signs with what was typed. */
    queries?: Array<string>;
    /** An attribute and its values by which the request filters, such as ``genres=Comedy``. */
    category?: string;
    /** A text attribute of the user and its values, such as ``country=KR``. */
    segment?: string;
    /** Unix seconds or ISO 8601 from which it counts; omitted = at once. */
    begins?: number | string | null;
    /** Unix seconds or ISO 8601 from which it no longer counts; omitted = never. */
    ends?: number | string | null;
    /** Ids of the items, in the order in which a pin shows them. */
    items?: Array<string>;
    /** A test of an attribute that items pass, in place of their ids: ``brand=Acme``. */
    where?: string;
    /**
     * Of a pin the position of its first item, from 1; of ``boost`` and ``bury`` the factor, 1.1
     * to 10, omitted = 2; of ``redirect`` an address or a path; of ``banner`` a text.
     */
    value?: number | string | null;
}
/** A rule of a file or a list. */
export interface RuleRow {
    /** ``pin``, ``boost``, ``bury``, ``hide``, ``redirect`` or ``banner``. */
    action: "pin" | "boost" | "bury" | "hide" | "redirect" | "banner";
    /** Names of surfaces; empty = all. */
    surfaces?: Array<string>;
    /** Texts, compared without case, accents and signs with what was typed. */
    queries?: Array<string>;
    /** An attribute and its values by which the request filters, such as ``genres=Comedy``. */
    category?: string;
    /** A text attribute of the user and its values, such as ``country=KR``. */
    segment?: string;
    /** Unix seconds or ISO 8601 from which it counts; omitted = at once. */
    begins?: number | string | null;
    /** Unix seconds or ISO 8601 from which it no longer counts; omitted = never. */
    ends?: number | string | null;
    /** Ids of the items, in the order in which a pin shows them. */
    items?: Array<string>;
    /** A test of an attribute that items pass, in place of their ids: ``brand=Acme``. */
    where?: string;
    /**
     * Of a pin the position of its first item, from 1; of ``boost`` and ``bury`` the factor, 1.1
     * to 10, omitted = 2; of ``redirect`` an address or a path; of ``banner`` a text.
     */
    value?: number | string | null;
    /** Its id. */
    rule_id: string;
}
/** The rules. */
export interface RulesOut {
    version: number;
    rules: Array<Rule>;
}
/** How a typed text was interpreted. */
export interface SearchFeedback {
    /** The searched text: as typed, corrected, or what a sentence asks for. */
    searched: string;
    /**
     * Whether ``searched`` differs from the typed text; pages must say so and offer a search for
     * the text as typed.
     */
    is_corrected: boolean;
    /** A suggested correction that was not searched; empty = none. */
    did_you_mean: string;
    /** Searched words that no item has. */
    unknown: Array<string>;
    /**
     * Whether no item has any of the words, so that the items were found by the similarity of
     * their vectors only.
     */
    by_meaning: boolean;
    /**
     * Whether nothing matches: no item has any of the words, and none is close enough in
     * meaning.
     */
    nothing: boolean;
    /**
     * External id of the item that the text asks for others like: the items are those of the
     * surface ``similar``; empty = it asks for none.
     */
    similar_to: string;
    /** Texts to search instead if few items have all words, best first. */
    rewrites: Array<Rewrite>;
}
/** A search. */
export interface SearchParams {
    /**
     * Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
     * Language``. English where there are no sentences in it.
     */
    language?: string;
    /** The user; empty = unknown visitor. */
    user_id?: string;
    /**
     * Tests of attributes, all of which an item passes, and some item that a suggestion finds:
     * ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
     * May be repeated.
     */
    filter?: Array<string>;
    /** Maximum number of items, 1 to 1,000; one that is further down is absent. */
    limit?: number;
    /** Country of the request, spelled as in items and events; empty = that of the user. */
    country?: string;
    /** Kind of device, spelled as in the events; empty = unknown. */
    device?: string;
    /** What was chosen in this visit and is not logged, oldest first; may be repeated. */
    items?: Array<string>;
    /**
     * The visit, as its events carry it: what was chosen in it is the session so far. Empty =
     * the events of the last half hour are.
     */
    session_id?: string;
    /**
     * Attribute whose numbers order the list, ``-price`` from the largest, or
     * ``available_from``, ``-available_from`` from the newest; empty = by score.
     */
    sort?: string;
    /** That of the previous page; empty = first page. A long one is sent in the body of a POST. */
    cursor?: string;
    /**
     * Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
     * may be among them. Empty = those of ``[page] fields``.
     */
    fields?: Array<string>;
    /** Say why each item is shown. */
    reasons?: boolean;
    /**
     * Tell the numbers that the score of each item was computed from; without them only those
     * that its events carry: ``propensity`` and ``explored`` of an explored item.
     */
    parts?: boolean;
    /** Attributes whose values are counted in the whole list. May be repeated. */
    facet?: Array<string>;
    /** The search text. */
    q?: string;
    /** Search the text exactly as typed, without corrections. */
    literal?: boolean;
}
/** A request for similar items. */
export interface SimilarParams {
    /**
     * Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
     * Language``. English where there are no sentences in it.
     */
    language?: string;
    /** The user; empty = unknown visitor. */
    user_id?: string;
    /**
     * Tests of attributes, all of which an item passes, and some item that a suggestion finds:
     * ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
     * May be repeated.
     */
    filter?: Array<string>;
    /** Maximum number of items, 1 to 1,000; one that is further down is absent. */
    limit?: number;
    /** Country of the request, spelled as in items and events; empty = that of the user. */
    country?: string;
    /** Kind of device, spelled as in the events; empty = unknown. */
    device?: string;
    /** What was chosen in this visit and is not logged, oldest first; may be repeated. */
    items?: Array<string>;
    /**
     * The visit, as its events carry it: what was chosen in it is the session so far. Empty =
     * the events of the last half hour are.
     */
    session_id?: string;
    /**
     * Attribute whose numbers order the list, ``-price`` from the largest, or
     * ``available_from``, ``-available_from`` from the newest; empty = by score.
     */
    sort?: string;
    /** That of the previous page; empty = first page. A long one is sent in the body of a POST. */
    cursor?: string;
    /**
     * Attributes that each item carries, ``price,image``; ``description`` and ``available_from``
     * may be among them. Empty = those of ``[page] fields``.
     */
    fields?: Array<string>;
    /** Say why each item is shown. */
    reasons?: boolean;
    /**
     * Tell the numbers that the score of each item was computed from; without them only those
     * that its events carry: ``propensity`` and ``explored`` of an explored item.
     */
    parts?: boolean;
    /** Attributes whose values are counted in the whole list. May be repeated. */
    facet?: Array<string>;
}
/** Confirmation that items were stored. */
export interface StoredItemsOut {
    received: number;
    new: number;
    unknown_items?: Array<string>;
    left_out: Array<FileProblem>;
}
/** Confirmation that rows were stored. */
export interface StoredOut {
    received: number;
    new: number;
    unknown_items?: Array<string>;
}
/** A request for query suggestions. */
export interface SuggestParams {
    /**
     * Language of the sentences: ``en`` or ``ko``; empty = that of the header ``Accept-
     * Language``. English where there are no sentences in it.
     */
    language?: string;
    /** The user; empty = unknown visitor. */
    user_id?: string;
    /**
     * Tests of attributes, all of which an item passes, and some item that a suggestion finds:
     * ``genres=Comedy|Drama``, ``brand!=Acme``, ``year>=1990``, ``brand=Acme OR year<=2010``.
     * May be repeated.
     */
    filter?: Array<string>;
    /** The text typed so far; blank = suggest what to search next. */
    q?: string;
    /** The query of the current results page; used if ``q`` is blank. */
    after?: string;
    /** Maximum number of suggestions. */
    limit?: number;
}
/** A suggested query. */
export interface Suggestion {
    /** The query. */
    text: string;
    /**
     * ``title``, ``attribute``, ``rule`` (several values of attributes), ``name`` (a person or a
     * brand, and a type), ``series`` (of titles), ``phrase`` (of a description), ``like`` (items
     * similar to one), ``query`` (searched before), ``written`` (by an LLM) or ``spelling`` (a
     * title that was probably meant).
     */
    kind: string;
    /** The item with exactly this title, or the one whose similar items are searched; else empty. */
    item_id: string;
    /**
     * Probability with which it was chosen for its position, in (0, 1]; below 1 for a query
     * drawn at random.
     */
    propensity: number;
}
/** Suggested queries, best first. */
export interface Suggestions {
    /** Unique id of this answer; callers send it with the events that follow. */
    request_id: string;
    /** Name of the generation that answered. */
    generation: string;
    /** ``suggestions`` in JSON; each has at least one result. */
    suggestions: Array<Suggestion>;
}
/** A user with attributes. */
export interface User {
    /** External id. */
    user_id: string;
    /** Further columns: texts, numbers or lists of texts; ``country`` is a text. */
    attributes: Record<string, string | number | Array<string>>;
}
/** A body with users. */
export interface UserBatch {
    /** The rows; all are stored or none. */
    users: Array<UserRow>;
}
/** Users to read. */
export interface UserIds {
    /** Their ids, at most 1,000. */
    user_ids: Array<string>;
}
/** What is known of a user; replaces all that was stored. */
export interface UserIn {
    /**
     * Text, numbers or lists of texts. ``country`` is a text: where requests come from that name
     * no country.
     */
    attributes?: Record<string, number | string | Array<string>>;
}
/** A known user. */
export interface UserOut {
    user_id: string;
    num_events: number;
}
/** Changes of a user; what is not named stays. */
export interface UserPatch {
    /** Attributes to set; null removes one, and others stay. */
    attributes?: Record<string, number | string | Array<string> | null>;
}
/** A user; replaces all that was stored of them. */
export interface UserRow {
    /** Their id. */
    user_id: string;
    /** As those of one user. */
    attributes?: Record<string, number | string | Array<string>>;
}
/** The attributes of users. */
export interface UserRowsOut {
    users: Array<User>;
}
/** Known users. */
export interface UsersOut {
    users: Array<UserOut>;
}
/** What the API does. */
export interface Operations {
    /** Items that match the search text, best first. */
    search(params?: SearchParams): Promise<Answer>;
    /** Items for a surface, best first. */
    recommend(params?: RecommendParams): Promise<Answer>;
    /** Suggested queries, best first. */
    suggest(params?: SuggestParams): Promise<Suggestions>;
    /** Why an item would be shown, or why not: evidence, features, stages, absence. */
    explain(params: ExplainParams): Promise<Explanation>;
    /** Items similar to one item, best first. */
    similar(item_id: string, params?: SimilarParams): Promise<Answer>;
    /** The most active known users. */
    listUsers(params?: {
        limit?: number;
    }): Promise<UsersOut>;
    /** Store the attributes of one user or several in place of all earlier ones. */
    putUsers(users: Array<UserRow>): Promise<UserRowsOut>;
    /** The attributes of several users. */
    getUsers(params: UserIds): Promise<UserRowsOut>;
    /** A user's events, newest first; empty for an unknown user. */
    getHistory(user_id: string, params?: {
        limit?: number;
    }): Promise<HistoryOut>;
    /** The attributes of a user; none for an unknown user. */
    getUser(user_id: string): Promise<User>;
    /** Store the attributes of a user in place of all earlier ones. */
    putUser(user_id: string, params?: UserIn): Promise<User>;
    /** Change some attributes of a user; null removes one. */
    changeUser(user_id: string, params?: UserPatch): Promise<User>;
    /**
     * Erase a user: events, attributes and all that is known of them, also in other workers.
     * Earlier events are not stored again. The answer is a receipt; asking again is another
     * erasure, of what came since.
     */
    eraseUser(user_id: string): Promise<ErasureReceipt>;
    /** The catalogue in parts, for those who copy it: nothing twice, nothing left out. */
    listItems(params?: {
        limit?: number;
        cursor?: string;
    }): Promise<ItemListOut>;
    /**
     * Store one item or several; they can be found and recommended from the response on.
     * Pictures and sounds are encoded soon after it.
     */
    addItems(items: Array<ItemIn>): Promise<StoredItemsOut>;
    /** Several items by their ids. */
    getItems(params: ItemIds): Promise<ItemsOut>;
    /** One item with its semantic ID. */
    getItem(item_id: string): Promise<ItemOut>;
    /** Change an item, such as its price or stock; what is not named stays. */
    changeItem(item_id: string, params?: ItemPatch): Promise<ItemOut>;
    /** Delete an item permanently. */
    deleteItem(item_id: string): Promise<DeletedOut>;
    /** What people did with answers: searches, clicks, conversions, places. */
    getFigures(params?: {
        days?: number;
        limit?: number;
    }): Promise<Figures>;
    /** Store one event or several; they are durable before the response. */
    addEvents(events: Array<EventIn>): Promise<StoredOut>;
    /** Let what a visitor did count for the user that they log in as; may be repeated. */
    mergeUser(user_id: string, params: Login): Promise<StoredOut>;
    /** The rules of answers. */
    listRules(): Promise<RulesOut>;
    /** Store a rule in place of the one with its id; it counts from the next request on. */
    putRule(rule_id: string, params: RuleIn): Promise<ChangedRuleOut>;
    /** Remove a rule; what was in force when stays known. */
    removeRule(rule_id: string): Promise<ChangedRuleOut>;
    /** A list with some rules, and without them; nothing is stored. */
    previewRules(params?: PreviewParams): Promise<PreviewOut>;
    /** The process runs. */
    getLiveness(): Promise<LiveOut>;
    /**
     * A generation is loaded and answers; waits for no other request. A worker whose requests
     * hang is not ready.
     */
    getReadiness(): Promise<ReadyOut>;
}
/** Method, path, and the name of the rows in the body, of each operation. */
export declare const OPERATIONS: Record<keyof Operations, [string, string, string]>;
