"""Which parts of the context the ranker reads, chosen on the newest events of the workspace.

A sample of the ranker's requests is split by time. A ranker is trained on the older ones without
context, and one with each part that the data have. A part is kept if the interval of its paired
difference of nDCG@10, over the newest requests, lies above 0. If there are several, the one with
the largest gain is kept first; each of the others must then gain over what was kept before it.

Intervals hold at 95 % for all p parts together (Bonferroni: each at 1 - .05 / p); the sampling unit
is the user. Forward selection with tests on later data, not on those that were fitted; difference
to the textbook: a part that gains nothing alone is not tried together with others.

Shapes: R rows (request, candidate), F features, Q requests, H requests of the newest part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, TimeArray
from serendip.engine.feature_names import features_of_parts
from serendip.engine.settings import Settings
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.intervals import per_user
from serendip.evaluate.runs import Values
from serendip.jobs.train.row_quality import ndcg_of_requests, ranker_values, rows_of_requests
from serendip.models.context_counts import ContextPart
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import SilentProgress, TrainOptions

CHOICE_FILE = "context-choice.json"

SAMPLE = 5_000
"""Requests whose rows have all parts that the data have; the others have those that were kept."""

HELD_OUT = 0.3
"""Share of them, the newest, on which parts are compared."""

MIN_REQUESTS = 200
"""With fewer held-out requests nothing is tested; the number is a guess, not measured."""

LEVEL = 0.05

SHARE_OF_TIME = 0.2
"""Share of the ranker's time for the tests."""


@dataclass(frozen=True, slots=True)
class PartGain:
    """What a part of the context is worth to the order of the newest requests.

    Args:
        part: of the context.
        gain: mean difference of nDCG@10, over users.
        low: lower end of the interval for all parts together.
        high: upper end.
        beside: parts that were kept before, and that both orders read.
    """

    part: ContextPart
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

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        (folder / CHOICE_FILE).write_text(json.dumps(self.as_dict()), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote; nothing is kept if it wrote nothing."""
        path = folder / CHOICE_FILE
        if not path.is_file():
            return cls(note="the data are too few for a ranker")
        document = json.loads(path.read_text(encoding="utf-8"))
        gains = tuple(
            PartGain(**{**gain, "beside": tuple(gain["beside"])}) for gain in document["gains"]
        )
        return cls(tuple(document["kept"]), gains, document["users"], document["note"])


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
        unread = features_of_parts(tested) - features_of_parts(parts)
        return np.array([name not in unread for name in self.names], np.bool_)


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
    test = _PartTest.of(sample, parts, settings, options)
    users = len(set(test.users.tolist()))
    if len(test.users) < MIN_REQUESTS or users < MIN_USERS:
        return ContextChoice(users=users, note="the newest requests are too few")
    without = test.measure(())
    gains = {part: test.compare(part, (), without) for part in parts}
    kept: tuple[ContextPart, ...] = ()
    for part in sorted(parts, key=lambda part: -gains[part].gain):
        if gains[part].low > 0 and kept:
            gains[part] = test.compare(part, kept, test.measure(kept))
        if gains[part].low > 0:
            kept = (*kept, part)
    if test.options.allowance.is_over:
        return ContextChoice(users=users, note="there was no time for the tests")
    return ContextChoice(kept, tuple(gains.values()), users)


@dataclass(frozen=True, slots=True, eq=False)
class _PartTest:
    """The two parts of a sample, and what was measured on the newest one.

    Args:
        sample: all rows.
        older: (R,) bool rows of the older requests.
        held_out: rows of the newest requests that have a chosen item.
        users: (H,) number of the user of each of these requests.
        parts: that are tested.
        settings: surfaces and the ranker's config.
        options: of each training.
        measured: parts -> (H,) nDCG@10.
    """

    sample: SampledRows
    older: BoolArray
    held_out: RankerRows
    users: NDArray[np.intp]
    parts: Sequence[ContextPart]
    settings: Settings
    options: TrainOptions
    measured: dict[tuple[ContextPart, ...], Values] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        sample: SampledRows,
        parts: Sequence[ContextPart],
        settings: Settings,
        options: TrainOptions,
    ) -> Self:
        """Split a sample by time; requests of the same moment are on the same side."""
        rows, times = sample.rows, sample.times
        known = np.sort(times[np.isfinite(times)])
        cut = known[int((1 - HELD_OUT) * len(known))] if len(known) else np.inf
        is_newest = (times >= cut)[rows.group]  # (R,); False without a time
        has_choice = np.bincount(rows.group, rows.labels.any(1), len(times)) > 0  # (Q,)
        held_out = rows.at(is_newest & has_choice[rows.group])
        requests = np.unique(held_out.group).tolist()
        keys = [sample.users[number] or f"\0{number}" for number in requests]
        users = np.unique(keys, return_inverse=True)[1] if keys else np.empty(0, np.int64)
        limited = replace(
            options,
            progress=SilentProgress(),
            allowance=options.allowance.from_now(SHARE_OF_TIME, "context"),
        )
        return cls(sample, ~is_newest, held_out, users.reshape(-1), parts, settings, limited)

    def compare(
        self, part: ContextPart, beside: tuple[ContextPart, ...], without: Values
    ) -> PartGain:
        """Gain of a part beside others, whose requests have the nDCG@10 ``without`` (H,)."""
        from scipy.special import stdtrit

        differences = (self.measure((*beside, part)) - without)[:, None]  # (H, 1)
        gains = per_user(differences, self.users)[:, 0]  # one per user
        quantile = float(stdtrit(len(gains) - 1, 1 - LEVEL / len(self.parts) / 2))
        reach = quantile * float(gains.std(ddof=1)) / len(gains) ** 0.5
        gain = float(gains.mean())
        return PartGain(part, gain, gain - reach, gain + reach, beside)

    def measure(self, parts: tuple[ContextPart, ...]) -> Values:
        """(H,) nDCG@10 of the newest requests by a ranker that reads parts; 0 without time.

        It has the features of the other parts too, but never a value of them: networks of the same
        form begin with the same weights, so that their difference owes less to chance.
        """
        if self.options.allowance.is_over or not self.older.any():
            return np.zeros(len(self.users))
        if parts not in self.measured:
            unread = ~self.sample.columns_with(parts, self.parts)  # (F,)
            learned = self.sample.rows.at(self.older).without_values(unread)
            ranker = Ranker(self.settings.ranker).train(learned, self.sample.names, self.options)
            asked = self.held_out.without_values(unread)
            self.measured[parts] = ndcg_of_requests(
                ranker_values(ranker, asked, self.settings),
                np.asarray(asked.labels.any(axis=1)),
                rows_of_requests(asked.group),
            )
        return self.measured[parts]
