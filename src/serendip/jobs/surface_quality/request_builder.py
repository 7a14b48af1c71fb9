"""Builds the test requests of a surface, and what is relevant to each.

==========  =============================================================================
home        the feed at a moment; relevant is the item that the user chose next
similar     the page of the user's last item, or of another one of the same basket
            (``Targets.page_before``); relevant is the item that they chose next
cart        half of a basket, in no order; relevant is the rest of the basket
thank_you   a whole basket, just ordered; relevant is the user's next basket
search      a logged text; relevant is what was chosen after it. Without logged searches, a text
            written by rule for the item that a user chose next, which is then relevant
message     a surface with ``min_value``: one moment of a user; relevant is what they chose next
==========  =============================================================================

Any other surface has the requests of its task. As in the whole evaluation, an item that the
user chose or rejected before is not relevant where the surface leaves it out. Where the training
part says that items come again, requests have the items that are due then, as in the service, and
the surfaces of task home, the cart and the page after an order are also asked for these.

Shapes: T requests, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.content.features import fuse_text_vectors
from serendip.content.synthetic_queries import write_query
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.events.repeats import Repeats
from serendip.data.events.search_log import LoggedRequest
from serendip.data.query import Query, Task
from serendip.data.splits import Split, Targets
from serendip.engine.config.settings import Settings
from serendip.engine.stages.surfaces import COUNTRY, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.baskets import (
    ask_about_baskets,
)
from serendip.jobs.surface_quality.sample import Keys, hash_key, sample_requests

MIN_LOGGED = 50
"""Logged searches with a choice from which on these ask search, and not written queries."""

NUM_AFTERWARDS = 10
"""Number of the user's next choices that a message or a sold place is compared with."""

BASKETS: Mapping[Task, str] = {
    "cart": "A half of a basket: does the list have the rest of it?",
    "thank_you": "A whole basket, just ordered: does the list have items of the user's next one?",
}
"""Task -> what is asked about baskets."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceRequests:
    """Requests of one surface, and what is relevant to them.

    Args:
        question: what is asked, as a sentence.
        queries: T queries; ``exclude`` holds what no system may show.
        relevant: T arrays of distinct items, none empty.
        keys: (T,) what identifies each request in other runs.
        afterwards: T arrays of the items that the user chose next, for messages and sold places.
    """

    surface: str
    question: str
    queries: Sequence[Query]
    relevant: Sequence[IntArray]
    keys: Keys
    possible: int
    afterwards: Sequence[IntArray] = ()

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def users(self) -> NDArray[np.str_]:
        """(T,) external ids."""
        return np.array([query.user_id for query in self.queries], np.str_)

    def rows(self, rows: Sequence[int]) -> SurfaceRequests:
        """Select requests."""
        return replace(
            self,
            queries=[self.queries[row] for row in rows],
            relevant=[self.relevant[row] for row in rows],
            keys=self.keys[list(rows)],
            afterwards=[self.afterwards[row] for row in rows] if self.afterwards else (),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceRequestBuilder:
    """Builds the requests of all surfaces from the test part of a temporal split.

    Args:
        choices: the targets of the split, and items that came again (``next_choices``).
        correct: typed text -> the text to search instead; empty = no correction.
        encode: texts (Q,) -> their content vectors (Q, D).
    """

    split: Split
    choices: Targets
    repeats: Repeats
    settings: Settings
    correct: Callable[[str], str]
    encode: Callable[[Sequence[str]], FloatArray]
    limit: int

    @classmethod
    def of(
        cls, split: Split, choices: Targets, context: JobContext, state: EngineState, limit: int
    ) -> Self:
        """Read texts as the service does: corrected by the state, encoded for its fusion."""

        def encode(texts: Sequence[str]) -> FloatArray:
            texts = list(map(state.searcher.find_meaning, texts))
            vectors = context.vectors.encode(context.encoder, texts)
            fused = fuse_text_vectors(texts, vectors, state.fusion)  # (Q, D)
            titled = map(state.title_vector, texts)
            pairs = zip(fused, titled, strict=True)
            return np.array([row if item is None else item for row, item in pairs])

        correct = state.searcher.correct_text
        return cls(split, choices, state.repeats, context.settings, correct, encode, limit)

    def build(self, name: str) -> SurfaceRequests:
        """The requests of one surface; none if the data have nothing that it could be asked."""
        surface = self.settings.all_surfaces()[name]
        if surface.task == "search" and "query" in surface.context:
            requests = self._build_search(name)
        elif surface.task in BASKETS:
            requests = self._build_baskets(name, surface)
        elif surface.task == "similar":
            requests = self._build_from_item(name, surface)
        elif surface.min_value is not None:
            requests = self._build_messages(name)
        else:
            requests = self._build_next_item(name, *self._sample(self.choices, self.limit))
        return self._within_filters(requests, surface)

    def build_next_items(self, name: str) -> SurfaceRequests:
        """The feed at all next choices, in their order."""
        keys = np.zeros(len(self.choices), np.uint64)
        return self._build_next_item(name, self.choices, keys)

    def _build_next_item(self, name: str, targets: Targets, keys: Keys) -> SurfaceRequests:
        return SurfaceRequests(
            name,
            "The feed at a moment: does it have the item that the user chose next?",
            targets.queries(repeats=self.repeats),
            [items.reshape(1) for items in targets.items],
            keys,
            len(self.choices),
            self._afterwards(targets),
        )

    def _build_messages(self, name: str) -> SurfaceRequests:
        users = len(set(self.split.targets.users))
        targets, keys = self._sample(self.split.targets, min(self.limit, users))
        return SurfaceRequests(
            name,
            f"A message at one moment of each user: does it have one of the {NUM_AFTERWARDS} items "
            "that they chose next, or of all that they chose at one time?",
            targets.queries(repeats=self.repeats),
            afterwards := self._afterwards(targets),
            keys,
            users,
            afterwards,
        )

    def _build_from_item(self, name: str, surface: SurfaceConfig) -> SurfaceRequests:
        targets, keys = self._sample(self.split.targets, self.limit)
        pages = [targets.page_before(row) for row in range(len(targets))]
        rows = [row for row, page in enumerate(pages) if page is not None]
        queries = [
            self._about(
                replace(
                    targets.query(row, surface.task),
                    source_items=np.array([pages[row]], np.int32),
                ),
                surface,
            )
            for row in rows
        ]
        return SurfaceRequests(
            name,
            "The page of the item that the user chose last, or of another one of the same basket: "
            "does the list beside it have the item that they chose next?",
            queries,
            [targets.items[row : row + 1] for row in rows],
            keys[rows],
            len(self.split.targets),
        )

    def _build_baskets(self, name: str, surface: SurfaceConfig) -> SurfaceRequests:
        """Requests of a sample; those that exclude all wanted items are left out."""
        task, queries, relevant, kept = surface.task, [], [], []
        sample, keys, possible = ask_about_baskets(self.split, self.choices, task, self.limit)
        for row, asked in enumerate(sample):
            query = self._about(asked.query(self.choices, task), surface)
            left = asked.items[~np.isin(asked.items, query.exclude)]
            if len(left):
                queries.append(query)
                relevant.append(left)
                kept.append(row)
        return SurfaceRequests(name, BASKETS[task], queries, relevant, keys[kept], possible)

    def _build_search(self, name: str) -> SurfaceRequests:
        logged = [
            request
            for request in self.split.requests
            if request.text.strip() and len(request.chosen) and request.surface == name
        ]
        if len(logged) >= MIN_LOGGED:
            return self._build_logged(name, logged)
        return self._build_written(name)

    def _build_logged(self, name: str, logged: Sequence[LoggedRequest]) -> SurfaceRequests:
        rows, keys = sample_requests(
            [request.user_id for request in logged],
            lambda row: hash_key(logged[row].user_id, logged[row].text, logged[row].timestamp),
            self.limit,
        )
        chosen = [logged[row] for row in rows.tolist()]
        queries = [self.split.targets.logged_query(request) for request in chosen]
        return SurfaceRequests(
            name,
            "A logged search: does the list have what was chosen after it?",
            self.with_vectors(queries),
            [request.chosen for request in chosen],
            keys,
            len(logged),
        )

    def _build_written(self, name: str) -> SurfaceRequests:
        targets, keys = self._sample(self.split.targets, self.limit)
        fields = self.settings.content.fields
        texts = [
            write_query(self.split.catalogue[item], fields, np.random.default_rng(key))
            for item, key in zip(targets.items.tolist(), keys.tolist(), strict=True)
        ]
        rows = [row for row, text in enumerate(texts) if text.strip()]
        queries = [
            replace(query, task="search", text=text, exclude=NO_ITEMS)
            for query, text in zip(targets.queries(), texts, strict=True)
        ]
        return SurfaceRequests(
            name,
            f"A written query (fewer than {MIN_LOGGED} searches were logged after the cut): a part "
            "of the title of an item that the user chose next, the title with a slip, or its "
            "attributes. Does the list have that item?",
            self.with_vectors([queries[row] for row in rows]),
            [targets.items[row : row + 1] for row in rows],
            keys[rows],
            len(self.split.targets),
        )

    def with_vectors(self, queries: Sequence[Query]) -> list[Query]:
        """The queries as a request would read them: corrected and encoded."""
        if not queries:
            return []
        meant = [self.correct(query.text) for query in queries]
        read = [replace(query, meant=text) for query, text in zip(queries, meant, strict=True)]
        vectors = self.encode([query.searched for query in read])
        return [replace(query, text_vector=row) for query, row in zip(read, vectors, strict=True)]

    def _sample(self, targets: Targets, limit: int) -> tuple[Targets, Keys]:
        ids = self.split.catalogue.vocabulary

        def key_of(row: int) -> int:
            item = ids.id(int(targets.items[row]))
            return hash_key(targets.users[row], item, float(targets.times[row]))

        rows, keys = sample_requests(targets.users, key_of, limit)
        return targets.rows(rows), keys

    def _afterwards(self, targets: Targets) -> list[IntArray]:
        return [targets.choices_after(row, NUM_AFTERWARDS) for row in range(len(targets))]

    def _about(self, query: Query, surface: SurfaceConfig) -> Query:
        """A request about source items; excluded is what the surface never shows."""
        excluded, again = [query.source_items, query.rejected.item_nums], NO_ITEMS
        if "seen" in surface.filters:
            again = self.repeats.due(query.history, query.time)
            excluded.append(np.setdiff1d(query.history.item_nums, again))
        exclude = np.unique(np.concatenate(excluded)).astype(np.int32)
        return replace(query, again=again, exclude=exclude)

    def _within_filters(self, requests: SurfaceRequests, surface: SurfaceConfig) -> SurfaceRequests:
        """Without relevant items that the attribute filters of the surface never show."""
        tests = [test for test in surface.attribute_tests if test.values != (COUNTRY,)]
        if not tests or not len(requests):
            return requests
        shown = np.ones(len(self.split.catalogue), np.bool_)
        for test in tests:
            shown &= test.keep(self.split.catalogue)
        relevant = [items[shown[items]] for items in requests.relevant]
        rows = [row for row, items in enumerate(relevant) if len(items)]
        return replace(requests, relevant=relevant).rows(rows)
