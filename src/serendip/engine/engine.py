"""The engine: one published generation, the live store, and every surface over them.

Reads take the current state once and finish on it. Writes go to the store first (durable when
they return) and then make a new state, so an item posted is findable at once, and one deleted is
gone at once. Nothing here trains.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from serendip.content.encoder import TextEncoder
from serendip.content.features import encode_new, encode_words, reads_alike
from serendip.content.names import group_name
from serendip.content.text import open_encoder
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.dataset import ItemFeatures
from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.query import History, Query, Surface
from serendip.data.semantic_ids import code_name
from serendip.data.store import Store
from serendip.engine.answer import Answer, AnswerItem, Explanation, Suggestion
from serendip.engine.batch import Batch, Candidates
from serendip.engine.cursor import cursor_of, offset_of
from serendip.engine.explain import Explainer
from serendip.engine.feature_names import FEATURES
from serendip.engine.features import feature_matrix
from serendip.engine.generation import Generation, open_current
from serendip.engine.pasts import Pasts
from serendip.engine.pipeline import Result, run
from serendip.engine.settings import Settings
from serendip.engine.state import EngineState
from serendip.engine.surfaces import SurfaceConfig
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, UnknownItemError, UnsupportedError
from serendip.search.analysis import normalise

_WORDS = ("title match", "bm25")


class Engine:
    """Answers requests over one workspace; safe to call from many threads."""

    def __init__(
        self,
        settings: Settings,
        generation: Generation,
        state: EngineState,
        encoder: TextEncoder,
        store: Store,
    ) -> None:
        self.settings = settings
        self.generation = generation.name
        self._manifest = generation.manifest
        self._state = state
        self._encoder = encoder
        self._store = store
        self._pasts = Pasts(store, settings.actions)
        self._writing = threading.Lock()
        self._encode_text = lru_cache(maxsize=4096)(self._encode_uncached)
        self._item_version = int(generation.manifest["item_version"])
        self.catch_up()

    @classmethod
    def open(cls, folder: Path | str) -> Engine:
        """Open the published generation of a workspace.

        Raises:
            NotTrainedError: nothing is published yet.
            ArtefactError: a file of the generation is missing or altered.
        """
        workspace = Workspace.open(Path(folder))
        generation = open_current(workspace.generations)
        state = EngineState.open(generation.folder)
        encoder = open_encoder(workspace.settings.content)
        return cls(workspace.settings, generation, state, encoder, workspace.open_store())

    def close(self) -> None:
        """Close the store; requests in flight finish first where the caller waited for them."""
        self._store.close()

    def catch_up(self) -> None:
        """Take in what was posted or deleted in the store since this engine last looked.

        Needed once after opening, and when another engine over the same store took writes.
        """
        with self._writing:
            version = self._store.max_version()
            if version == self._item_version:
                return
            items = self._store.items_after(self._item_version)
            state = self._state_with(items, self._state) if items else self._state
            numbers = state.catalogue.vocabulary.numbers(self._store.deleted_ids())
            self._state = state.with_hidden(numbers[numbers >= 0])
            self._item_version = version

    def search(self, text: str, user_id: str = "", k: int = 10, cursor: str = "") -> Answer:
        """Find items by words, ranked for the user where one is given; no words find nothing."""
        if not normalise(text):
            return Answer(uuid.uuid4().hex, self.generation, "search", ())
        state = self._state
        return self._answer(self._query(state, "search", user_id, text), state, k, cursor)

    def recommend(
        self,
        surface: str,
        user_id: str = "",
        item_ids: Sequence[str] = (),
        k: int = 10,
        cursor: str = "",
    ) -> Answer:
        """Recommend for a surface; ``item_ids`` is the context (item looked at, cart)."""
        state = self._state
        query = self._query(state, surface, user_id, item_ids=item_ids)
        return self._answer(query, state, k, cursor)

    def similar(self, item_id: str, user_id: str = "", k: int = 10, cursor: str = "") -> Answer:
        """Items similar to one item."""
        return self.recommend("similar", user_id, [item_id], k, cursor)

    def suggest(self, text: str, user_id: str = "", k: int = 8) -> list[Suggestion]:
        """Queries worth typing, each of which finds something."""
        state = self._state
        return [
            Suggestion(
                one.text,
                one.kind,
                state.catalogue[one.item_num].item_id if one.item_num >= 0 else "",
            )
            for one in state.suggester.suggest(text, k)
        ]

    def explain(
        self,
        item_id: str,
        surface: str,
        user_id: str = "",
        text: str = "",
        item_ids: Sequence[str] = (),
    ) -> Explanation:
        """Why an item is, or is not, in the answer to this request."""
        state = self._state
        item = self._number(item_id, state)
        query = self._query(state, surface, user_id, text, item_ids)
        result = run([query], self._surface(surface), state)[0]
        places = np.flatnonzero(result.items.item_nums == item)
        if len(places):
            features = np.array([result.items.fields[name][places[0]] for name in FEATURES])
        else:
            features = self._features_of(query, item, state)
        parts = _finite_parts(features)
        explainer = Explainer(state, result.query, np.array([item], np.int32))
        return Explanation(
            item_id,
            tuple(explainer.evidence(*([parts.get(name, math.nan)] for name in _WORDS))[0]),
            parts,
            code_name(state.features.codes[item]),
            result.trace,
            int(places[0]) if len(places) else None,
        )

    def add_events(self, events: Sequence[Event]) -> int:
        """Store events; they are in the user's history from the next request on.

        Returns:
            how many were new (an ``event_id`` sent again is not).
        """
        return self._store.put_events(events)

    def add_items(self, items: Sequence[Item]) -> int:
        """Store items and make them findable and recommendable at once, without training."""
        unique = list({item.item_id: item for item in items}.values())
        with self._writing:
            count = self._store.put_items(unique)
            self._state = self._state_with(unique, self._state)
        return count

    def delete_item(self, item_id: str) -> bool:
        """Delete an item; from the moment this returns it is never answered again."""
        with self._writing:
            deleted = self._store.delete_item(item_id)
            number = self._state.catalogue.vocabulary.number(item_id)
            if number >= 0:
                self._state = self._state.with_hidden(np.array([number], np.int32))
        return deleted

    def item(self, item_id: str) -> Item | None:
        """The item as stored now; None where it is unknown or deleted."""
        state = self._state
        number = state.catalogue.vocabulary.number(item_id)
        return None if number < 0 or state.hidden[number] else state.catalogue[number]

    def semantic_id(self, item_id: str) -> tuple[int, ...]:
        """Codes of an item, coarse to fine; empty where it is unknown."""
        state = self._state
        number = state.catalogue.vocabulary.number(item_id)
        return () if number < 0 else tuple(int(code) for code in state.features.codes[number])

    def code_label(self, item_id: str) -> str:
        """Readable name of the item's groups, coarse to fine; empty where none has one."""
        state = self._state
        number = state.catalogue.vocabulary.number(item_id)
        return "" if number < 0 else group_name(state.code_names, state.features.codes[number])

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        """Most active users with their number of events."""
        return self._store.users(limit)

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        """What a user did, newest first."""
        return self._store.history(user_id, limit)[::-1]

    def stats(self) -> dict[str, int | float | str]:
        """Counts for people and for metrics."""
        state = self._state
        return {
            "generation": self.generation,
            "items": int(state.num_items - state.hidden.sum()),
            "events": self._store.count_events(),
            "models": len(state.models),
            "published": str(self._manifest["created"]),
        }

    def queries(self, surface: Surface, user_ids: Sequence[str]) -> list[Query]:
        """One query per user, for batch jobs."""
        state = self._state
        return [self._query(state, surface, user_id) for user_id in user_ids]

    def run(self, queries: Sequence[Query], surface: str) -> list[Result]:
        """Answer many queries of one surface without wording reasons; for batch jobs."""
        return run(queries, self._surface(surface), self._state)

    def item_ids(self, item_nums: IntArray) -> list[str]:
        """External ids of numbers that ``run`` returned."""
        return self._state.catalogue.vocabulary.ids_of(item_nums)

    def _answer(self, query: Query, state: EngineState, k: int, cursor: str) -> Answer:
        if k < 1:
            raise DataError(f"k = {k}.", "Ask for 1 item or more.")
        offset = offset_of(cursor)
        result = run([query], self._surface(query.surface), state)[0]
        page = result.items.take(np.arange(offset, min(offset + k, len(result.items))))
        words = (page.fields[name].tolist() for name in _WORDS)
        reasons = Explainer(state, result.query, page.item_nums).reasons(*words)
        items = []
        for row, item in enumerate(page.item_nums):
            parts = _finite_parts(np.array([page.fields[name][row] for name in FEATURES]))
            item_id = state.catalogue[int(item)].item_id
            items.append(AnswerItem(item_id, float(page.scores[row]), parts, reasons[row]))
        following = cursor_of(offset + k) if offset + k < len(result.items) else ""
        return Answer(
            uuid.uuid4().hex,
            self.generation,
            query.surface,
            tuple(items),
            following,
            result.degraded,
        )

    def _query(
        self,
        state: EngineState,
        surface: str,
        user_id: str = "",
        text: str = "",
        item_ids: Sequence[str] = (),
    ) -> Query:
        """Ids to numbers of one state, text to a vector, the user's whole past."""
        self._surface(surface)
        vocabulary = state.catalogue.vocabulary
        sources = [self._number(item_id, state) for item_id in item_ids]
        return Query(
            surface=surface,  # type: ignore[arg-type]
            text=text,
            text_vector=self._encode_text(text) if text.strip() else None,
            user_id=user_id,
            history=self._pasts.history(user_id, vocabulary) if user_id else History(),
            source_items=np.array(sources, np.int32) if sources else NO_ITEMS,
            time=time.time(),
        )

    def _surface(self, name: str) -> SurfaceConfig:
        surfaces = self.settings.all_surfaces()
        if name not in surfaces:
            raise UnsupportedError(
                f"surface {name!r} is not configured.", f"Use one of: {', '.join(surfaces)}."
            )
        return surfaces[name]

    def _number(self, item_id: str, state: EngineState) -> int:
        number = state.catalogue.vocabulary.number(item_id)
        if number < 0 or state.hidden[number]:
            raise UnknownItemError(
                f"item {item_id!r} is not in the catalogue.", "POST it to /v1/items first."
            )
        return number

    def _features_of(self, query: Query, item: int, state: EngineState) -> FloatArray:
        allowed = np.ones((1, state.num_items), dtype=np.bool_)
        batch = Batch.of([query], self._surface(query.surface), state, allowed)
        row = Candidates(np.zeros(1, np.int32), np.array([item], np.int32))
        features: FloatArray = feature_matrix(batch, row)[0]
        return features

    def _encode_uncached(self, text: str) -> FloatArray:
        vectors = self._encoder.encode([text])
        vector: FloatArray = encode_words([text], vectors, self._state.fusion)[0]
        return vector

    def _state_with(self, items: Sequence[Item], state: EngineState) -> EngineState:
        """New items appended, known ones replaced in place; deleted ones come back."""
        vocabulary = state.catalogue.vocabulary
        known = [item for item in items if item.item_id in vocabulary]
        fresh = [item for item in items if item.item_id not in vocabulary]
        fields = self.settings.content.fields
        if known:
            numbers = vocabulary.numbers(item.item_id for item in known)
            features = self._features_again(numbers, known, state)
            state = state.with_changed_items(numbers, known, features).with_hidden(numbers, False)
        if fresh:
            features = encode_new(fresh, self._encoder, state.codebooks, fields, state.fusion)
            state = state.with_items(fresh, features)
        return state

    def _features_again(
        self, numbers: IntArray, items: Sequence[Item], state: EngineState
    ) -> ItemFeatures:
        """Features of known items posted again; those that name the same files keep theirs.

        Without that, a new price would cost an item its picture until the next training.
        """
        content = self.settings.content
        new = encode_new(items, self._encoder, state.codebooks, content.fields, state.fusion)
        if not state.fusion.blocks:
            return new
        before = [state.catalogue[int(number)] for number in numbers]
        same = reads_alike(before, items, (*content.fields, *content.media_fields))
        return new.with_rows(same, state.features.rows(numbers[same]))


def _finite_parts(features: FloatArray) -> dict[str, float]:
    return {
        name: round(float(value), 5)
        for name, value in zip(FEATURES, features, strict=True)
        if math.isfinite(value)
    }
