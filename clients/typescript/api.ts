// Written by `python dev/client_types.py`; change the code of the service, not this file.

/** Why an item is not among the items that a request shows. */
export interface Absence {
  /**
   * ``filter`` = it may not be shown; ``candidates`` = no source proposed it; ``list filter``
   * = it was proposed and removed; ``length`` = the list ends before it; ``rule`` = a list
   * rule gave its place to others; ``score`` = the items shown have higher scores; ``order`` =
   * it is further down in the order of the request, or not in that list.
   */
  kind: "filter" | "candidates" | "list filter" | "length" | "rule" | "score" | "order";
  /** name of the filter or rule, as in the trace; else empty. */
  stage: string;
  /** one sentence for people. */
  text: string;
  /** what would change it, one sentence for people. */
  change: string;
  /** its score; None = it has none. */
  score: number | null;
  /** the lowest score of the items that are shown for their score; None without any. */
  last_score: number | null;
}

/** The answer to one request. */
export interface Answer {
  /**
   * unique id of this answer; callers send it with the events that follow. The id of a request
   * over HTTP, ``X-Request-ID``, is another one.
   */
  request_id: string;
  /** name of the generation that answered. */
  generation: string;
  /** name of the requested surface. */
  surface: string;
  /** one page of the list, in the order to show. */
  items: Array<AnswerItem>;
  /**
   * ``cursor`` in JSON, of the next page; empty on the last page. Pages of one list repeat
   * nothing and skip nothing, whatever happens between them.
   */
  cursor: string;
  /** number of items in the list; pages end after the first thousand or so. */
  total: number;
  /** whether it is that number; else there are about as many. */
  total_is_exact: boolean;
  /** stages and rungs that are missing: they failed, or were skipped; empty if none. */
  degraded: Array<string>;
  /** how the text was interpreted, ``query`` in JSON; None if no text was searched. */
  query?: SearchFeedback | null;
  /** attribute -> its values in the whole list, for those that the request names. */
  facets?: Record<string, Facet>;
}

/** One item of an answer. */
export interface AnswerItem {
  /** external id. */
  item_id: string;
  /** as shown; the id of an item without one. */
  title: string;
  /**
   * final value, higher is better; comparable within one answer only. The score of a sponsored
   * item is its expected revenue, bid x P(action); ``parts`` has its organic value.
   */
  score: number | null;
  /**
   * name -> number that the score is computed from: ranker features, probabilities. Those that
   * events carry, ``propensity`` and ``explored``, are there unasked.
   */
  parts?: Record<string, number | null>;
  /** the strongest evidence as one sentence for people; empty = no evidence. */
  reason: string;
  /** which sentence it is, for programs that word it themselves; empty = no evidence. */
  reason_code: string;
  /** name -> what the sentence says: ``title``, ``item_id``, ``value``, ``count``. */
  reason_parts?: Record<string, string | number>;
  /** whether the position was bought; pages must mark such an item. */
  sponsored: boolean;
  /** those that the request asks for, of which the item has a value. */
  attributes?: Record<string, string | number | Array<string>>;
  /** places in the title that match the searched text: begin and end, in characters. */
  highlights?: Array<[number, number]>;
}

/** Confirmation that an item was deleted. */
export interface DeletedOut {
  item_id: string;
  deleted: boolean;
}

/** The receipt of an erasure, with the state of every place at this moment. */
export interface ErasureOut {
  kind: "user" | "item";
  digest: string;
  erased_at: string;
  events: number;
  is_complete: boolean;
  places: Array<ErasurePlace>;
}

/** A place where something about a user or an item was, or may still be. */
export interface ErasurePlace {
  /** its name. */
  place: string;
  /**
   * ``erased``: nothing is left; ``pending``: something is, for the reason given; ``kept``: it
   * is not the engine's to erase, or tells nothing about anybody.
   */
  state: "erased" | "pending" | "kept";
  /** one sentence. */
  detail: string;
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

/** An interaction of a user with an item, or an impression. */
export interface Event {
  /** of the user. */
  user_id: string;
  /** of the item; empty for a query without a click. */
  item_id: string;
  /** Unix seconds, UTC. */
  timestamp: string;
  /** kind of interaction (``click``, ``rate``, ``purchase``); ``impression`` = shown. */
  action: string;
  /** strength, e.g. stars; None if the action has none. */
  value: number | null;
  /** the search text that led to it. */
  query: string;
  /** of the answer that led to it; joins clicks with impressions. */
  request_id: string;
  /** 0-based position in that answer. */
  position: number | null;
  /** where it happened. */
  surface: string;
  /** of the visit. */
  session_id: string;
  /** id given by the sender, for idempotent writes; empty = none. */
  event_id: string;
  /** where the user was; empty = not known. */
  country: string;
  /** what the user had in hand (``phone``, ``desktop``); empty = not known. */
  device: string;
  /**
   * probability, in (0, 1], with which its item or query was drawn for its position; None = it
   * was not drawn, or that is not known.
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
  /** Kind of interaction, such as ``click``, ``like``, ``rate``, ``purchase``, ``impression``. */
  action?: string;
  /** Strength, such as stars. */
  value?: number | null;
  /** The search text before it. */
  query?: string;
  /** The answer that led to it. */
  request_id?: string;
  /** 0-based position in that answer. */
  position?: number | null;
  /** The surface where it happened: one from the settings, or ``suggest``. */
  surface?: string;
  /** The visit. */
  session_id?: string;
  /** The sender's id of the event; an event with a stored id is not stored again. */
  event_id?: string;
  /** Where the user was. */
  country?: string;
  /** Kind of device, such as ``phone``. */
  device?: string;
  /**
   * Probability with which it was drawn for its position: ``parts.propensity`` of an explored
   * item, ``propensity`` of a suggested query.
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
  /** one sentence for people. */
  text: string;
  /** strength, higher is stronger; comparable within one kind only. */
  weight: number | null;
  /** the item of the history or the context behind it, of several the newest; empty = none. */
  item_id: string;
  /** which sentence it is: ``kind``, or of a kind with several a name of its own. */
  code: string;
  /** name -> what the sentence says of this item. */
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
  /** name of the generation that answered. */
  generation: string;
  /** the explained item. */
  item_id: string;
  /** reasons to show it, strongest first. */
  evidence: Array<Evidence>;
  /** name -> number that the score is computed from, as in ``AnswerItem``. */
  parts: Record<string, number | null>;
  /** its codes in text form, ``12-7-201``. */
  semantic_id: string;
  /** stage -> number of items after it, in the order of the stages. */
  trace: Record<string, number>;
  /** 0-based position in the whole list; None = not in it. */
  position: number | null;
  /** why it is not among the first ``Request.k`` items; None = it is. */
  absence: Absence | null;
}

/** The values of one attribute in a list. */
export interface Facet {
  /**
   * text -> number of items that have it, the most frequent ones first, at most 50; of numbers
   * none.
   */
  values: Record<string, number>;
  /** smallest of its numbers; None without any. */
  min: number | null;
  /** largest of its numbers; None without any. */
  max: number | null;
}

/** A file of an item that cannot be used. */
export interface FileProblem {
  /** external id. */
  item_id: string;
  /** item attribute with the path. */
  field: string;
  /** why it cannot be used, one sentence. */
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
  /** why it is left out; else empty. */
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
  /** its id. */
  item_id: string;
  /** as shown. */
  title: string;
  /** longer text. */
  description: string;
  /** further columns: text, numbers or lists of words. */
  attributes: Record<string, string | number | Array<string>>;
  /** Unix seconds from which it may be shown; None = always. */
  available_from: string | null;
  /** names of those whose values an LLM or rules chose, as the catalogue has none. */
  generated_attributes: Array<string>;
  /** its codes, coarse to fine; empty = not encoded. */
  semantic_id: Array<number>;
  /** what the items with the same first code have in common; empty = unknown. */
  code_label: string;
  /**
   * modality (``image``, ``audio``) -> state of the item's file; only those that it names and
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

/** A generation answers. */
export interface ReadyOut {
  /** always ``ready``; a service without a generation answers 503. */
  status: string;
  /** name of the current generation. */
  generation: string;
  /** number of processes that answer. */
  workers: number;
  /** whether a generation was refused, writes fail, or a worker is missing. */
  degraded: boolean;
  /** the published generation that could not be opened; empty = none. */
  refused_generation: string;
  /** why writes fail; empty = they do not. */
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
  /** the text, as it is shown. */
  text: string;
  /** ``broader`` = it drops words; ``substitute`` = another text. */
  kind: "broader" | "substitute";
  /**
   * of people who searched it next, the share among all who gave up; of a broader text, the
   * share of the query's IDF that it keeps.
   */
  confidence: number;
}

/** How a typed text was interpreted. */
export interface SearchFeedback {
  /** the searched text: as typed, corrected, or what a sentence asks for. */
  searched: string;
  /**
   * whether ``searched`` differs from the typed text; pages must say so and offer a search for
   * the text as typed.
   */
  is_corrected: boolean;
  /** a suggested correction that was not searched; empty = none. */
  did_you_mean: string;
  /** searched words that no item has. */
  unknown: Array<string>;
  /**
   * whether no item has any of the words, so that the items were found by the similarity of
   * their vectors only.
   */
  by_meaning: boolean;
  /**
   * whether nothing matches: no item has any of the words, and none is close enough in
   * meaning.
   */
  nothing: boolean;
  /**
   * external id of the item that the text asks for others like: the items are those of the
   * surface ``similar``; empty = it asks for none.
   */
  similar_to: string;
  /** texts to search instead if few items have all words, best first. */
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
  /** the query. */
  text: string;
  /**
   * ``title``, ``attribute``, ``rule`` (several values of attributes), ``name`` (a person or a
   * brand, and a type), ``series`` (of titles), ``phrase`` (of a description), ``like`` (items
   * similar to one), ``query`` (searched before), ``written`` (by an LLM) or ``spelling`` (a
   * title that was probably meant).
   */
  kind: string;
  /** the item with exactly this title, or the one whose similar items are searched; else empty. */
  item_id: string;
  /**
   * probability with which it was chosen for its position, in (0, 1]; below 1 for a query
   * drawn at random.
   */
  propensity: number;
}

/** Suggested queries, best first. */
export interface Suggestions {
  /** unique id of this answer; callers send it with the events that follow. */
  request_id: string;
  /** name of the generation that answered. */
  generation: string;
  /** ``suggestions`` in JSON; each has at least one result. */
  suggestions: Array<Suggestion>;
}

/** A user with attributes. */
export interface User {
  /** external id. */
  user_id: string;
  /** further columns: texts, numbers or lists of texts; ``country`` is a text. */
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
  listUsers(params?: { limit?: number }): Promise<UsersOut>;
  /** Store the attributes of one user or several in place of all earlier ones. */
  putUsers(users: Array<UserRow>): Promise<UserRowsOut>;
  /** The attributes of several users. */
  getUsers(params: UserIds): Promise<UserRowsOut>;
  /** A user's events, newest first; empty for an unknown user. */
  getHistory(user_id: string, params?: { limit?: number }): Promise<HistoryOut>;
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
  eraseUser(user_id: string): Promise<ErasureOut>;
  /** The catalogue in parts, for those who copy it: nothing twice, nothing left out. */
  listItems(params?: { limit?: number; cursor?: string }): Promise<ItemListOut>;
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
  /** Store one event or several; they are durable before the response. */
  addEvents(events: Array<EventIn>): Promise<StoredOut>;
  /** The process runs. */
  getLiveness(): Promise<LiveOut>;
  /**
   * A generation is loaded and answers; waits for no other request. A worker whose requests
   * hang is not ready.
   */
  getReadiness(): Promise<ReadyOut>;
}

/** Method, path, and the name of the rows in the body, of each operation. */
export const OPERATIONS: Record<keyof Operations, [string, string, string]> = {
  search: ["POST", "/v1/search", ""],
  recommend: ["POST", "/v1/recommend", ""],
  suggest: ["POST", "/v1/suggest", ""],
  explain: ["POST", "/v1/explain", ""],
  similar: ["POST", "/v1/items/{item_id}/similar", ""],
  listUsers: ["GET", "/v1/users", ""],
  putUsers: ["POST", "/v1/users", "users"],
  getUsers: ["POST", "/v1/users:get", ""],
  getHistory: ["GET", "/v1/users/{user_id}/history", ""],
  getUser: ["GET", "/v1/users/{user_id}", ""],
  putUser: ["PUT", "/v1/users/{user_id}", ""],
  changeUser: ["PATCH", "/v1/users/{user_id}", ""],
  eraseUser: ["DELETE", "/v1/users/{user_id}", ""],
  listItems: ["GET", "/v1/items", ""],
  addItems: ["POST", "/v1/items", "items"],
  getItems: ["POST", "/v1/items:get", ""],
  getItem: ["GET", "/v1/items/{item_id}", ""],
  changeItem: ["PATCH", "/v1/items/{item_id}", ""],
  deleteItem: ["DELETE", "/v1/items/{item_id}", ""],
  addEvents: ["POST", "/v1/events", "events"],
  getLiveness: ["GET", "/health/live", ""],
  getReadiness: ["GET", "/health/ready", ""],
};
