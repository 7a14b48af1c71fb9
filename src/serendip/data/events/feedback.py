"""Vectorised classification of events (interest, like, negative) and a user's resulting state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray, take_rows
from serendip.data.events.event import EXCLUSIONS, ActionRules, EventColumns
from serendip.data.events.rejections import SEEN, ExclusionArray, Rejected, taken_back_at
from serendip.data.query import History, UserPast
from serendip.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """Classes of E events.

    Args:
        interest: (E,) bool; see ``ActionRules.is_interest``.
        liked: (E,) bool; see ``ActionRules.is_like``.
        takes_back: (E,) bool; see ``ActionRules.takes_back``.
        exclusions: (E,) int8 for negative events, -1 for all others.
    """

    interest: BoolArray
    liked: BoolArray
    takes_back: BoolArray
    exclusions: ExclusionArray

    @classmethod
    def of(cls, columns: EventColumns, rules: ActionRules) -> Feedback:
        """Classify all events by the rules, vectorised."""
        names = tuple(dict.fromkeys(columns.actions))
        actions = Vocabulary(names).numbers(columns.actions)
        return cls.of_actions(actions, names, columns.values, rules)

    @classmethod
    def of_actions(
        cls, actions: IntArray, names: Sequence[str], values: TimeArray, rules: ActionRules
    ) -> Feedback:
        """Classify events by actions (E,), indices into ``names``, and values (E,), NaN = none."""
        # Negative by the name of the action; other actions may be negative by their value.
        by_name = [rules.exclusion(name, None) for name in names]
        codes = [-1 if reach is None else EXCLUSIONS.index(reach) for reach in by_name]
        negative = np.array(codes, np.int8)[actions]
        ignored = np.array([name in rules.ignore for name in names], np.bool_)[actions]
        always = np.array([name in rules.always_like for name in names], np.bool_)[actions]
        has_value = ~np.isnan(values)
        is_rating = has_value & (rules.dislike_at_most is not None)
        threshold = np.nan if rules.dislike_at_most is None else rules.dislike_at_most
        low = (values <= threshold) & ~always & ~ignored
        disliked = EXCLUSIONS.index("recommendations")
        exclusions = np.where((negative < 0) & low, disliked, negative).astype(np.int8)
        interest = ~ignored & (exclusions < 0)
        liked = interest & np.where(has_value, values >= rules.like_at_least, always)
        return cls(interest, liked, liked | (interest & is_rating), exclusions)

    @property
    def rejects(self) -> BoolArray:
        """(E,) negative events that exclude their item anywhere."""
        return self.exclusions >= SEEN

    def rows(self, rows: NDArray[np.integer]) -> Feedback:
        """Select events, in the order of ``rows``."""
        return take_rows(self, rows)


def build_user_past(
    item_nums: IntArray, timestamps: TimeArray, feedback: Feedback, sessions: NDArray[np.int64]
) -> UserPast:
    """A user's history after all their T events, without the items that they rejected since."""
    rejected, kept = Rejected(), feedback.interest
    rejects = feedback.rejects
    if rejects.any():
        until = taken_back_at(item_nums, feedback.takes_back, timestamps)
        stands = rejects & np.isinf(until)
        rejected = Rejected.of(item_nums[stands], feedback.exclusions[stands])
        kept = kept & ~np.isin(item_nums, rejected.item_nums)
    known = sessions if sessions.any() else None
    whole = History(item_nums, timestamps, feedback.liked, sessions=known)
    return UserPast(whole if kept.all() else whole.rows(np.flatnonzero(kept), 0), rejected)
