"""Which parts of the context the ranker reads, chosen on the newest events of the workspace.

A sample of the ranker's requests is split by time. Two rankers without context are trained, each on
half of the older ones, and score the other half (cross-fitting: nothing is scored by what has seen
its outcome). For each part that the data have, a logistic regression of these requests corrects the
scores by the features of the part, and the newest requests, scored by both rankers, tell what the
correction is worth. A part is kept if the interval of its paired difference of nDCG@10 lies above
0. If there are several, the one with the largest gain is kept first; each of the others must then
gain over what was kept before it.

Intervals hold at 95 % for all p parts together (Bonferroni: each at 1 - .05 / p); the sampling unit
is the user. Forward selection with tests on later data, not on those that were fitted; difference
to the textbook: a part that gains nothing alone is not tried together with others. The correction
has the value and the square of each feature, so that it finds a price level that people keep to; it
does not find what two parts only say together.

The whole choice costs ``EPOCHS`` passes over ``1 - HELD_OUT`` of at most ``SAMPLE`` requests,
whatever the number of parts: about a quarter of the passes of the ranker's own training, which has
at least these requests and up to twice the epochs, and less with more requests. The regressions are
a few products of matrices.

Shapes: R rows (request, candidate), F features, Q requests, H requests of the newest part, K
columns of a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from serendip.data.arrays import BoolArray, TimeArray
from serendip.data.numeric import Doubles, NewtonSteps, fit_logistic
from serendip.engine.config.settings import Settings
from serendip.engine.feature_names import part_of
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.intervals import per_user
from serendip.evaluate.runs import Values
from serendip.jobs.train.ranker.row_quality import ndcg_of_requests, ranker_values, rows_of_requests
from serendip.models.context_counts import ContextPart
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import SilentProgress, TrainOptions

SAMPLE = 5_000
"""Requests whose rows have all parts that the data have; the others have those that were kept."""

HELD_OUT = 0.5
"""Share of them, the newest, on which parts are compared."""

MIN_REQUESTS = 200
"""With fewer on either side nothing is tested; the number is a guess, not measured."""

LEVEL = 0.05

SHARE_OF_TIME = 0.2
"""Share of the ranker's time for the choice."""

EPOCHS = 3
"""Passes of the rankers without context; half of the default, see above."""

_FURTHEST = 4.0
"""Standard deviations from the mean at which features are clipped."""

_RIDGE = 1.0
_STEPS = NewtonSteps(count=25, furthest=2.0, largest=30.0)


@dataclass(frozen=True, slots=True)
class PartGain:
    """What a part of the context is worth to the order of the newest requests.

    Args:
        part: of the context.
        without: nDCG@10 without it, mean over users.
        gain: mean difference of nDCG@10 with it, over users.
        low: lower end of the interval for all parts together.
        high: upper end.
        beside: parts that were kept before, and that both orders read.
    """

    part: ContextPart
    without: float
    gain: float
    low: float
    high: float
    beside: tuple[ContextPart, ...] = ()


@dataclass(frozen=True, slots=True)
class ContextChoice:
    """Parts that were tested, and those of them that the ranker reads.

    Args:
        kept: in the order in which they were kept.
        gains: of the tested parts; of the last test of each.
        users: number of users of the held-out requests.
        note: why nothing was tested; empty if parts were.
    """

    kept: tuple[ContextPart, ...] = ()
    gains: tuple[PartGain, ...] = ()
    users: int = 0
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The form in the manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class SampledRows:
    """Rows of the requests of the sample, with all parts that the data have.

    Args:
        rows: R rows; their groups are request numbers.
        names: of the F features.
        times: (Q,) float64 Unix seconds of each request; NaN = not known.
        users: Q external ids; empty = not known.
    """

    rows: RankerRows
    names: tuple[str, ...]
    times: TimeArray
    users: Sequence[str]

    def columns_with(
        self, parts: Sequence[ContextPart], tested: Sequence[ContextPart]
    ) -> BoolArray:
        """(F,) bool, True for features of no part in ``tested`` that is not in ``parts`` too."""
        unread = set(tested) - set(parts)
        return np.array([part_of(name) not in unread for name in self.names], np.bool_)

    def split(self) -> tuple[_Side, _Side]:
        """Older and newest requests; those without a time, as written queries, are neither."""
        known = np.sort(self.times[np.isfinite(self.times)])
        cut = known[int((1 - HELD_OUT) * len(known))] if len(known) else np.inf
        return self._side(self.times < cut), self._side(self.times >= cut)

    def _side(self, wanted: BoolArray) -> _Side:
        """The requests among ``wanted`` (Q,) that have a chosen row."""
        group, chosen = self.rows.group, self.rows.labels.any(axis=1)
        has_choice = np.bincount(group, chosen, len(self.times)) > 0  # (Q,)
        rows = self.rows.at((wanted & has_choice)[group])
        requests = np.unique(rows.group).tolist()
        return _Side(rows, [self.users[number] or f"\0{number}" for number in requests])


def can_choose(times: TimeArray) -> bool:
    """Whether enough requests have a time (Q,) for some to be held out."""
    return bool(HELD_OUT * np.isfinite(times).sum() >= MIN_REQUESTS)


def choose_parts(
    sample: SampledRows, parts: Sequence[ContextPart], settings: Settings, options: TrainOptions
) -> ContextChoice:
    """Choose the parts that the ranker reads.

    Args:
        sample: rows with the features of ``parts``.
        parts: that are tested.
        settings: surfaces and the ranker's config.
        options: seed and time; nothing is kept if the time ends before the last test.
    """
    older, newest = sample.split()
    users = len(set(newest.users))
    if min(len(older.users), len(newest.users)) < MIN_REQUESTS or users < MIN_USERS:
        return ContextChoice(users=users, note="the newest requests are too few")
    time = options.allowance.from_now(SHARE_OF_TIME, "context")
    limited = replace(options, progress=SilentProgress(), allowance=time)
    test = _PartTest.of(sample, (older, newest), parts, settings, limited)
    gains = {part: test.compare(part, ()) for part in parts}
    kept: tuple[ContextPart, ...] = ()
    for part in sorted(parts, key=lambda part: -gains[part].gain):
        if gains[part].low > 0 and kept:
            gains[part] = test.compare(part, kept)
        if gains[part].low > 0:
            kept = (*kept, part)
    if time.is_over:
        return ContextChoice(users=users, note="there was no time for the tests")
    return ContextChoice(kept, tuple(gains.values()), users)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Rows of the requests on one side of a moment; all of the H requests have a chosen row.

    Args:
        rows: request by request.
        users: H user ids; each request without one has one of its own.
    """

    rows: RankerRows
    users: Sequence[str]

    @property
    def chosen(self) -> BoolArray:
        """(R,) bool rows that were chosen."""
        return np.asarray(self.rows.labels.any(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _PartTest:
    """Corrections of a ranker by parts of the context, learned on older requests.

    Args:
        sample: all rows.
        sides: older and newest requests.
        scores: logarithms of the ranker's values of their rows, (R,) each.
        parts: that are tested.
        measured: parts -> (H,) nDCG@10 of the newest requests.
    """

    sample: SampledRows
    sides: tuple[_Side, _Side]
    scores: tuple[Doubles, Doubles]
    parts: Sequence[ContextPart]
    measured: dict[tuple[ContextPart, ...], Values] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        sample: SampledRows,
        sides: tuple[_Side, _Side],
        parts: Sequence[ContextPart],
        settings: Settings,
        options: TrainOptions,
    ) -> Self:
        """Train rankers without the parts: each scores what it was not trained on."""
        plain = sample.columns_with((), parts)  # (F,)
        names = [name for name, is_plain in zip(sample.names, plain, strict=True) if is_plain]
        config = settings.ranker.model_copy(update={"epochs": min(EPOCHS, settings.ranker.epochs)})
        older, newest = (side.rows.with_columns(plain) for side in sides)
        scores = np.zeros(len(older)), np.zeros(len(newest))
        half = np.unique(older.group, return_inverse=True)[1] % 2  # (R,) of the older requests
        for number in (0, 1):
            ranker = Ranker(config).train(older.at(half != number), names, options)
            own = half == number
            scores[0][own] = _log_values(ranker, older.at(own), settings)
            scores[1][:] += 0.5 * _log_values(ranker, newest, settings)
        return cls(sample, sides, scores, parts)

    def compare(self, part: ContextPart, beside: tuple[ContextPart, ...]) -> PartGain:
        """Gain of a part beside others."""
        from scipy.special import stdtrit

        both = np.stack([self.measure(beside), self.measure((*beside, part))], axis=1)  # (H, 2)
        groups = np.unique(self.sides[1].users, return_inverse=True)[1]
        without, with_part = per_user(both, groups).T  # one per user each
        gains = with_part - without
        quantile = float(stdtrit(len(gains) - 1, 1 - LEVEL / len(self.parts) / 2))
        reach = quantile * float(gains.std(ddof=1)) / len(gains) ** 0.5
        gain = float(gains.mean())
        return PartGain(part, float(without.mean()), gain, gain - reach, gain + reach, beside)

    def measure(self, parts: tuple[ContextPart, ...]) -> Values:
        """(H,) nDCG@10 of the newest requests by scores that were corrected by parts."""
        if parts not in self.measured:
            older, newest = self._inputs(parts)
            start = np.zeros(older.shape[1])
            start[0] = 1.0
            ridge = np.full(len(start), _RIDGE)
            learned, asked = self.sides
            weights = fit_logistic(
                older,
                learned.chosen.astype(np.float64),
                start,
                ridge,
                prior=start,
                weights=learned.rows.weights,
                steps=_STEPS,
            )
            self.measured[parts] = ndcg_of_requests(
                newest @ weights, asked.chosen, rows_of_requests(asked.rows.group)
            )
        return self.measured[parts]

    def _inputs(self, parts: Sequence[ContextPart]) -> tuple[Doubles, Doubles]:
        """Columns (R, K) of both sides: the score, those of each feature of the parts, and 1."""
        names = self.sample.names
        columns = [number for number, name in enumerate(names) if part_of(name) in parts]
        older, newest = ([scores] for scores in self.scores)
        for column in columns:
            values, later = (
                side.rows.features[:, column].astype(np.float64) for side in self.sides
            )
            known = values[np.isfinite(values)]
            mean, deviation = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
            scale = 1 / deviation if deviation > 0 else 0.0
            older += _terms((values - mean) * scale)
            newest += _terms((later - mean) * scale)
        return _with_intercept(older), _with_intercept(newest)


def _log_values(ranker: Ranker, rows: RankerRows, settings: Settings) -> Doubles:
    """(R,) logarithms of the values of rows."""
    return np.log(ranker_values(ranker, rows, settings).astype(np.float64) + 1e-9)


def _terms(values: Doubles) -> list[Doubles]:
    """Value, square and whether it is missing, (R,) each, of a standardised feature (R,)."""
    missing = ~np.isfinite(values)
    value = np.clip(np.where(missing, 0.0, values), -_FURTHEST, _FURTHEST)
    return [value, value**2, missing.astype(np.float64)]


def _with_intercept(columns: Sequence[Doubles]) -> Doubles:
    """(R, K) columns with one of ones."""
    return np.column_stack([*columns, np.ones(len(columns[0]))])
