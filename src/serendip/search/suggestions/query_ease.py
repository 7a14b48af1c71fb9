"""EASE over queries: what share of people search a query besides others, from pairs that are known.

EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data") is a linear regression of
each query on all others. Unlike numbers of people, its weights do not count twice what two searched
queries say together. It takes the numbers of all pairs; where the rule of privacy or the limit of
queries per person leaves many out, the rest may be those of no log at all, which shows in negative
eigenvalues. There is no EASE then.

Shapes: Q queries of a table, E pairs (each in both directions), M queries of the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray

CORE = 1_000
"""Queries that EASE expects from each other, those of most people."""

REGULARISATION = 10.0
"""People of each query without any pair, added for EASE."""

_LEAST_EIGENVALUE = 0.9 * REGULARISATION
"""With the numbers of all pairs none is below the regularisation, but for rounding."""

_LEAST_REST = 0.1
"""What must be left of 1 where a person is forgotten: shares are divided by it. A person of up to
90 queries leaves more, if all of their pairs were counted."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryEase:
    """Weights of EASE over the core of a table's queries.

    Args:
        core: (M,) rows of the most searched queries with a pair, ascending.
        inverse: (M, M) inverse of the regularised numbers of people of the core's pairs.
    """

    core: NDArray[np.intp]
    inverse: NDArray[np.float64]

    @classmethod
    def of(
        cls, left: IntArray, right: IntArray, people: IntArray, searchers: IntArray
    ) -> Self | None:
        """Fit to pairs; None if these are too few or no numbers of a log.

        Args:
            left: (E,) rows of the first query of each pair.
            right: (E,) rows of the second query.
            people: (E,) people who searched both.
            searchers: (Q,) people who searched each query.
        """
        paired = np.unique(left).astype(np.intp)
        most = np.argsort(-searchers[paired], kind="stable")[:CORE]
        core = np.sort(paired[most])
        if not len(core):
            return None
        places = np.full(len(searchers), -1)
        places[core] = np.arange(len(core))
        first, second = places[left], places[right]
        inside = (first >= 0) & (second >= 0)
        gram = np.diag(searchers[core] + REGULARISATION)
        gram[first[inside], second[inside]] = people[inside]
        try:
            np.linalg.cholesky(gram - _LEAST_EIGENVALUE * np.eye(len(core)))
        except np.linalg.LinAlgError:  # an eigenvalue is below
            return None
        return cls(core, np.linalg.inv(gram))

    def expect(
        self, searched: NDArray[np.intp], counted: NDArray[np.intp]
    ) -> NDArray[np.float64] | None:
        """(M,) share of people, 0 to 1, who search each query of the core besides ``searched``.

        None if the core has none of ``searched``, or if so much of what it knows comes from the
        person to be forgotten that nothing is left to go by.

        Args:
            searched: rows that the user searched.
            counted: rows of the searches by which this user is counted, and is to be forgotten.
        """
        is_searched, is_counted = np.isin(self.core, searched), np.isin(self.core, counted)
        if not is_searched.any():
            return None
        sums, scale = self.inverse[is_searched].sum(0), self.inverse.diagonal()  # (M,), (M,)
        if is_counted.any():  # by Sherman and Morrison: a person adds an outer product
            own = self.inverse[is_counted].sum(0)
            rest = 1.0 - float(own[is_counted].sum())
            if rest < _LEAST_REST:
                return None
            sums = sums + own[is_searched].sum() * own / rest
            scale = scale + own**2 / rest
        shares: NDArray[np.float64] = np.clip(is_searched - sums / scale, 0.0, 1.0)
        return shares  # a query says nothing of itself
