"""The engine: one published generation, the live store, and every surface over them.

Every answer is made of one state, taken once. Nothing here trains.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.text import open_encoder
from serendip.content.semantic_ids.group_names import group_name
from serendip.data.arrays import IntArray
from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.query import Query
from serendip.data.store.store import Store
from serendip.data.text import normalise
from serendip.engine.answer import Answer, Chosen, Explanation, Suggestion, Suggestions, offset_of
from serendip.engine.generations import open_current, open_earlier
from serendip.engine.labels import Labels
from serendip.engine.live_state import ItemUpdater, LiveState
from serendip.engine.presenter import build_answer, build_explanation, empty_answer
from serendip.engine.query_builder import QueryBuilder, number_of
from serendip.engine.query_suggestions import QuerySuggester, SuggestionUsers, UserContext
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import NOT_A_SURFACE, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, StorageError, UnsupportedError
from serendip.runtime.versions import Version
from serendip.search.suggestions.ranker import SuggestionUser

BUSY_TIMEOUT_S = 2.0
"""How long a write waits for other writers of the database before it is refused."""


class Engine:
    """Answers requests over one workspace; safe to call from many threads."""

    def __init__(
        self,
        settings: Settings,
        generation: Version,
        state: EngineState,
        encoder: TextEncoder,
        store: Store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.generation = generation.name
        self._manifest = generation.manifest
        self._store = store
        self._surfaces = settings.all_surfaces()
        self._clock = clock
        self._reader = QueryBuilder(encoder, state.fusion, store, settings.actions, clock)
        self._suggester = QuerySuggester(state, settings.queries)
        self._askers = SuggestionUsers(store, settings.actions)
        self._totals = store.totals(settings.actions.ignore)
        updater = ItemUpdater(encoder, settings.content, settings.token_reader)
        trained_on = int(generation.manifest["item_version"])
        self._live = LiveState(state, trained_on, store, updater)
        self.catch_up()

    @classmethod
    def open(cls, folder: Path | str, clock: Callable[[], float] = time.time) -> Engine:
        """Open the published generation of a workspace; without synonyms where they are broken.

        Args:
            folder: the workspace.
            clock: tells Unix seconds: which items are available yet.

        Raises:
            NotTrainedError: nothing is published yet.
            ArtefactError: a file of the generation is missing or altered.
            StorageError: the database is missing, or cannot be read.
        """
        workspace = Workspace.open(Path(folder))
        return cls._over(workspace, open_current(workspace.generations), clock)

    @classmethod
    def open_earlier(cls, folder: Path | str) -> Engine:
        """Open the newest sound generation before the published one, where that is damaged.

        Raises:
            NotTrainedError: there is none.
            ArtefactError: all are damaged.
            StorageError: the database is missing, or cannot be read.
        """
        workspace = Workspace.open(Path(folder))
        return cls._over(workspace, open_earlier(workspace.generations))

    @classmethod
    def _over(
        cls, workspace: Workspace, generation: Version, clock: Callable[[], float] = time.time
    ) -> Engine:
        synonyms = workspace.accepted_synonyms()
        state = EngineState.open(generation.folder).with_synonyms(synonyms)
        encoder = open_encoder(workspace.settings.content)
        store = workspace.open_store(BUSY_TIMEOUT_S)
        with ExitStack() as undo:
            undo.callback(store.close)
            store.keep_open()
            engine = cls(workspace.settings, generation, state, encoder, store, clock)
            undo.pop_all()
        return engine

    def close(self) -> None:
        """Close the store; requests in flight finish first where the caller waited for them."""
        self._store.close()

    def catch_up(self) -> None:
        """Take in what was posted or deleted in the store since this engine last looked.

        Needed once after opening, and when another engine over the same store took writes.
        """
        self._live.catch_up()
        self._totals.follow()

    def search(
        self,
        text: str,
        user_id: str = "",
        k: int = 10,
        cursor: str = "",
        country: str = "",
        literal: bool = False,
    ) -> Answer:
        """Find items by words, ranked for the user where one is given; no words find nothing."""
        return self.recommend("search", user_id, (), k, cursor, text, country, literal)

    def recommend(
        self,
        surface: str,
        user_id: str = "",
        item_ids: Sequence[str] = (),
        k: int = 10,
        cursor: str = "",
        text: str = "",
        country: str = "",
        literal: bool = False,
    ) -> Answer:
        """Answer any surface.

        Args:
            surface: a name of the settings or a built-in one.
            user_id: who asks; empty for an unknown visitor.
            item_ids: the item looked at, the cart.
            k: so many items.
            cursor: ``next`` of the answer before.
            text: what was typed; a surface that searches finds nothing without words.
            country: where the request comes from, in the words of the items.
            literal: search the text as it was typed, whatever may have been meant.
        """
        if k < 1:
            raise DataError(f"k = {k}.", "Ask for 1 item or more.")
        config, offset, state = self._surface(surface), offset_of(cursor), self.state
        query = self._reader.read(state, config, user_id, text, item_ids, country, literal)
        if config.needs == "query" and not normalise(text):
            return empty_answer(self.generation, surface)
        result = run([query], config, state)[0]
        return build_answer(result, state, self.generation, surface, offset, k)

    def similar(
        self, item_id: str, user_id: str = "", k: int = 10, cursor: str = "", country: str = ""
    ) -> Answer:
        """Items similar to one item."""
        return self.recommend("similar", user_id, [item_id], k, cursor, "", country)

    def needs(self, surface: str) -> Literal["", "query", "items"]:
        """What requests of a surface must have: words, or items to be like; empty = neither.

        Raises:
            UnsupportedError: no surface is called so; the hint has those that are.
        """
        return self._surface(surface).needs

    def suggest(self, text: str, user_id: str = "", k: int = 8, after: str = "") -> Suggestions:
        """Queries worth typing, each of which finds something.

        Args:
            text: what was typed so far; blank asks for what to search next.
            user_id: who asks; empty for an unknown visitor.
            k: at most this many; below 1 gives none.
            after: what was searched on the page that they are for; empty = none.
        """
        state = self.state
        if k < 1:
            found: list[Suggestion] = []
        elif normalise(text):
            found = self._suggester.complete(state, text, self._asker(state, user_id)[0], k)
        else:
            found = self._suggester.recommend(state, *self._asker(state, user_id), after, k)
        return Suggestions(uuid.uuid4().hex, self.generation, tuple(found))

    def explain(
        self,
        item_id: str,
        surface: str,
        user_id: str = "",
        text: str = "",
        item_ids: Sequence[str] = (),
        country: str = "",
        literal: bool = False,
    ) -> Explanation:
        """Why an item is, or is not, in the answer to this request."""
        state, config = self.state, self._surface(surface)
        item = number_of(item_id, state)
        query = self._reader.read(state, config, user_id, text, item_ids, country, literal)
        return build_explanation(run([query], config, state)[0], query, item, config, state)

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; they are in the user's history from the next request on.

        Returns:
            how many were new (an ``event_id`` sent again is not).

        Raises:
            UnsupportedError: one names a surface that there is not; then none is stored.
        """
        for surface in {event.surface for event in events} - {"", NOT_A_SURFACE}:
            self._surface(surface)
        new = self._store.put_events(events)
        with suppress(StorageError):  # they are stored; whoever reads the totals looks again
            self._totals.follow()
        return new

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items and make them findable and recommendable at once, without training."""
        return self._live.add_items(items)

    def delete_item(self, item_id: str) -> bool:
        """Delete an item; from the moment this returns it is never answered again."""
        return self._live.delete_item(item_id)

    def item(self, item_id: str) -> Item | None:
        """The item as stored now; None where it is unknown, deleted or not available yet."""
        state = self.state
        number = state.catalogue.vocabulary.number(item_id)
        return None if number < 0 or state.hidden[number] else state.catalogue[number]

    def semantic_id(self, item_id: str) -> tuple[int, ...]:
        """Codes of an item, coarse to fine; empty where it is unknown."""
        state = self.state
        number = state.catalogue.vocabulary.number(item_id)
        return () if number < 0 else tuple(int(code) for code in state.features.codes[number])

    def code_label(self, item_id: str) -> str:
        """Readable name of the item's groups, coarse to fine; empty where none has one."""
        state = self.state
        number = state.catalogue.vocabulary.number(item_id)
        return "" if number < 0 else group_name(state.code_names, state.features.codes[number])

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        """Most active users with the number of things they did."""
        return self._totals.users(limit)

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        """What a user did, newest first; what was only shown is no part of it."""
        return self._store.history(user_id, limit, self.settings.actions.ignore)[::-1]

    def chosen(self, user_id: str, limit: int = 50) -> list[Chosen]:
        """Items that a user chose and did not reject since, each once, the last one first."""
        state = self.state
        history = self._reader.past(state, user_id).history
        liked = frozenset(history.item_nums[history.liked].tolist())
        newest = list(dict.fromkeys(history.item_nums[::-1].tolist()))[:limit]
        ids = state.catalogue.vocabulary.ids_of(newest)
        return [Chosen(name, item in liked) for name, item in zip(ids, newest, strict=True)]

    def stats(self) -> dict[str, int | float | str]:
        """Counts for people and for metrics, from memory: events as of the last look at the log."""
        state = self._live.current
        return {
            "generation": self.generation,
            "items": int(state.num_items - state.hidden.sum()),
            "events": self._totals.num_events,
            "models": len(state.models),
            "published": str(self._manifest["created"]),
        }

    @property
    def labels(self) -> Labels:
        """Words for people for the names of numbers and sources in answers."""
        return Labels.of(self._live.current.models)

    def storage_problem(self) -> str:
        """Why a write would fail now, without trying one; empty = nothing is known."""
        return self._store.problem()

    @property
    def state(self) -> EngineState:
        """What requests are answered from now; a batch job holds one from its first step on.

        Items whose time has not come are hidden in it, as deleted ones are.
        """
        return self._live.at(self._clock())

    def word_queries(self, texts: Sequence[str]) -> list[Query]:
        """One search per text, by nobody in particular, for batch jobs."""
        state, config = self.state, self._surface("search")
        return [self._reader.read(state, config, text=text) for text in texts]

    def queries(self, surface: str, user_ids: Sequence[str], country: str = "") -> list[Query]:
        """One query per user, for batch jobs."""
        state, config = self.state, self._surface(surface)
        return [self._reader.read(state, config, user_id, country=country) for user_id in user_ids]

    def run(self, queries: Sequence[Query], surface: str) -> list[Result]:
        """Answer many queries of one surface without wording reasons; for batch jobs."""
        return run(queries, self._surface(surface), self.state)

    def item_ids(self, item_nums: IntArray) -> list[str]:
        """External ids of numbers that ``run`` returned."""
        return self.state.catalogue.vocabulary.ids_of(item_nums)

    def _asker(self, state: EngineState, user_id: str) -> tuple[SuggestionUser, UserContext]:
        if not user_id:
            return SuggestionUser(), UserContext()
        return self._askers.of(state, user_id, self._reader.past(state, user_id))

    def _surface(self, name: str) -> SurfaceConfig:
        if name not in self._surfaces:
            raise UnsupportedError(
                f"surface {name[:80]!r} is not configured.",
                f"Use one of: {', '.join(self._surfaces)}.",
            )
        return self._surfaces[name]
