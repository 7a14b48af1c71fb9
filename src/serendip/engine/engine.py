"""The engine: one published generation, the live store, and every surface over them.

Every answer is made of one state, taken once. Nothing here trains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.text import open_encoder
from serendip.content.semantic_ids.group_names import build_group_name
from serendip.data.arrays import IntArray
from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.query import Query
from serendip.data.store.store import Store
from serendip.data.text import normalise
from serendip.engine.answer import Answer, Chosen, Explanation, Suggestions, offset_of
from serendip.engine.generations import open_current, open_earlier
from serendip.engine.item_pictures import ItemPictures
from serendip.engine.labels import Labels
from serendip.engine.live_state import ItemUpdater, LiveState
from serendip.engine.presenter import (
    build_answer,
    build_explanation,
    build_suggestions,
    empty_answer,
)
from serendip.engine.query_builder import QueryBuilder, number_of
from serendip.engine.query_suggestions import QuerySuggester, SuggestionUsers, UserContext
from serendip.engine.request import Request
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import run
from serendip.engine.stages.selection import Result
from serendip.engine.stages.surfaces import NOT_A_SURFACE, find_surface
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, StorageError
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
        pictures: ItemPictures,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.pictures = pictures
        self.generation = generation.name
        self._manifest = generation.manifest
        self._store = store
        self._surfaces = settings.all_surfaces()
        self._clock = clock
        self._query_builder = QueryBuilder(
            encoder, state.fusion, store, settings.actions, self._surfaces, clock
        )
        self._suggester = QuerySuggester(state, settings.queries)
        self._suggestion_users = SuggestionUsers(store, settings.actions)
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
            settings = workspace.settings
            pictures = ItemPictures.of(workspace.folder, settings.page, settings.content.image)
            engine = cls(settings, generation, state, encoder, store, pictures, clock)
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

    def recommend(self, request: Request) -> Answer:
        """Answer a request of any surface; one that searches finds nothing without words.

        Raises:
            UnsupportedError: the surface is not configured.
            UnknownItemError: an item of the request is not in the catalogue, or hidden.
            DataError: ``k`` is below 1, or the cursor is not valid.
        """
        if request.k < 1:
            raise DataError(f"k = {request.k}.", "Ask for 1 item or more.")
        surface = find_surface(self._surfaces, request.surface)
        offset, state = offset_of(request.cursor), self.state
        query = self._query_builder.build(state, request)
        if surface.needs == "query" and not normalise(request.text):
            return empty_answer(self.generation, request.surface)
        result = run([query], surface, state)[0]
        return build_answer(result, state, self.generation, request, offset)

    def search(self, text: str, **parameters: Any) -> Answer:
        """Find items by words; ``parameters`` are further fields of ``Request``."""
        return self.recommend(Request("search", text=text, **parameters))

    def similar(self, item_id: str, **parameters: Any) -> Answer:
        """Find items similar to one item; ``parameters`` are further fields of ``Request``."""
        return self.recommend(Request("similar", item_ids=(item_id,), **parameters))

    def needs(self, surface: str) -> Literal["", "query", "items"]:
        """What requests of a surface must have: words, or items to be like; empty = neither.

        Raises:
            UnsupportedError: no surface is called so; the hint has those that are.
        """
        return find_surface(self._surfaces, surface).needs

    def suggest(self, request: Request) -> Suggestions:
        """Suggest queries, each of which finds something: completions of the text where there is
        one, else what to search next. ``k`` below 1 gives none.
        """
        state = self.state
        if request.k < 1:
            return build_suggestions(self.generation, ())
        user, past = self._suggestion_user(state, request.user_id)
        if normalise(request.text):
            found = self._suggester.complete(state, request, user, past)
        else:
            found = self._suggester.recommend(state, request, user, past)
        return build_suggestions(self.generation, found)

    def explain(self, request: Request, item_id: str) -> Explanation:
        """Why an item is, or is not, in the answer to a request.

        Raises:
            UnsupportedError: the surface is not configured.
            UnknownItemError: the item, or one of the request, is not in the catalogue, or hidden.
        """
        state, surface = self.state, find_surface(self._surfaces, request.surface)
        item = number_of(item_id, state)
        query = self._query_builder.build(state, request)
        return build_explanation(run([query], surface, state)[0], query, item, surface, state)

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; they are in the user's history from the next request on.

        Returns:
            how many were new (an ``event_id`` sent again is not).

        Raises:
            UnsupportedError: one names a surface that there is not; then none is stored.
        """
        for surface in {event.surface for event in events} - {"", NOT_A_SURFACE}:
            find_surface(self._surfaces, surface)
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
        return (
            "" if number < 0 else build_group_name(state.code_names, state.features.codes[number])
        )

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        """Most active users with the number of things they did."""
        return self._totals.users(limit)

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        """What a user did, newest first; what was only shown is no part of it."""
        return self._store.history(user_id, limit, self.settings.actions.ignore)[::-1]

    def chosen(self, user_id: str, limit: int = 50) -> list[Chosen]:
        """Items that a user chose and did not reject since, each once, the last one first."""
        state = self.state
        history = self._query_builder.past(state, user_id).history
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
        """Labels for people of the names in answers."""
        return Labels.of(self._live.current.models, self._surfaces)

    def storage_problem(self) -> str:
        """Why a write would fail now, without trying one; empty = nothing is known."""
        return self._store.problem()

    @property
    def state(self) -> EngineState:
        """What requests are answered from now; a batch job holds one from its first step on.

        Items whose time has not come are hidden in it, as deleted ones are.
        """
        return self._live.at(self._clock())

    def queries(self, requests: Iterable[Request]) -> list[Query]:
        """Requests as queries of one state, for batch jobs."""
        state = self.state
        return [self._query_builder.build(state, request) for request in requests]

    def run(self, queries: Sequence[Query], surface: str) -> list[Result]:
        """Answer many queries of one surface without wording reasons; for batch jobs."""
        return run(queries, find_surface(self._surfaces, surface), self.state)

    def item_ids(self, item_nums: IntArray) -> list[str]:
        """External ids of numbers that ``run`` returned."""
        return self.state.catalogue.vocabulary.ids_of(item_nums)

    def _suggestion_user(
        self, state: EngineState, user_id: str
    ) -> tuple[SuggestionUser, UserContext]:
        if not user_id:
            return SuggestionUser(), UserContext()
        return self._suggestion_users.of(state, user_id, self._query_builder.past(state, user_id))
