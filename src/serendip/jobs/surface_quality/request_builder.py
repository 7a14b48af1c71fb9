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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serendip.content.features import fuse_text_vectors
from serendip.content.synthetic_queries import write_query
from serendip.data.arrays import NO_ITEMS, FloatArray
from serendip.data.events.repeats import Repeats
from serendip.data.query import Query, Task
from serendip.data.splits import Split, Targets
from serendip.engine.config.settings import Settings
from serendip.engine.stages.surfaces import COUNTRY, SEEN, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.runs import Keys
from serendip.jobs.context import JobContext
from serendip.jobs.surface_quality.baskets import ask_about_baskets
from serendip.jobs.surface_quality.requests import LabelledQuery, SurfaceRequests, ask_at
from serendip.jobs.surface_quality.sample import hash_key, sample_requests

MIN_LOGGED = 50
"""Logged searches with a choice from which on these ask search, and not written queries."""

NUM_AFTERWARDS = 10
"""Number of the user's next choices that a message or a sold place is compared with."""

NEXT = "The feed at a moment: does it have the item that the user chose next?"
BESIDE = (
    "The page of the item that the user chose last, or of another one of the same basket: does the "
    "list beside it have the item that they chose next?"
)
MESSAGE = (
    f"A message at one moment of each user: does it have one of the {NUM_AFTERWARDS} items that "
    "they chose next, or of all that they chose at one time?"
)
BASKETS = {
    "cart": "A half of a basket: does the list have the rest of it?",
    "thank_you": "A whole basket, just ordered: does the list have items of the user's next one?",
}
LOGGED = "A logged search: does the list have what was chosen after it?"
WRITTEN = (
    f"A written query (fewer than {MIN_LOGGED} searches were logged after the cut): a part of the "
    "title of an item that the user chose next, the title with a slip, or its attributes. Does the "
    "list have that item?"
)

_Made = tuple[str, list[LabelledQuery], int]
"""A question, the requests that ask it, and of how many they are a sample."""


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
        """The requests of one surface; none if the data have nothing that it could be asked.

        Items that the attribute filters of the surface never show are not relevant.
        """
        surface, targets = self.settings.all_surfaces()[name], self.split.targets
        if surface.task == "search" and "query" in surface.context:
            made = self._make_searches(name)
        elif surface.task in BASKETS:
            made = self._make_baskets(surface)
        elif surface.task == "similar":
            made = BESIDE, self._ask_next(targets, surface, self.limit), len(targets)
        elif surface.min_value is not None:
            users = len(set(targets.users))
            asked = self._ask_next(targets, surface, min(self.limit, users))
            made = MESSAGE, [replace(one, items=one.afterwards) for one in asked], users
        else:
            made = NEXT, self._ask_next(self.choices, surface, self.limit), len(self.choices)
        shown = np.ones(len(self.split.catalogue), np.bool_)
        for test in surface.attribute_tests:
            if test.values != (COUNTRY,):
                shown &= test.keep(self.split.catalogue)
        return SurfaceRequests(name, *made).within(shown)

    def build_next_items(self, name: str) -> SurfaceRequests:
        """The feed at all next choices, in their order."""
        surface, count = self.settings.all_surfaces()[name], len(self.choices)
        return SurfaceRequests(name, NEXT, self._ask_next(self.choices, surface, count), count)

    def _ask_next(self, targets: Targets, surface: SurfaceConfig, most: int) -> list[LabelledQuery]:
        targets, keys = self._sample(targets, most)
        asked = list[LabelledQuery]()
        task: Task = "similar" if surface.task == "similar" else "home"
        for row, key in enumerate(keys.tolist()):
            one = ask_at(targets, row, task, self.repeats)
            if one is not None:
                query, items = self._about(one.query, surface), targets.items[row : row + 1]
                after = targets.choices_after(row, NUM_AFTERWARDS)
                asked.append(LabelledQuery(query, items, key=key, afterwards=after))
        return asked

    def _make_baskets(self, surface: SurfaceConfig) -> _Made:
        """Those that exclude all wanted items are left out."""
        asked, task = [], surface.task
        parts = self.split, self.choices, task, self.repeats, self.limit
        sample, possible = ask_about_baskets(*parts)
        for one in sample:
            query = self._about(one.query, surface)
            left = one.items[~np.isin(one.items, query.exclude)]
            asked.append(replace(one, query=query, items=left))
        return BASKETS[task], asked, possible

    def _make_searches(self, name: str) -> _Made:
        logged = [
            request
            for request in self.split.requests
            if request.text.strip() and len(request.chosen) and request.surface == name
        ]
        if len(logged) < MIN_LOGGED:
            return self._make_written()
        rows, keys = sample_requests(
            [request.user_id for request in logged],
            lambda row: hash_key(logged[row].user_id, logged[row].text, logged[row].timestamp),
            self.limit,
        )
        chosen = [logged[row] for row in rows.tolist()]
        queries = self.with_vectors([self.split.targets.logged_query(one) for one in chosen])
        asked = [
            LabelledQuery(query, request.chosen, key=key)
            for query, request, key in zip(queries, chosen, keys.tolist(), strict=True)
        ]
        return LOGGED, asked, len(logged)

    def _make_written(self) -> _Made:
        targets, keys = self._sample(self.split.targets, self.limit)
        fields, asked = self.settings.content.fields, []
        for row, key in enumerate(keys.tolist()):
            item = self.split.catalogue[int(targets.items[row])]
            text = write_query(item, fields, np.random.default_rng(key))
            query = replace(targets.query(row, "search"), text=text)
            if text.strip():
                asked.append(LabelledQuery(query, targets.items[row : row + 1], key=key))
        queries = self.with_vectors([one.query for one in asked])
        asked = [replace(one, query=query) for one, query in zip(asked, queries, strict=True)]
        return WRITTEN, asked, len(self.split.targets)

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

    def _about(self, query: Query, surface: SurfaceConfig) -> Query:
        """A request that excludes what the surface never shows."""
        again = query.again if SEEN in surface.filters else NO_ITEMS
        excluded = [query.source_items, query.rejected.item_nums]
        if SEEN in surface.filters:
            excluded.append(np.setdiff1d(query.history.item_nums, again))
        exclude = np.unique(np.concatenate(excluded)).astype(np.int32)
        return replace(query, again=again, exclude=exclude)
