"""User-item features of the relevance model: whether an item fits what its user chose before.

An item can be relevant to a text or a list and not to the person who reads it. The features compare
it with the newest items of the user's past, by their texts and by the values of their attributes,
and with what else is known of the user: the country of the request, and attributes that users and
items share, such as a language or a city. Nothing here is learned from labels, and a feature is a
likeness or a share: a model serves users and values that no label has seen.

Shapes: N items, P pairs of one user, M items of the past, K attribute values, V views, C size of a
text vector, U features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from serendip.data import Catalogue, FloatArray, IntArray
from serendip.data.arrays import NO_ITEMS
from serendip.data.numeric import unit
from serendip.data.users.profile import PreferenceTable

USER_FEATURES = (
    "past: items",
    "past: its mean",
    "past: nearest",
    "past: three nearest",
    "past: newest",
    "past: the query",
    "past: values",
    "past: values against all items",
    "past: values of the newest",
    "country: same",
    "attributes: same",
)

COUNTRY = "country"
"""Attribute of items that the country of a request is compared with."""

NEWEST = 20
"""Items of the past that are compared, the newest ones."""

_MOST_VALUES = 256
_NEAREST = 3
_PRIOR = 5.0
"""Items of the catalogue's mean that the shares of a past are shrunk by."""

_UNKNOWN = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class RequestUser:
    """What a request has of its user; nothing for a visitor who chose nothing yet.

    Args:
        items: (M,) int32 chosen items, the newest last.
        attributes: name -> value, with the country under ``COUNTRY``.
    """

    items: IntArray = field(default_factory=lambda: NO_ITEMS)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class UserFeatures:
    """Computes the features of a user and the items of one catalogue.

    Args:
        views: (V, N, C) centred unit vectors of the items' texts.
        usual: (K,) mean share of each value over all items.
    """

    views: FloatArray
    catalogue: Catalogue
    values: PreferenceTable
    usual: FloatArray

    @classmethod
    def of(cls, views: FloatArray, catalogue: Catalogue) -> Self:
        """From the text vectors (V, N, C) and the attributes of the items."""
        values = PreferenceTable.of(catalogue, _MOST_VALUES)
        return cls(views, catalogue, values, values.usual_shares())

    def compute(self, user: RequestUser, query: FloatArray, numbers: IntArray) -> FloatArray:
        """(P, U) ``USER_FEATURES`` of items.

        The query is the centred unit vector (C,) of the text that the request stands for.
        """
        past = user.items[user.items < self.views.shape[1]][-NEWEST:]  # (M,)
        country = {name: text for name, text in user.attributes.items() if name == COUNTRY}
        others = {name: text for name, text in user.attributes.items() if name != COUNTRY}
        features = np.zeros((len(numbers), len(USER_FEATURES)), np.float32)
        if len(past):
            features[:, 0] = np.log1p(len(past))
            features[:, 1:6] = self._similarities(past, query, numbers)
            features[:, 6:9] = self._values_in_common(past, numbers)
        features[:, 9] = self._share_equal(country, numbers)
        features[:, 10] = self._share_equal(others, numbers)
        return features

    def _similarities(self, past: IntArray, query: FloatArray, numbers: IntArray) -> FloatArray:
        """(P, 5) cosines with the past's mean, nearest, three nearest and newest; the query's."""
        chosen, items = self._vectors(past), self._vectors(numbers)  # (M, C), (P, C)
        mean = unit(chosen.mean(0)[None])[0]  # (C,)
        cosines = items @ chosen.T  # (P, M)
        count = min(_NEAREST, len(past))
        nearest = np.partition(cosines, -count, axis=1)[:, -count:]  # (P, 3)
        return np.column_stack(
            [
                items @ mean,
                nearest.max(1),
                nearest.mean(1),
                cosines[:, -1],
                np.full(len(numbers), query @ mean),
            ]
        )

    def _vectors(self, numbers: IntArray) -> FloatArray:
        """(P, C) unit vectors of items: the mean of their views."""
        return unit(self.views[:, numbers].mean(0))

    def _values_in_common(self, past: IntArray, numbers: IntArray) -> FloatArray:
        """(P, 3) mean over an item's attribute values: their share of the past, the logarithm of
        that against all items, and whether the newest item has them.
        """
        shares = self.values.shares_of(past)  # (K,)
        count, usual = len(past), np.maximum(self.usual, 1e-6)
        against = np.log((count * shares + _PRIOR * usual) / ((count + _PRIOR) * usual))
        newest = self.values.shares_of(past[-1:]) > 0
        columns = np.column_stack([shares, against, newest]).astype(np.float32)  # (K, 3)
        means: FloatArray = self.values.mean_over(numbers, columns)
        return means

    def _share_equal(self, attributes: Mapping[str, str], numbers: IntArray) -> FloatArray:
        """(P,) share of a user's attributes that an item has with the same value; -1 = the items
        have none of these attributes.
        """
        known = [name for name in attributes if name in self.catalogue.attribute_names]
        if not known:
            return np.full(len(numbers), _UNKNOWN, np.float32)
        same = [
            self.catalogue.column(name).having_of(attributes[name], numbers) for name in known
        ]  # (P,) each
        share: FloatArray = np.mean(same, axis=0, dtype=np.float32)
        return share
