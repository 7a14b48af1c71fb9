"""What the ranker reads and orders, chosen on held-out requests of the workspace.

Every choice trains rankers on some of the requests, compares two orders of others by nDCG@10, and
is on where that is shown to rise (``evaluate/decision.py``); the sampling unit is the user. Each
has a share of the ranker's time. Where that ends a training, nothing is compared, and the choice
is off. Besides what is compared, rankers of baskets and of search learn from at most ``OTHERS``
requests of other kinds, so that a choice costs a part of the ranker's own training that shrinks as
the data grow.

**Context**: which parts of it the ranker reads. A ranker without context is trained on half of the
older requests. For each part that the data have, a logistic regression of the other half corrects
its scores by the features of the part, and the newest requests tell what the correction is worth.
If several parts gain, the one with the largest gain is kept first; each of the others must then
gain over what was kept before it. Intervals hold at 95 % for all p parts together (Bonferroni).
This is forward selection with tests on later data, not on those that were fitted; difference to the
textbook: a part that gains nothing alone is not tried together with others. The correction has the
value and the square of each feature, so that it finds a price level that people keep to; it does
not find what two parts only say together.

**Baskets**: whether the cart and the page after an order are tasks of their own, or go on being
answered as similar items, tested on the newest requests of each kind. Two rankers are trained
without these and what is later: one with rows of the other baskets, and one without any.

**Search order**: whether the ranker orders search, or sources are fused by rank, which needs no
training and cannot learn from chance. Searches of people, logged or labelled, are dealt into folds
by their words. Rankers that have learned from the other folds order all candidates of each fold,
exact titles first as in an answer, and so does rank fusion. The ranker must be better on the logged
searches, or on the labelled ones where the logged are of too few users, and not be shown to be
worse on the other source. Sources are never pooled: many labels would outvote the people who
search. Written queries decide nothing: they are not what people type. Nor do labels by an LLM: the
ranker that has learned them would be compared by the same habits. Gains are those of the training:
grades of labelled items, inverse propensities of the positions of chosen ones. Candidates that no
source proposed are left out. What was chosen was seen in some order, mostly that of the generation
then in force, which the figures favour. Values are sums of action probabilities by the weights of
``search``; its popularity discount, item value and rejections are left out.

Shapes: R rows (request, candidate), F features, Q requests, K columns of a regression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.numeric import Doubles, NewtonSteps, fit_logistic
from serendip.data.query import Task
from serendip.data.text import normalise
from serendip.engine.config.settings import Settings
from serendip.engine.feature_names import part_of
from serendip.engine.stages.scoring import show_scores
from serendip.evaluate.decision import FEWEST, Decision
from serendip.jobs.surface_quality.requests import OF_PEOPLE, LabelledQuery
from serendip.jobs.train.ranker.requests import BASKET_TASKS, count_searches
from serendip.jobs.train.ranker.rows import SearchCandidates
from serendip.jobs.train.ranker.sample import RankerSample, even_share, gains_of, ranker_values
from serendip.models.context_counts import ContextPart
from serendip.models.ranker.config import SEARCH_SOURCES, RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import SilentProgress, TrainOptions

EPOCHS = 3
"""Passes of the rankers of the context and of baskets, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Trains the rankers of a choice, each for at most some epochs, in a share of the time."""

    settings: Settings
    options: TrainOptions
    names: Sequence[str]

    @classmethod
    def of(
        cls,
        sample: RankerSample,
        settings: Settings,
        options: TrainOptions,
        name: str,
        share: float,
    ) -> Self:
        """Trials on rows of a sample; the name is that of the choice."""
        time = options.allowance.from_now(share, name)
        limited = replace(options, progress=SilentProgress(), allowance=time)
        return cls(settings, limited, sample.names)

    def with_epochs(self, most: int) -> Self:
        """With fewer passes."""
        ranker = self.settings.ranker
        ranker = ranker.model_copy(update={"epochs": min(most, ranker.epochs)})
        return replace(self, settings=self.settings.model_copy(update={"ranker": ranker}))

    def train(
        self, rows: RankerRows, tasks: Sequence[int] | None = None, share: float = 1.0
    ) -> Ranker | None:
        """Train a ranker that may order some tasks, in a share of the time that is left.

        None if no row was chosen, or the time was over before its end: it would be compared as if
        it were whole.
        """
        left = self.options.allowance
        if not rows.labels.any():
            return None
        time, ranker = replace(left.from_now(share), cuts=[]), None
        if not left.is_over:
            ranker = Ranker(with_room(self.settings.ranker, tasks or ()))
            ranker.train(rows, self.names, replace(self.options, allowance=time), tasks)
        if ranker is None or time.cuts:
            left.cut(0.0)
            return None
        return ranker

    def values(self, ranker: Ranker, rows: RankerRows) -> FloatArray:
        """(R,) values of rows."""
        return ranker_values(ranker, rows, self.settings)


def with_room(config: RankerConfig, tasks: Iterable[int]) -> RankerConfig:
    """The config of a ranker with room for some tasks; without baskets it stays as it is."""
    return config.model_copy(
        update={"num_tasks": max(config.num_tasks, *(t + 1 for t in tasks), 1)}
    )


CONTEXT_SAMPLE = 5_000
"""Requests that the context is chosen on, the first ones, which are a sample of all."""

NEWEST_SHARE = 0.5
"""Share of them, the newest, on which parts are compared."""

MIN_REQUESTS = 200
"""With fewer on either side nothing is tested; the number is a guess, not measured."""

_FURTHEST = 4.0
"""Standard deviations from the mean at which features are clipped."""

_RIDGE = 1.0
_STEPS = NewtonSteps(count=25, furthest=2.0, largest=30.0)


def choose_context(
    sample: RankerSample, present: Sequence[ContextPart], settings: Settings, options: TrainOptions
) -> list[Decision]:
    """A decision for each part of the context that the rows have, by the settings or by a test."""
    named = [part for part in present if part in settings.context.named]
    parts = [part for part in present if part not in named]
    found = undecided(named, "the settings say so", on=True)
    first = sample.first(CONTEXT_SAMPLE)
    return found + (choose_parts(first, parts, settings, options) if parts else [])


def undecided(parts: Sequence[ContextPart], reason: str, on: bool = False) -> list[Decision]:
    """Decisions that no test has made."""
    return [Decision(f"context: {part}", on, reason=reason) for part in parts]


def columns_without(names: Sequence[str], parts: Sequence[ContextPart]) -> BoolArray:
    """(F,) bool, False for features of some parts."""
    return np.array([part_of(name) not in parts for name in names], np.bool_)


def split_by_time(sample: RankerSample) -> tuple[RankerRows, RankerRows]:
    """Rows of the older and of the newest requests with a choice; without a time they are
    neither.
    """
    times, has_choice = sample.times, sample.has_choice
    known = np.sort(times[np.isfinite(times)])
    cut = known[int((1 - NEWEST_SHARE) * len(known))] if len(known) else np.inf
    return sample.at((times < cut) & has_choice), sample.at((times >= cut) & has_choice)


def choose_parts(
    sample: RankerSample, parts: Sequence[ContextPart], settings: Settings, options: TrainOptions
) -> list[Decision]:
    """A decision for each part, in order; all are off if the time ends before the last test."""
    older, newest = split_by_time(sample)
    if min(len(np.unique(side.group)) for side in (older, newest)) < MIN_REQUESTS:
        return undecided(parts, "the newest requests are too few")
    plain = columns_without(sample.names, parts)  # (F,)
    names = [name for name, is_plain in zip(sample.names, plain, strict=True) if is_plain]
    trials = Trials.of(replace(sample, names=names), settings, options, "context", 0.2)
    trials = trials.with_epochs(EPOCHS)
    is_learned = np.unique(older.group, return_inverse=True)[1] % 2 == 0  # (R,)
    ranker = trials.train(older.at(is_learned).with_columns(plain))
    if ranker is None:
        return undecided(parts, "there was no time for the tests")
    sides = older.at(~is_learned), replace(newest, weights=np.ones(len(newest), np.float32))
    values = [trials.values(ranker, side.with_columns(plain)).astype(float) for side in sides]
    scores = [np.log(some + 1e-9) for some in values]

    def compare(part: ContextPart, beside: tuple[ContextPart, ...] = ()) -> Decision:
        read = beside, (*beside, part)
        without, with_ = (_correct(sample.names, sides, scores, some) for some in read)
        found = sample.compare(f"context: {part}", sides[1], (without, with_), len(parts))
        told = f", beside {', '.join(beside)}" if beside else ""
        return replace(found, reason=f"{found.reason}{told}")

    found, kept = {part: compare(part) for part in parts}, tuple[ContextPart, ...]()
    for part in sorted(parts, key=lambda part: -(found[part].gain or 0.0)):
        if found[part].on and kept:
            found[part] = compare(part, kept)
        if found[part].on:
            kept = (*kept, part)
    return list(found.values())


def _correct(
    names: Sequence[str],
    sides: tuple[RankerRows, RankerRows],
    scores: Sequence[Doubles],
    parts: Sequence[ContextPart],
) -> Doubles:
    """(R,) scores of the newest requests, corrected by parts as the older ones say."""
    older, newest = ([some, np.ones(len(some))] for some in scores)
    for column, name in enumerate(names):
        if part_of(name) not in parts:
            continue
        values, later = (side.features[:, column].astype(np.float64) for side in sides)
        known = values[np.isfinite(values)]
        mean, deviation = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
        scale = 1 / deviation if deviation > 0 else 0.0
        older += _terms((values - mean) * scale)
        newest += _terms((later - mean) * scale)
    start, learned = np.eye(1, len(older))[0], sides[0]  # (K,): the score as it is
    weights = fit_logistic(
        np.column_stack(older),
        np.asarray(learned.labels.any(1), np.float64),
        start,
        np.full(len(start), _RIDGE),
        prior=start,
        weights=learned.weights,
        steps=_STEPS,
    )
    return np.asarray(np.column_stack(newest) @ weights)


def _terms(values: Doubles) -> list[Doubles]:
    """Value, square and whether it is missing, (R,) each, of a standardised feature (R,)."""
    missing = ~np.isfinite(values)
    value = np.clip(np.where(missing, 0.0, values), -_FURTHEST, _FURTHEST)
    return [value, value**2, missing.astype(np.float64)]


HELD_OUT = 0.3
"""Share of the baskets that the choice is made on, the newest ones."""


def choose_baskets(
    sample: RankerSample, settings: Settings, options: TrainOptions
) -> dict[Task, Decision]:
    """Task of baskets that has rows -> whether the ranker learns it."""
    newest = {
        task: find_newest(sample, task)  # (Q,)
        for task in BASKET_TASKS
        if sample.of_tasks([task]).any()
    }
    tested = {task: sample.at(mask & sample.has_choice) for task, mask in newest.items()}
    found = dict[Task, Decision]()
    for task, rows in tested.items():
        few = f"the newest baskets are of fewer than {FEWEST} users"
        users = len(set(sample.users(rows)))
        found[task] = Decision(f"baskets: {task}", False, n=users, reason=few)
    if max((one.n for one in found.values()), default=0) < FEWEST:
        return found
    trials = Trials.of(sample, settings, options, "baskets", 0.2).with_epochs(EPOCHS)
    similar, own = (
        trials.train(rows, np.unique(rows.task).tolist()) for rows in learned_rows(sample, newest)
    )
    for task, rows in tested.items():
        if similar is None or own is None:
            why = "there was no time for the choice, or nothing to learn from"
            found[task] = replace(found[task], reason=why)
        else:
            orders = trials.values(similar, rows), trials.values(own, rows)
            found[task] = sample.compare(found[task].name, rows, orders)
    return found


def find_newest(sample: RankerSample, task: Task) -> BoolArray:
    """(Q,) bool, True for the newest ``HELD_OUT`` of the requests of a task that have rows."""
    groups = np.unique(sample.rows.group[sample.of_tasks([task])])
    times, found = sample.times, np.zeros(len(sample.requests), np.bool_)
    if len(groups):
        cut = np.sort(times[groups])[int((1 - HELD_OUT) * len(groups))]
        found[groups] = times[groups] >= cut
    return found


def learned_rows(
    sample: RankerSample, newest: Mapping[Task, BoolArray]
) -> tuple[RankerRows, RankerRows]:
    """Rows for the rankers of the choice: without baskets, and with the older ones.

    Of the kind whose newest requests (Q,) are the latest, what is later than the first of these is
    left out, too.
    """
    times = sample.times
    held_out = np.logical_or.reduce(list(newest.values()))
    latest = max(times[mask].min() for mask in newest.values() if mask.any())
    usable = ~held_out & ~(times >= latest)  # (Q,)
    is_basket = np.zeros(len(times), np.bool_)
    is_basket[sample.rows.group[sample.of_tasks(BASKET_TASKS)]] = True
    has_rows = np.bincount(sample.rows.group, minlength=len(times)) > 0
    others = even_share(usable & ~is_basket & has_rows)
    return sample.at(others), sample.at(others | (usable & is_basket))


SEARCH_ORDER = "search order"
FOLDS = 3


def deal_folds(requests: Sequence[LabelledQuery]) -> IntArray:
    """(Q,) fold of each logged or labelled search, -1 for others; equal words share one."""
    is_search = np.array([request.source in OF_PEOPLE for request in requests], np.bool_)
    texts = [
        normalise(request.query.text) if is_of_people else ""
        for request, is_of_people in zip(requests, is_search.tolist(), strict=True)
    ]
    names, text = np.unique(texts, return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(names)) % FOLDS
    return np.where(is_search, fold[text], -1).astype(np.int32)


def choose_search_order(
    sample: RankerSample,
    compared: SearchCandidates | None,
    settings: Settings,
    options: TrainOptions,
) -> Decision:
    """Whether the ranker orders search.

    ``compared`` are all candidates of some searches of people, numbered as in the sample.
    """
    learned = count_searches(sample.rows, [request.source for request in sample.requests])
    counts = ", ".join(f"{learned[name]:,} {name}" for name in SEARCH_SOURCES)
    decision = Decision(SEARCH_ORDER, False, reason="no search of people can be compared on")
    found = None if compared is None else _with_gain(compared)
    if found is not None and len(found):
        decision = _compare_searches(sample, found, settings, options)
    return replace(decision, reason=f"{decision.reason}; learned from {counts} searches")


def _compare_searches(
    sample: RankerSample, found: SearchCandidates, settings: Settings, options: TrainOptions
) -> Decision:
    off, folds = Decision(SEARCH_ORDER, False), deal_folds(sample.requests)  # (Q,)
    sources = np.array([request.source or "" for request in sample.requests])
    source_of, fold_of = sources[found.group], folds[found.group]  # (R,) each
    users = {source: len(set(sample.users(found.at(source_of == source)))) for source in OF_PEOPLE}
    enough = [source for source, count in users.items() if count >= FEWEST]
    if not enough:
        most = max(users, key=lambda source: users[source])
        reason = f"{most} searches are of fewer than {FEWEST} users or queries"
        return replace(off, n=users[most], reason=reason)
    present = np.unique(fold_of).tolist()
    if len(present) < 2:
        return replace(off, reason="all searches have the same words")
    trials = Trials.of(sample, settings, options, SEARCH_ORDER, 0.3)
    values, others = np.zeros(len(found), np.float32), even_share(folds < 0)
    for place, fold in enumerate(present):
        learned = sample.at(others | ((folds >= 0) & (folds != fold)))
        ranker = trials.train(learned, share=1 / (len(present) - place))
        if ranker is None:
            return replace(off, reason="there was no time for the comparison")
        values[fold_of == fold] = trials.values(ranker, found.at(fold_of == fold))
    orders = [show_scores(found.pins, order) for order in (found.fused, values)]
    compared = []
    for source in enough:
        own = source_of == source
        two = (orders[0][own], orders[1][own])
        decision = sample.compare(SEARCH_ORDER, found.at(own), two)
        compared.append(replace(decision, reason=f"{decision.reason} on {source} searches"))
    first, *others_found = compared
    against = [one for one in others_found if one.high is not None and one.high < 0]
    return against[0] if first.on and against else first


def _with_gain(compared: SearchCandidates) -> SearchCandidates:
    """Proposed candidates of the searches with a gain among them."""
    proposed = compared.at(compared.fused > 0)
    group = proposed.group
    total = np.bincount(group, gains_of(proposed), int(group.max(initial=0)) + 1)
    return proposed.at(total[group] > 0)
