"""An immutable snapshot of everything known up to a cut: catalogue, events, features.

Trainers get a ``Dataset`` and nothing else, so what is not in it cannot leak into a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.item import Catalogue
from serendip.data.query import History
from serendip.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class EventLog:
    """Interactions in order of time; ties keep the order of arrival.

    Args:
        users: (E,) int32 user numbers.
        items: (E,) int32 item numbers.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        liked: (E,) bool.
        values: (E,) float32, NaN where the event had none.
    """

    users: IntArray
    items: IntArray
    timestamps: TimeArray
    liked: BoolArray
    values: FloatArray

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
        )


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures:
    """What content says about items, aligned with the catalogue.

    Args:
        content: (N, D) float32 unit vectors.
        codes: (N, L) int32 semantic IDs.
        codebook_size: K, so that tables can be sized without looking at the codes.
    """

    content: FloatArray
    codes: IntArray
    codebook_size: int

    def __len__(self) -> int:
        return len(self.content)


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
    """

    catalogue: Catalogue
    users: Vocabulary
    events: EventLog
    features: ItemFeatures | None = None
    queries: QueryExamples | None = None
    cut: float | None = None
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
