"""Contract suite of ranking metrics: bounds, the cutoff, and two forms that agree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serendip.errors import DataError
from serendip.evaluate.metrics import RankingMetric, grade

_LISTS = st.lists(st.integers(0, 30), unique=True, max_size=20)
_JUDGEMENTS = st.dictionaries(st.integers(0, 30), st.integers(1, 4), min_size=1, max_size=12)
_CUTOFFS = st.integers(1, 12)

_INHERITED = settings(suppress_health_check=[HealthCheck.differing_executors])
"""Several classes run one test, each with its own metric."""


class RankingMetricContract(ABC):
    """What every ``RankingMetric`` must satisfy; inherit it as ``class TestX(...)``.

    A subclass gives ``make``, and ``is_one_at_every_cutoff = False`` where a perfect list has 1
    only at the cutoff that is its length (precision, recall). Items are whole numbers, judgements
    map relevant items to gains from 1 to 4.
    """

    is_one_at_every_cutoff = True
    """Whether a perfect list has the value 1 at any cutoff."""

    @classmethod
    @abstractmethod
    def make(cls, k: int) -> RankingMetric:
        """Make the metric at cutoff ``k``."""

    def value(self, k: int, ranked: Sequence[int], relevance: Mapping[int, int]) -> float:
        """Value at ``k`` of a list."""
        gains: dict[Hashable, float] = {item: float(gain) for item, gain in relevance.items()}
        return self.make(k).of_list(grade(ranked, gains))

    @_INHERITED
    @given(ranked=_LISTS, relevance=_JUDGEMENTS, k=_CUTOFFS)
    def test_values_lie_between_0_and_1(
        self, ranked: list[int], relevance: dict[int, int], k: int
    ) -> None:
        """Values of any list are in [0, 1]."""
        assert 0.0 <= self.value(k, ranked, relevance) <= 1.0 + 1e-12

    @_INHERITED
    @given(relevance=_JUDGEMENTS, k=_CUTOFFS)
    def test_a_perfect_list_has_1(self, relevance: dict[int, int], k: int) -> None:
        """All relevant items, best first, have 1 at their number, or at any cutoff."""
        ranked = sorted(relevance, key=relevance.__getitem__, reverse=True)
        assert self.value(len(ranked), ranked, relevance) == pytest.approx(1.0)
        if self.is_one_at_every_cutoff:
            assert self.value(k, ranked, relevance) == pytest.approx(1.0)

    @_INHERITED
    @given(ranked=_LISTS, relevance=_JUDGEMENTS, k=_CUTOFFS)
    def test_what_comes_after_k_changes_nothing(
        self, ranked: list[int], relevance: dict[int, int], k: int
    ) -> None:
        """An item after the cutoff changes no value."""
        padded = ranked + [100 + place for place in range(max(0, k - len(ranked)))]
        before = self.value(k, padded, relevance)
        assert self.value(k, [*padded, 999], relevance) == before

    @_INHERITED
    @given(ranked=_LISTS, relevance=_JUDGEMENTS, k=_CUTOFFS)
    def test_irrelevant_items_at_the_end_never_raise(
        self, ranked: list[int], relevance: dict[int, int], k: int
    ) -> None:
        """A value never rises by an irrelevant item at the end."""
        before = self.value(k, ranked, relevance)
        assert self.value(k, [*ranked, 999], relevance) <= before + 1e-12

    @_INHERITED
    @given(relevance=_JUDGEMENTS, k=_CUTOFFS)
    def test_an_empty_list_has_0(self, relevance: dict[int, int], k: int) -> None:
        """A list without items has 0."""
        assert self.value(k, [], relevance) == 0.0

    @_INHERITED
    @given(rank=st.integers(1, 25), k=_CUTOFFS)
    def test_both_forms_agree_on_one_target(self, rank: int, k: int) -> None:
        """``of_ranks`` is ``of_list`` with one relevant item at that rank."""
        ranked = [*range(100, 99 + rank), 1]
        fast = self.make(k).of_ranks(np.array([float(rank)]))[0]
        assert fast == pytest.approx(self.value(k, ranked, {1: 1}))

    @_INHERITED
    @given(ranks=st.lists(st.integers(1, 60), min_size=1), k=_CUTOFFS)
    def test_a_better_rank_never_lowers_a_value(self, ranks: list[int], k: int) -> None:
        """One rank nearer to the top gives the same value or a higher one."""
        worse = np.array(ranks, dtype=np.float64) + 1
        assert (self.make(k).of_ranks(worse - 1) >= self.make(k).of_ranks(worse)).all()

    def test_an_absent_target_has_0_in_the_fast_form(self) -> None:
        """``of_ranks`` gives 0 at rank infinity."""
        assert self.make(10).of_ranks(np.array([np.inf])).tolist() == [0.0]

    def test_a_repeated_item_is_refused(self) -> None:
        """A list with an item twice is a ``DataError``."""
        with pytest.raises(DataError, match="7 is returned twice"):
            self.value(10, [7, 8, 7], {7: 1, 9: 1})

    def test_a_query_without_relevant_items_is_refused(self) -> None:
        """A query without a relevant item is a ``DataError``."""
        with pytest.raises(DataError, match="no item is relevant"):
            self.value(10, [7], {7: 0})
