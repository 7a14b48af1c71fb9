"""Suggested queries of one request: completions while somebody types, else what to search next.

Completions are titles, attribute values and verified queries that go on from what was typed, in one
order. Recommended are verified queries, and the user's own searches and items, by how well they
suit the user and, on a page of results, what was searched there. Whatever is shown finds something
now: items may have been deleted since the queries were verified.

Who asks for suggested queries: what they chose and searched, and how items suit them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.event import ActionRules
from serendip.data.query import History, Query, UserPast
from serendip.data.search_log import SUGGESTED
from serendip.data.store.store import Store
from serendip.data.text import normalise
from serendip.engine.answer import Suggestion
from serendip.engine.request import Request
from serendip.engine.stages.batch import condensed
from serendip.engine.stages.exploration import request_seed
from serendip.engine.state import EngineState
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.checks import TOP, Blocklist
from serendip.search.suggestions.completions import Suggested
from serendip.search.suggestions.config import QueriesConfig
from serendip.search.suggestions.ranker import (
    SuggestionChoices,
    SuggestionUser,
    new_share,
    query_features,
)
from serendip.search.suggestions.table import QueryTable

MOST_COMPLETIONS = 128
OWN_SEARCHES, OWN_ITEMS, MOST_LIKES = 5, 3, 2
_NEW_FROM = 0.5
_SAME_SHARE = 0.5
_TO_AN_ITEM = ("like", "title", "spelling")
_LOOKED_AT = 8
"""Times as many queries as are wanted may be passed over: alike, or finding nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class UserContext:
    """What a user did: some of it can be suggested again, and all of it says what is explored.

    Args:
        searched: their own searches, newest first.
        liked: numbers of items that they liked, newest first.
        user_id: external id; empty for an unknown visitor, for whom nothing is explored.
        history: all that they chose, oldest first.
        unwanted: numbers of items that are not recommended to them, nor what is like them.
        hidden: numbers of items that are kept from them everywhere, search included.
    """

    searched: Sequence[str] = ()
    liked: Sequence[int] = ()
    user_id: str = ""
    history: History = field(default_factory=History)
    unwanted: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A query of a table, with its score."""

    score: float
    table: QueryTable
    row: int

    @property
    def text(self) -> str:
        return self.table.texts[self.row]


class QuerySuggester:
    """Suggests from one generation; safe to use from many threads.

    Args:
        state: as it was opened.
        config: which sources are used, and how recommended queries are arranged.
    """

    def __init__(self, state: EngineState, config: QueriesConfig) -> None:
        self._table, self._ranker = state.queries, state.query_ranker
        self._config, self._unsafe = config, Blocklist.of(config.unsafe_words)
        self._counts = state.counts
        self._choices = SuggestionChoices.of(self._table, self._counts)
        self._usual = np.log1p(self._table.users) + 0.3 * np.log1p(self._choices.of_queries)

    def complete(
        self, state: EngineState, request: Request, asker: SuggestionUser, past: UserContext
    ) -> list[Suggestion]:
        """The ``request.k`` best completions of the text that was typed."""
        typed, k = request.text, request.k
        key = normalise(typed)
        named = state.suggester.suggest(typed, k)
        rows = self._going_on(key)
        if not len(rows) and all(one.kind == "spelling" for one in named):
            before, _, last = key.rpartition(" ")
            rows = self._going_on(f"{state.searcher.speller.corrected(before)} {last}".strip())
        others = self._named(state, [one for one in named if self._unsafe.allows(one.text)])
        places = [
            *self._placed(self._table, rows, self._choices, asker, key),
            *self._all_of(state, others, asker, key),
        ]
        allowed = (
            one for one in _best_first(places) if int(one.table.single[one.row]) not in past.hidden
        )
        return [_suggestion(state, one) for one in _living(state, allowed, k)]

    def recommend(
        self, state: EngineState, request: Request, asker: SuggestionUser, past: UserContext
    ) -> list[Suggestion]:
        """The ``request.k`` queries that are worth most to a user now.

        Args:
            state: of now.
            request: ``after`` is the query of the page that they are for.
            asker: features of the user.
            past: what of their own can be suggested again.
        """
        after, k = request.after, request.k
        key, pool = normalise(after), self._config.exploration
        seen = asker
        if key:
            results = state.searcher.search(after, TOP).item_nums
            asker = replace(asker, history=np.concatenate([asker.history, results[::-1]]))
        everything = np.arange(len(self._table))
        own = self._own(state, past) if "own" in self._config.sources else []
        places = [
            *self._placed(self._table, everything, self._choices, asker, ""),
            *self._all_of(state, own, asker, ""),
        ]
        ordered = (
            one
            for one in _best_first(places)
            if normalise(one.text) != key and int(one.table.single[one.row]) not in past.unwanted
        )
        wanted = max(k, k - 1 + pool)
        looked_at = (one for one, _ in zip(ordered, range(_LOOKED_AT * wanted), strict=False))
        chosen = list(_living(state, _unlike(looked_at), wanted))
        return self._arranged(state, chosen, seen, past, k, key)

    def _arranged(
        self,
        state: EngineState,
        chosen: Sequence[_Place],
        asker: SuggestionUser,
        past: UserContext,
        k: int,
        key: str,
    ) -> list[Suggestion]:
        """The best, new categories first where that is wanted, and the last one drawn.

        Users are drawn for by themselves, again after their next choice. Unknown visitors would all
        be shown the same draw, which is no draw: they are shown the best.
        """
        shown, pool = list(chosen[:k]), chosen[k - 1 :]
        chance = 1.0
        if self._config.exploration and past.user_id and k > 1 and len(pool) > 1:
            seed = request_seed(Query("suggest", key, user_id=past.user_id), past.history)
            shown[-1] = pool[int(np.random.default_rng(seed).integers(len(pool)))]
            chance = 1.0 / len(pool)
        drawn = shown[-1] if chance < 1.0 else None
        if self._config.new_categories_first and asker.seen.any():
            shown.sort(key=lambda one: not _is_new(one, asker))
        return [_suggestion(state, one, chance if one is drawn else 1.0) for one in shown]

    def _going_on(self, key: str) -> NDArray[np.intp]:
        rows = self._table.completions(key) if key else np.empty(0, np.intp)
        return rows[np.argsort(-self._usual[rows], kind="stable")[:MOST_COMPLETIONS]]

    def _named(self, state: EngineState, found: Sequence[Suggested]) -> list[Candidate]:
        """Titles and values beside the table's queries, as candidates."""
        others = []
        for one in found:
            if one.kind != "attribute":
                items = np.array([one.item_num], np.int32)
                others.append(Candidate(one.text, one.kind, "fields", items))
            elif normalise(one.text) not in self._table.rows_by_key:
                items = np.sort(state.searcher.lexical.search(one.text, TOP).item_nums)
                others.append(Candidate(one.text, "attribute", "fields", items))
        return others

    def _own(self, state: EngineState, past: UserContext) -> list[Candidate]:
        """The user's own searches and items; those of the table are in it already."""
        known, found = self._table.rows_by_key, []
        for text in past.searched[:OWN_SEARCHES]:
            if normalise(text) not in known and self._unsafe.allows(text):
                items = state.searcher.search(text, TOP).item_nums
                found.append(Candidate(text, "query", "own", np.sort(items)))
        shown = (item for item in past.liked if not state.hidden[item])
        for item in islice(shown, OWN_ITEMS):
            text = f"like {state.catalogue[item].title}"
            if state.catalogue[item].title and normalise(text) not in known:
                found.append(Candidate(text, "like", "own", np.array([item], np.int32)))
        return found

    def _all_of(
        self, state: EngineState, found: Sequence[Candidate], asker: SuggestionUser, typed: str
    ) -> list[_Place]:
        """Queries that are no rows of the table."""
        table = QueryTable.unverified(found, state.catalogue, self._table.categories)
        choices = SuggestionChoices.of(table, self._counts)
        return self._placed(table, np.arange(len(table)), choices, asker, typed)

    def _placed(
        self,
        table: QueryTable,
        rows: NDArray[np.intp],
        choices: SuggestionChoices,
        asker: SuggestionUser,
        typed: str,
    ) -> list[_Place]:
        if not len(rows):
            return []
        scores = self._ranker.scores(query_features(table, rows, choices, asker, typed))
        best = np.argsort(-scores, kind="stable")[:1_000].tolist()
        return [_Place(float(scores[at]), table, int(rows[at])) for at in best]


def _best_first(places: Iterable[_Place]) -> list[_Place]:
    """By score, each normal form once."""
    found: dict[str, _Place] = {}
    for one in sorted(places, key=lambda one: (-one.score, one.text)):
        found.setdefault(normalise(one.text) or one.text, one)
    return list(found.values())


def _unlike(places: Iterable[_Place]) -> Iterator[_Place]:
    """Without those whose first results are mostly those of a better one, and with few likes."""
    kept: list[frozenset[int]] = []
    likes = 0
    for one in places:
        if one.table.kinds[one.row] == "like":
            likes += 1
            if likes <= MOST_LIKES:
                yield one
            continue
        results = frozenset(one.table.results[one.row].tolist()) - {-1}
        if all(len(results & other) <= _SAME_SHARE * len(results) for other in kept):
            kept.append(results)
            yield one


def _living(state: EngineState, places: Iterable[_Place], k: int) -> Iterator[_Place]:
    """The first k that find something now: their item may be gone, or say other words."""
    left = k
    for one in places:
        if left < 1:
            return
        item = int(one.table.single[one.row])
        if item >= 0 and state.hidden[item]:
            continue
        leads_to_item = item >= 0 and one.table.kinds[one.row] in _TO_AN_ITEM
        if leads_to_item or len(state.searcher.lexical.search(one.text, 1)):
            left -= 1
            yield one


def _is_new(one: _Place, asker: SuggestionUser) -> bool:
    rows = np.array([one.row], np.intp)
    return bool(new_share(one.table, rows, asker.seen)[0] >= _NEW_FROM)


def _suggestion(state: EngineState, one: _Place, propensity: float = 1.0) -> Suggestion:
    kind, item = one.table.kinds[one.row], int(one.table.single[one.row])
    has_item = item >= 0 and kind != "written"
    item_id = state.catalogue[item].item_id if has_item else ""
    return Suggestion(one.text, kind, item_id, propensity)


OWN_EVENTS = 50
"""Newest events of a user whose words and items may be suggested again."""

MOST_USERS = 256
MOST_NUMBERS = 16_000_000
"""Users and, each having one number per item, numbers that are kept: 64 MB."""

_MODEL = "retriever"


class SuggestionUsers:
    """Users who asked, kept until they choose something else; safe to use from many threads.

    Args:
        store: where their events are.
        rules: which of them count.
    """

    def __init__(self, store: Store, rules: ActionRules) -> None:
        self._store, self._rules = store, rules
        self._lock = threading.Lock()
        self._kept: OrderedDict[
            tuple[str, int, float, bytes, int], tuple[SuggestionUser, UserContext]
        ] = OrderedDict()

    def of(
        self, state: EngineState, user_id: str, past: UserPast
    ) -> tuple[SuggestionUser, UserContext]:
        """A user with everything that they chose and rejected."""
        history, unwanted = past.history, past.rejected.reaching("recommendations")
        hidden = past.rejected.reaching("everywhere")
        last = float(history.timestamps[-1]) if len(history) else 0.0
        rejected = unwanted.tobytes() + b"|" + hidden.tobytes()
        key = (user_id, len(history), last, rejected, state.num_items)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is None:
            events = self._store.history(user_id, OWN_EVENTS, self._rules.ignore)
            searches = [one.query.strip() for one in events[::-1] if one.surface != SUGGESTED]
            taste = _taste(state, user_id, history)
            known = build_user(
                state, history, taste, _newest_first(searches), user_id, unwanted, hidden
            )
            with self._lock:
                self._kept[key] = known
                while len(self._kept) > most_kept(state.num_items):
                    self._kept.popitem(last=False)
        return known


def most_kept(num_items: int) -> int:
    """So many users are kept of a catalogue: one at least, and those asked for last."""
    return max(1, min(MOST_USERS, MOST_NUMBERS // max(1, num_items)))


def build_user(
    state: EngineState,
    history: History,
    taste: FloatArray,
    searched: Sequence[str],
    user_id: str = "",
    unwanted: IntArray = NO_ITEMS,
    hidden: IntArray = NO_ITEMS,
) -> tuple[SuggestionUser, UserContext]:
    """A user as of the moment of asking.

    Args:
        state: what requests are answered from.
        history: all that they chose, oldest first.
        taste: see ``SuggestionUser``.
        searched: their own searches, newest first.
        user_id: external id; empty where nothing is to be explored.
        unwanted: items that are not recommended to them.
        hidden: items that are kept from them everywhere.
    """
    liked = tuple(dict.fromkeys(history.item_nums[history.liked][::-1].tolist()))
    seen = state.queries.categories.among(state.catalogue[int(item)] for item in history.item_nums)
    asker = SuggestionUser(history.item_nums, taste, seen, frozenset(map(normalise, searched)))
    rejected = frozenset(unwanted.tolist()), frozenset(hidden.tolist())
    return asker, UserContext(searched, liked, user_id, history, *rejected)


def _newest_first(searches: Sequence[str]) -> list[str]:
    """Each normal form once."""
    found: dict[str, str] = {}
    for text in searches:
        found.setdefault(normalise(text), text)
    return [text for key, text in found.items() if key]


def _taste(state: EngineState, user_id: str, history: History) -> FloatArray:
    """(N,) the retriever's scores of all items, told in deviations from their mean."""
    model = state.models.get(_MODEL)
    if model is None or not len(history):
        return np.empty(0, np.float32)
    query = condensed(Query("home", user_id=user_id, history=history), state)
    scores = model.score_all([query])[0]
    finite = np.isfinite(scores)
    spread = float(scores[finite].std()) if finite.any() else 0.0
    if spread == 0.0:
        return np.empty(0, np.float32)
    mean = float(scores[finite].mean())
    return np.where(finite, (scores - mean) / spread, 0.0).astype(np.float32)
