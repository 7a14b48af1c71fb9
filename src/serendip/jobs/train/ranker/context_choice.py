"""Which parts of the context the ranker reads, chosen on the newest events of the workspace.

A sample of the ranker's requests is split by time. A ranker without context is trained on half of
the older ones. For each part that the data have, a logistic regression of the other half corrects
its scores by the features of the part, and the newest requests tell what the correction is worth.
A part is kept if the interval of its paired difference of nDCG@10 lies above 0. If there are
several, the one with the largest gain is kept first; each of the others must then gain over what
was kept before it.

Intervals hold at 95 % for all p parts together (Bonferroni); the sampling unit is the user. Forward
selection with tests on later data, not on those that were fitted; difference to the textbook: a
part that gains nothing alone is not tried together with others. The correction has the value and
the square of each feature, so that it finds a price level that people keep to; it does not find
what two parts only say together.

Shapes: R rows (request, candidate), F features, Q requests, K columns of a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.numeric import Doubles, NewtonSteps, fit_logistic
from serendip.engine.config.settings import Settings
from serendip.engine.feature_names import part_of
from serendip.evaluate.decision import Decision
from serendip.jobs.train.ranker.orders import RankerSample, RankerTrials
from serendip.models.context_counts import ContextPart
from serendip.models.ranker.config import RankerRows
from serendip.runtime.progress import TrainOptions

SAMPLE = 5_000
"""Requests whose rows have all parts that the data have; the others have those that were kept."""

HELD_OUT = 0.5
"""Share of them, the newest, on which parts are compared."""

MIN_REQUESTS = 200
"""With fewer on either side nothing is tested; the number is a guess, not measured."""

SHARE_OF_TIME = 0.2
"""Share of the ranker's time for the choice."""

EPOCHS = 3
"""Passes of the ranker without context; half of the default."""

_FURTHEST = 4.0
"""Standard deviations from the mean at which features are clipped."""

_RIDGE = 1.0
_STEPS = NewtonSteps(count=25, furthest=2.0, largest=30.0)


def name_part(part: ContextPart) -> str:
    """Name of the decision about a part."""
    return f"context: {part}"


def undecided(parts: Sequence[ContextPart], reason: str, on: bool = False) -> list[Decision]:
    """Decisions that no test has made."""
    return [Decision(name_part(part), on, reason=reason) for part in parts]


def columns_without(names: Sequence[str], parts: Sequence[ContextPart]) -> BoolArray:
    """(F,) bool, False for features of some parts."""
    return np.array([part_of(name) not in parts for name in names], np.bool_)


def split_by_time(sample: RankerSample) -> tuple[RankerRows, RankerRows]:
    """Rows of the older and of the newest requests with a choice; without a time
    they are neither.
    """
    times, has_choice = sample.times, sample.has_choice
    known = np.sort(times[np.isfinite(times)])
    cut = known[int((1 - HELD_OUT) * len(known))] if len(known) else np.inf
    return sample.at((times < cut) & has_choice), sample.at((times >= cut) & has_choice)


def choose_parts(
    sample: RankerSample, parts: Sequence[ContextPart], settings: Settings, options: TrainOptions
) -> list[Decision]:
    """Choose the parts that the ranker reads, of rows with their features: a decision for each, in
    order.

    Nothing is kept if the time of the options ends before the last test.
    """
    older, newest = split_by_time(sample)
    if min(len(np.unique(side.group)) for side in (older, newest)) < MIN_REQUESTS:
        return undecided(parts, "the newest requests are too few")
    trials = RankerTrials.of(settings, options, "context", SHARE_OF_TIME, EPOCHS)
    test = _PartTest.of(sample, (older, newest), parts, trials)
    if test is None:
        return undecided(parts, "there was no time for the tests")
    found = {part: test.compare(part, ()) for part in parts}
    kept: tuple[ContextPart, ...] = ()
    for part in sorted(parts, key=lambda part: -(found[part].gain or 0.0)):
        if found[part].on and kept:
            found[part] = test.compare(part, kept)
        if found[part].on:
            kept = (*kept, part)
    return list(found.values())


@dataclass(frozen=True, slots=True, eq=False)
class _PartTest:
    """Corrections of a ranker by parts of the context, learned on older requests.

    Args:
        scores: logarithms of the ranker's values of their rows, (R,) each.
    """

    sample: RankerSample
    sides: tuple[RankerRows, RankerRows]
    scores: tuple[Doubles, Doubles]
    tests: int

    @classmethod
    def of(
        cls,
        sample: RankerSample,
        sides: tuple[RankerRows, RankerRows],
        parts: Sequence[ContextPart],
        trials: RankerTrials,
    ) -> _PartTest | None:
        """Train a ranker without the parts on half of the older requests; None = no time."""
        plain = columns_without(sample.names, parts)  # (F,)
        names = [name for name, is_plain in zip(sample.names, plain, strict=True) if is_plain]
        older, newest = sides
        is_learned = np.unique(older.group, return_inverse=True)[1] % 2 == 0  # (R,)
        learned = older.at(is_learned).with_columns(plain)
        ranker = trials.train(learned, names)
        if ranker is None:
            return None
        sides = older.at(~is_learned), newest
        values = [trials.values(ranker, side.with_columns(plain)) for side in sides]
        older_scores, newest_scores = (np.log(one.astype(np.float64) + 1e-9) for one in values)
        return cls(sample, sides, (older_scores, newest_scores), len(parts))

    def compare(self, part: ContextPart, beside: tuple[ContextPart, ...]) -> Decision:
        asked = replace(self.sides[1], weights=np.ones(len(self.sides[1]), np.float32))
        orders = self._correct(beside), self._correct((*beside, part))
        decision = self.sample.compare(name_part(part), asked, orders, self.tests)
        if not beside:
            return decision
        return replace(decision, reason=f"{decision.reason}, beside {', '.join(beside)}")

    def _correct(self, parts: tuple[ContextPart, ...]) -> Doubles:
        """(R,) scores of the newest requests, corrected by parts."""
        older, newest = self._inputs(parts)
        start = np.zeros(older.shape[1])
        start[0] = 1.0
        learned = self.sides[0]
        weights = fit_logistic(
            older,
            np.asarray(learned.labels.any(1), np.float64),
            start,
            np.full(len(start), _RIDGE),
            prior=start,
            weights=learned.weights,
            steps=_STEPS,
        )
        return np.asarray(newest @ weights)

    def _inputs(self, parts: Sequence[ContextPart]) -> tuple[Doubles, Doubles]:
        """Columns (R, K) of both sides: the score, those of each feature of the parts, and 1."""
        older, newest = ([scores, np.ones(len(scores))] for scores in self.scores)
        for column, name in enumerate(self.sample.names):
            if part_of(name) not in parts:
                continue
            values, later = (side.features[:, column].astype(np.float64) for side in self.sides)
            known = values[np.isfinite(values)]
            mean, deviation = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
            scale = 1 / deviation if deviation > 0 else 0.0
            older += _terms((values - mean) * scale)
            newest += _terms((later - mean) * scale)
        return np.column_stack(older), np.column_stack(newest)


def _terms(values: Doubles) -> list[Doubles]:
    """Value, square and whether it is missing, (R,) each, of a standardised feature (R,)."""
    missing = ~np.isfinite(values)
    value = np.clip(np.where(missing, 0.0, values), -_FURTHEST, _FURTHEST)
    return [value, value**2, missing.astype(np.float64)]
