"""``Dataset``: an immutable snapshot of catalogue, events and features up to a cut.

Trainers get a ``Dataset`` and nothing else, so data after the cut cannot leak into a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray, take_rows
from serendip.data.artefact import Artefact, open_value, save_value
from serendip.data.events.rejections import ImpressionLog, NegativeLog
from serendip.data.items.catalogue import Catalogue, open_catalogue, save_catalogue
from serendip.data.items.features import ItemFeatures
from serendip.data.numeric import unit
from serendip.data.query import History
from serendip.data.users.user import UserGroups
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError

if TYPE_CHECKING:
    from serendip.data.events.search_log import LoggedRequest


@dataclass(frozen=True, slots=True, eq=False)
class EventLog(Artefact):
    """Interactions in order of time; ties keep the order of arrival.

    Args:
        users: (E,) int32 user numbers.
        items: (E,) int32 item numbers.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        liked: (E,) bool.
        values: (E,) float32, NaN where the event had none.
        strengths: (E,) float32 weight of each as a prediction target; None = all the same.
        actions: (E,) int16 indices into ``Dataset.action_names``; None = not known.
        countries: (E,) int32 indices into ``UserCountries.names``, -1 = not known then; None = all.
        devices: (E,) int32 indices into ``Dataset.device_names``, -1 = not known; None = all.
        sessions: (E,) int64 ``session_code``, 0 = not known; None = all.
    """

    users: IntArray
    items: IntArray
    timestamps: TimeArray
    liked: BoolArray
    values: FloatArray
    strengths: FloatArray | None = None
    actions: NDArray[np.int16] | None = None
    countries: IntArray | None = None
    devices: IntArray | None = None
    sessions: NDArray[np.int64] | None = None
    _derived: dict[str, UserRows] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def by_user(self) -> UserRows:
        """Rows of each user's events; computed once."""
        if "by_user" not in self._derived:
            self._derived["by_user"] = UserRows(self.users)
        return self._derived["by_user"]

    def rows(self, mask: BoolArray) -> EventLog:
        """Select events by mask (E,)."""
        return take_rows(self, mask)


@dataclass(frozen=True, slots=True, eq=False)
class QueryExamples:
    """Queries with a known relevant item: logged ones, or synthetic ones from item fields.

    Args:
        vectors: (Q, D) float32 unit vectors of the texts.
        items: (Q,) int32 the relevant item of each.
    """

    texts: Sequence[str]
    vectors: FloatArray
    items: IntArray

    def __len__(self) -> int:
        return len(self.texts)

    def joined(self, more: QueryExamples) -> QueryExamples:
        """Concatenate: these queries, then others."""
        if not len(more):
            return self
        return QueryExamples(
            [*self.texts, *more.texts],
            np.concatenate([self.vectors, more.vectors]),
            np.concatenate([self.items, more.items]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Validation targets for early stopping: held-out next items, never trained on.

    The input of a target is the whole history of its user in the dataset.

    Args:
        users: (V,) int32 user numbers.
        items: (V,) int32 item numbers; one outside the catalogue always counts as a miss.
    """

    users: IntArray
    items: IntArray

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class UserCountries(Artefact):
    """Countries of users, spelt as in requests.

    Args:
        of_users: (U,) int32 index into ``names``; -1 = not known.
        given: (U,) bool, whose country is a fact of the user at all times, such as an attribute;
            that of the others is that of their newest event. None = all.
    """

    names: tuple[str, ...]
    of_users: IntArray
    given: BoolArray | None = None

    def of_part(self, users: IntArray, log: EventLog) -> UserCountries:
        """What was known of some users from a part of the log.

        In ``log`` they have the numbers 0 to V - 1.
        """
        of_users = self.of_users[users]  # (V,)
        if self.given is None:
            return UserCountries(self.names, of_users)
        given = self.given[users]
        of_users[~given] = -1
        if log.countries is not None:
            known = (log.countries >= 0) & ~given[log.users]
            of_users[log.users[known]] = log.countries[known]  # of equal users the last counts
        return UserCountries(self.names, of_users, given)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training data: catalogue, event log and content features.

    Args:
        catalogue: the items; events refer to them by number.
        users: ids of the users; events refer to them by number.
        features: content vectors and codes, once computed.
        queries: examples for the search task, once generated.
        cut: Unix seconds; contains no later event. None = no cut.
        validation: targets for early stopping; None = a model holds out events of its own.
        alignment: projection of content towards behaviour, once learned.
        quality: (N, Q) float32 query-independent item quality, see ``data.items.quality``.
        requests: the newest logged requests, in order of time.
        countries: of the users, if known.
        negatives: negative events; never targets of next-item prediction.
        impressions: what was shown; no model learns from it.
        action_names: kinds of interaction; ``EventLog.actions`` are indices into it.
        device_names: kinds of devices; ``EventLog.devices`` are indices into it.
        user_groups: groups of the users, by attribute.
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
    impressions: ImpressionLog = field(default_factory=ImpressionLog)
    action_names: tuple[str, ...] = ()
    device_names: tuple[str, ...] = ()
    user_groups: UserGroups = field(default_factory=dict)

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.catalogue)

    @property
    def num_users(self) -> int:
        """Number of users in the vocabulary."""
        return len(self.users)

    def countries_by_user(self) -> dict[str, str]:
        """User id -> country, for users whose country is known."""
        if self.countries is None:
            return {}
        known = np.flatnonzero(self.countries.of_users >= 0)
        names = [self.countries.names[at] for at in self.countries.of_users[known].tolist()]
        return dict(zip(self.users.ids_of(known.astype(np.int32)), names, strict=True))

    def with_features(self, features: ItemFeatures) -> Dataset:
        """A copy with content features."""
        return replace(self, features=features)

    def with_queries(self, queries: QueryExamples) -> Dataset:
        """A copy with query examples."""
        return replace(self, queries=queries)

    def with_alignment(self, alignment: AlignedProjection) -> Dataset:
        """A copy with a learned alignment of its content.

        Raises:
            DataError: it was learned on content vectors of another size.
        """
        expected = len(alignment.down)
        size = 0 if self.features is None else self.features.content.shape[1]
        if expected != size:
            raise DataError(
                f"the alignment needs content vectors of size {expected}; they have size {size}.",
                "Learn it on the content of this dataset, with `align`.",
            )
        return replace(self, alignment=alignment)

    def with_quality(self, quality: FloatArray) -> Dataset:
        """A copy with the quality of its items."""
        return replace(self, quality=quality)

    def with_countries(self, countries: UserCountries | None) -> Dataset:
        """A copy with the countries of its users.

        Raises:
            DataError: the number of countries differs from the number of users.
        """
        if countries is not None and len(countries.of_users) != self.num_users:
            raise DataError(
                f"countries of {len(countries.of_users)} users for {self.num_users} users.",
                "Give one per user, -1 for an unknown one.",
            )
        return replace(self, countries=countries)

    def history(self, user: int) -> History:
        """All events of a user by number, oldest first; empty for an unknown user."""
        log, rows = self.events, self.events.by_user.of(user)
        return History(
            log.items[rows],
            log.timestamps[rows],
            log.liked[rows],
            sessions=None if log.sessions is None else log.sessions[rows],
        )

    def item_counts(self) -> IntArray:
        """(N,) int32 number of events per item."""
        return np.bincount(self.events.items, minlength=self.num_items).astype(np.int32)


def cooccurring_pairs(events: EventLog) -> IntArray:
    """Pairs (P, 2) int32 of distinct items that follow one another in a history, earlier first.

    Items further apart are less similar, and aligning with them generalises worse to unseen items.

    Returns:
        one row per occurrence, so frequent pairs appear often.
    """
    order = np.argsort(events.users, kind="stable")
    users, items = events.users[order], events.items[order]
    is_pair = (users[:-1] == users[1:]) & (items[:-1] != items[1:])
    return np.stack([items[:-1][is_pair], items[1:][is_pair]], axis=1).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class AlignedProjection(Artefact):
    """Low-rank residual projection of content towards behaviour: x + (x down) up, at unit length.

    Linear, so an item without events moves like its neighbours; a zero vector stays zero.

    Args:
        down: (D, R) float32.
        up: (R, D) float32; zeros = identity.
    """

    down: FloatArray
    up: FloatArray

    def encode(self, content: FloatArray) -> FloatArray:
        """Project content (N, D) to unit vectors (N, D) float32; zero rows stay zero."""
        return unit(self.apply(content))

    def apply(self, content: FloatArray) -> FloatArray:
        """Project content (N, D) without the scaling to unit length."""
        return np.asarray(content + (content @ self.down) @ self.up, np.float32)

    def apply_transposed(self, vectors: FloatArray) -> FloatArray:
        """Vectors (B, D) whose products with content are those of ``vectors`` with ``apply``."""
        return np.asarray(vectors + (vectors @ self.up.T) @ self.down.T, np.float32)


class UserRows:
    """The rows of each user's events, given as user numbers (E,) in order of time."""

    __slots__ = ("_bounds", "_order", "_users")

    def __init__(self, users: IntArray) -> None:
        order = np.argsort(users, kind="stable")  # (E,)
        self._users, starts = np.unique(users[order], return_index=True)  # (U,) each
        self._order: NDArray[np.integer] = order
        if len(order) <= np.iinfo(np.int32).max:
            self._order = order.astype(np.int32)
        self._bounds = np.append(starts, len(order))  # (U + 1,)

    def of(self, user: int) -> NDArray[np.integer]:
        """Rows (T,) of a user's events; empty for an unknown user."""
        place = int(np.searchsorted(self._users, user))
        if place == len(self._users) or self._users[place] != user:
            return self._order[:0]
        return self._order[self._bounds[place] : self._bounds[place + 1]]


# What is computed from a snapshot, such as features, is not written for other processes.
_OF_SNAPSHOT = (
    *("users", "events", "cut", "requests", "countries", "negatives", "impressions"),
    *("action_names", "device_names", "user_groups"),
)


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a dataset into a folder, which is created."""
    save_value({name: getattr(dataset, name) for name in _OF_SNAPSHOT}, folder)
    save_catalogue(dataset.catalogue, folder)


def open_dataset(folder: Path) -> Dataset:
    """Map what ``save_dataset`` wrote."""
    return Dataset(open_catalogue(folder), **open_value(folder))
