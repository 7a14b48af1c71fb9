"""An immutable snapshot of everything known up to a cut: catalogue, events, features.

Trainers get a ``Dataset`` and nothing else, so what is not in it cannot leak into a model.

Behaviour as pairs of items, and content vectors moved by it: plain arrays, no training.

The projection is learned in ``content``; serving applies it to items that are posted later.

Which items stand how many places apart in somebody's history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.item import Catalogue
from serendip.data.item_features import ItemFeatures
from serendip.data.negative_log import NegativeLog
from serendip.data.numeric import unit
from serendip.data.query import History
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError

if TYPE_CHECKING:
    from serendip.data.search_log import LoggedRequest


@dataclass(frozen=True, slots=True, eq=False)
class EventLog:
    """Interactions in order of time; ties keep the order of arrival.

    Args:
        users: (E,) int32 user numbers.
        items: (E,) int32 item numbers.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        liked: (E,) bool.
        values: (E,) float32, NaN where the event had none.
        strengths: (E,) float32 how much each counts where it is foretold; None = all the same.
        actions: (E,) int16 places in ``Dataset.action_names``; None = not known.
    """

    users: IntArray
    items: IntArray
    timestamps: TimeArray
    liked: BoolArray
    values: FloatArray
    strengths: FloatArray | None = None
    actions: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def rows(self, mask: BoolArray) -> EventLog:
        """Events where ``mask`` is True, in order."""
        return EventLog(
            self.users[mask],
            self.items[mask],
            self.timestamps[mask],
            self.liked[mask],
            self.values[mask],
            None if self.strengths is None else self.strengths[mask],
            None if self.actions is None else self.actions[mask],
        )


@dataclass(frozen=True, slots=True, eq=False)
class QueryExamples:
    """Queries with a known good item: logged ones, or written from item fields.

    Args:
        texts: Q strings.
        vectors: (Q, D) float32 unit vectors of the texts.
        items: (Q,) int32 the item that each should find.
    """

    texts: Sequence[str]
    vectors: FloatArray
    items: IntArray

    def __len__(self) -> int:
        return len(self.texts)

    def joined(self, more: QueryExamples) -> QueryExamples:
        """These, then others."""
        if not len(more):
            return self
        return QueryExamples(
            [*self.texts, *more.texts],
            np.concatenate([self.vectors, more.vectors]),
            np.concatenate([self.items, more.items]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What came next for some users: targets to stop training by, never learned from.

    The input of a target is the whole history of its user in the dataset.

    Args:
        users: (V,) int32 user numbers.
        items: (V,) int32 item numbers; one outside the catalogue is a miss whatever is answered.
    """

    users: IntArray
    items: IntArray

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class UserCountries:
    """Where users are, in the words of requests.

    Args:
        names: C different countries.
        of_users: (U,) int32 place in ``names``; -1 = not known.
    """

    names: tuple[str, ...]
    of_users: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A catalogue, a log and what content says about the items.

    Args:
        catalogue: the items; events refer to them by number.
        users: ids of the users; events refer to them by number.
        events: interactions, ordered by time.
        features: content vectors and codes, once they are computed.
        queries: examples for the search task, once they are written.
        cut: Unix seconds after which nothing is in here; None = everything is.
        validation: targets to stop training by; None = a model holds back events of its own.
        alignment: moves content to where behaviour puts it, once that is learned.
        quality: (N, Q) float32 how good items are whoever asks, see ``data.item_quality``.
        requests: the newest ones that were logged, in order of time.
        countries: of the users, where they are known.
        negatives: negative events; nothing learns from them what comes next.
        action_names: kinds of interaction that ``EventLog.actions`` names by place.
    """

    catalogue: Catalogue
    users: Vocabulary
    events: EventLog
    features: ItemFeatures | None = None
    queries: QueryExamples | None = None
    cut: float | None = None
    validation: HeldOut | None = None
    alignment: AlignedProjection | None = None
    quality: FloatArray | None = None
    requests: Sequence[LoggedRequest] = ()
    countries: UserCountries | None = None
    negatives: NegativeLog = field(default_factory=NegativeLog)
    action_names: tuple[str, ...] = ()
    _by_user: dict[int, History] = field(default_factory=dict, repr=False)

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.catalogue)

    @property
    def num_users(self) -> int:
        """Number of users in the vocabulary."""
        return len(self.users)

    def with_features(self, features: ItemFeatures) -> Dataset:
        """A copy that carries content features."""
        return replace(self, features=features)

    def with_queries(self, queries: QueryExamples) -> Dataset:
        """A copy that carries query examples."""
        return replace(self, queries=queries)

    def with_alignment(self, alignment: AlignedProjection) -> Dataset:
        """A copy that carries a learned alignment of its content.

        Raises:
            DataError: it was learned on content of another size.
        """
        learned = len(alignment.down)
        size = 0 if self.features is None else self.features.content.shape[1]
        if learned != size:
            raise DataError(
                f"an alignment of content of size {learned} for content of size {size}.",
                "Learn it on the content of this dataset, with `align`.",
            )
        return replace(self, alignment=alignment)

    def with_quality(self, quality: FloatArray) -> Dataset:
        """A copy that carries the quality of its items."""
        return replace(self, quality=quality)

    def with_countries(self, countries: UserCountries | None) -> Dataset:
        """A copy that knows where its users are.

        Raises:
            DataError: not one country, or -1, for each user.
        """
        if countries is not None and len(countries.of_users) != self.num_users:
            raise DataError(
                f"countries of {len(countries.of_users)} users for {self.num_users} users.",
                "Give one per user, -1 where it is not known.",
            )
        return replace(self, countries=countries)

    def without_last_events(self) -> Dataset:
        """All but the last event of each user with three or more; those become the targets."""
        order = np.argsort(self.events.users, kind="stable")
        users = self.events.users[order]
        is_last = np.append(users[1:] != users[:-1], True)[: len(users)]
        counts = np.bincount(users, minlength=self.num_users)
        last = order[is_last & (counts[users] >= 3)]
        kept = np.ones(len(users), np.bool_)
        kept[last] = False
        held = HeldOut(self.events.users[last], self.events.items[last])
        return replace(self, events=self.events.rows(kept), validation=held, _by_user={})

    def with_validation(self, validation: HeldOut) -> Dataset:
        """A copy that carries targets to stop training by."""
        return replace(self, validation=validation)

    def history(self, user: int) -> History:
        """All events of a user number, oldest first; empty for an unknown one."""
        if not self._by_user:
            self._by_user.update(self._histories())
        return self._by_user.get(user, History())

    def histories(self) -> dict[int, History]:
        """User number -> history, for every user with events."""
        if not self._by_user:
            self._by_user.update(self._histories())
        return self._by_user

    def _histories(self) -> dict[int, History]:
        order = np.argsort(self.events.users, kind="stable")
        users = self.events.users[order]
        changes = np.flatnonzero(users[1:] != users[:-1]) + 1
        bounds = [0, *changes.tolist(), len(users)] if len(users) else []
        result = {}
        for begin, end in pairwise(bounds):
            rows = order[begin:end]
            result[int(users[begin])] = History(
                self.events.items[rows], self.events.timestamps[rows], self.events.liked[rows]
            )
        return result

    def item_counts(self) -> IntArray:
        """(N,) int32 number of events per item."""
        return np.bincount(self.events.items, minlength=self.num_items).astype(np.int32)


def pairs_by_gap(
    users: IntArray, items: IntArray, num_gaps: int
) -> Iterator[tuple[int, IntArray, IntArray]]:
    """For each gap from 1 on: the earlier and the later item (P,) of all pairs so far apart.

    A pair of one item with itself is left out; pairs never cross from one user to the next.

    Args:
        users: (E,) whose event it is, in any order.
        items: (E,) what was chosen; the rows of a user from old to new.
        num_gaps: the largest gap.
    """
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    for gap in range(1, num_gaps + 1):
        earlier, later = items[:-gap], items[gap:]
        is_pair = (users[:-gap] == users[gap:]) & (earlier != later)
        yield gap, earlier[is_pair], later[is_pair]


STEPS = 1
"""Items of one history at most this many steps apart count as chosen together: what lies further
apart is less alike, and moves content to places that hold less for unseen items."""


def cooccurring_pairs(events: EventLog, steps: int = STEPS) -> IntArray:
    """Pairs (P, 2) int32 of different items near one another in a history, the earlier one first.

    Args:
        events: the log; events of one user are its history.
        steps: how far apart the two may be, 1 or more; 1 = neighbours only.

    Returns:
        one row per occurrence, so frequent pairs appear often; neighbours first.
    """
    found = [
        np.stack([earlier, later], axis=1)
        for _, earlier, later in pairs_by_gap(events.users, events.items, steps)
    ]
    return np.concatenate(found).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class AlignedProjection:
    """Content vectors moved to where behaviour puts them: x + (x down) up, at unit length.

    Linear, so an item that nobody chose yet moves like its neighbours; no content stays no content.

    Args:
        down: (D, R) float32.
        up: (R, D) float32; zeros = content as it is.
    """

    down: FloatArray
    up: FloatArray

    def encode(self, content: FloatArray) -> FloatArray:
        """Aligned vectors (N, D) float32 of content (N, D): unit rows, zero where content is."""
        moved = content + (content @ self.down) @ self.up
        return unit(moved)
