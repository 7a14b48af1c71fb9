"""Whether the ranker orders search, chosen on the workspace's own searches.

Searches of people, logged or labelled, are dealt into folds by their words. Rankers that have
learned from the other folds order the candidates of each fold, all of them, exact titles first as
in an answer, and so does rank fusion. A user counts once, with the mean of their searches; a query
without a user counts as one.

The ranker orders search if it is better (``evaluate/decision.py``) on the logged searches, or on
the labelled ones where the logged are of too few users, and is not shown to be worse on the other
source. Sources are never pooled: many labels would outvote the people who search. Else sources are
fused by rank, which needs no training and cannot learn from chance.

Written queries decide nothing: they are not what people type. Nor do labels by an LLM: the ranker
that has learned them would be compared by the same habits. Gains are those of the training:
grades of labelled items, inverse propensities of the positions of chosen ones. Candidates that no
source proposed, as items that were shown some day, are left out. What was chosen was seen in some
order, mostly that of the generation then in force, which the figures favour.

Values are sums of action probabilities by the weights of ``search``; its popularity discount, item
value and rejections are left out. The rankers of the folds learn from the searches of the other
folds and from at most ``OTHERS`` requests of other kinds, so that the whole choice costs at most
one and a half times the ranker's own training without its rows, mostly far less, and nothing
without searches of people. Each fold has an equal share of the time. If that ends a training,
nothing is compared, and sources stay fused.

Shapes: R rows (request, candidate), Q requests, H compared searches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.text import normalise
from serendip.engine.config.settings import Settings
from serendip.engine.stages.scoring import show_scores
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.decision import Decision
from serendip.jobs.train.ranker.labels import OF_PEOPLE, LabelledQuery
from serendip.jobs.train.ranker.orders import (
    RankerSample,
    RankerTrials,
    even_share,
    gains_of,
)
from serendip.jobs.train.ranker.requests import count_searches
from serendip.jobs.train.ranker.rows import SearchCandidates
from serendip.models.ranker.config import SEARCH_SOURCES
from serendip.runtime.progress import TrainOptions

SEARCH_ORDER = "search order"
"""Name of the decision: on = the ranker orders search."""

FOLDS = 3

SHARE_OF_TIME = 0.3
"""Share of the ranker's time for the choice."""


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
    """Compare the ranker with rank fusion on held-out searches; see the rule above.

    ``compared`` are all candidates of some searches of people, numbered as in the sample.
    """
    learned = count_searches(sample.rows, [request.source for request in sample.requests])
    counts = ", ".join(f"{learned[name]:,} {name}" for name in SEARCH_SOURCES)
    found = None if compared is None else _with_gain(compared)
    if found is None:
        decision = Decision(SEARCH_ORDER, False, reason="no search of people can be compared on")
    else:
        decision = _compare(sample, found, settings, options)
    return replace(decision, reason=f"{decision.reason}; learned from {counts} searches")


def _compare(
    sample: RankerSample,
    found: SearchCandidates,
    settings: Settings,
    options: TrainOptions,
) -> Decision:
    sources = np.array([request.source or "" for request in sample.requests])
    source_of, folds = sources[found.rows.group], deal_folds(sample.requests)  # (R,), (Q,)
    users = {
        source: len(set(sample.users(found.rows.at(source_of == source)))) for source in OF_PEOPLE
    }
    enough = [source for source, count in users.items() if count >= MIN_USERS]
    if not enough:
        most = max(users, key=lambda source: users[source])
        reason = f"{most} searches are of fewer than {MIN_USERS} users or queries"
        return Decision(SEARCH_ORDER, False, n=users[most], reason=reason)
    if len(np.unique(folds[found.rows.group])) < 2:
        return Decision(SEARCH_ORDER, False, reason="all searches have the same words")
    trials = RankerTrials.of(settings, options, SEARCH_ORDER, SHARE_OF_TIME)
    values = _held_out_values(sample, found, trials, folds)
    if values is None:
        return Decision(SEARCH_ORDER, False, reason="there was no time for the comparison")
    compared = []
    for source in enough:
        own = source_of == source
        orders = [show_scores(found.pins, order)[own] for order in (found.fused, values)]
        decision = sample.compare(SEARCH_ORDER, found.rows.at(own), (orders[0], orders[1]))
        compared.append(replace(decision, reason=f"{decision.reason} on {source} searches"))
    first, *others = compared
    against = [other for other in others if other.high is not None and other.high < 0]
    return against[0] if first.on and against else first


def _held_out_values(
    sample: RankerSample, found: SearchCandidates, trials: RankerTrials, folds: IntArray
) -> FloatArray | None:
    """(R,) values of candidates by rankers that have not seen their words; None = no time."""
    values, of_row = np.zeros(len(found.rows), np.float32), folds[found.rows.group]  # (R,) each
    present = np.unique(of_row).tolist()
    others = even_share(folds < 0)
    for place, fold in enumerate(present):
        learned = sample.at(others | ((folds >= 0) & (folds != fold)))
        share = 1 / (len(present) - place)
        ranker = trials.train(learned, sample.names, share=share)
        if ranker is None:
            return None
        own = of_row == fold
        values[own] = trials.values(ranker, found.rows.at(own))
    return values


def _with_gain(compared: SearchCandidates) -> SearchCandidates | None:
    """Proposed candidates of the H searches with a gain among them; None without any."""
    proposed = compared.at(compared.fused > 0)
    group = proposed.rows.group
    total = np.bincount(group, gains_of(proposed.rows), int(group.max(initial=0)) + 1)
    found = proposed.at(total[group] > 0)
    return found if len(found.rows) else None
