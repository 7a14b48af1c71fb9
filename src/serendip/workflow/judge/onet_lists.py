"""Lists of occupations as somebody would be served them who says what their job is called.

The nearest occupations among what else there is are candidates, and a likeness that was learned
from good pairs puts them in order: no judge has a hand in what stands in a list. Titles are those
of the judged part, of which nothing was learned. Bad are occupations that are unrelated to all of
the title's own ones in both directions; relatives of all tiers are good, as a list is not spoiled
by a distant one.

Of ``served`` lists all occupations are candidates whose relatives are published: what a known
catalogue shows to somebody new. Of ``unseen`` ones only those of the judged part are, so that
nothing was learned of either end of any pair; then most relatives of a title are missing.

Who filters lists learns from lists: titles that are learned from have the same kind of list, of
occupations of that part, labelled in the same way. In the gold no distant relative has a label.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.models.relevance.features import VIEWS
from serendip.models.relevance.hubness import KINDS
from serendip.models.relevance.projection import LearnedLikeness, LearnedLikenessConfig
from serendip.workflow.judge.gold import LEARNED_ONLY, Gold, GoldPairs, ListedGold, Lists
from serendip.workflow.judge.onet import Onet, onet_sides

LISTED = 50
"""Occupations of a list; what a filter takes out is replaced from these."""

LABELLED = 20
"""Of these, drawn for each title that is learned from: labels cost."""

_FOR_BOTH = slice(KINDS.index("for both"), None, len(KINDS))


def onet_lists(onet: Onet, gold: Gold, seed: int = 0) -> ListedGold:
    """``served`` and ``unseen`` lists of all judged titles.

    Args:
        onet: as read.
        gold: its pairs, of which the learned ones teach what is alike.
        seed: of the parting, as in ``onet_pairs``.
    """
    learned, judged = onet_sides(onet, np.random.default_rng(seed))
    good = ~gold.pairs.judged & ~gold.pairs.is_bad
    pairs = gold.pairs.queries[good], gold.pairs.items[good]
    moved = LearnedLikeness.fit(LearnedLikenessConfig(), gold.crowd, gold.queries, pairs, seed)
    found = {}
    for name, jobs in (("served", learned | judged), ("unseen", judged)):
        listed = _listed(onet, gold, _titles(onet, judged), jobs, 0)
        columns = moved.of(gold.queries, listed.queries, listed.items)
        found[name] = Lists(listed, columns[:, _FOR_BOTH].mean(1))
    lessons = _listed(onet, gold, _titles(onet, learned), learned, LEARNED_ONLY)
    return ListedGold(found, lessons.where(_some_of_each(lessons.queries, seed)))


def _titles(onet: Onet, side: BoolArray) -> NDArray[np.int64]:
    """Titles whose own occupations are all of a side."""
    return np.array([t for t, own in enumerate(onet.own) if all(side[one] for one in own)])


def _listed(
    onet: Onet, gold: Gold, titles: NDArray[np.int64], side: BoolArray, fold: int
) -> GoldPairs:
    """The occupations of a side that are nearest to each title, with their labels."""
    jobs = np.flatnonzero(side)
    nearest = jobs[np.argsort(-_near(gold, titles, jobs), axis=1, kind="stable")[:, :LISTED]]
    linked = onet.linked_to
    touched = [frozenset().union(*(linked[one] for one in onet.own[title])) for title in titles]
    is_bad = [
        [job not in own for job in row] for row, own in zip(nearest.tolist(), touched, strict=True)
    ]
    count = nearest.shape[1]
    units = np.unique([min(onet.own[title]) for title in titles], return_inverse=True)[1]
    return GoldPairs(
        np.repeat(titles, count).astype(np.int32),
        nearest.ravel().astype(np.int32),
        np.array(is_bad, np.bool_).ravel(),
        np.full(nearest.size, fold, np.int32),
        np.repeat(units, count).astype(np.int32),
    )


def _some_of_each(queries: IntArray, seed: int) -> BoolArray:
    """(P,) ``LABELLED`` pairs of each query, as far as it has so many."""
    drawn = np.random.default_rng(seed).random(len(queries))
    order = np.lexsort((drawn, queries))
    starts = np.flatnonzero(np.diff(queries[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    mask = np.zeros(len(order), np.bool_)
    mask[order] = rank < LABELLED
    return mask


def _near(gold: Gold, titles: NDArray[np.int64], jobs: NDArray[np.intp]) -> FloatArray:
    """(q, n) how near titles are to occupations among all others, in the mean of the views."""
    own = [gold.crowd.asked(gold.queries, titles)] * len(VIEWS)
    row, which = np.indices((len(titles), len(jobs))).reshape(2, -1)
    columns = gold.crowd.crowd.columns(own, gold.crowd.views[:, jobs], (row, which))
    near: FloatArray = np.mean(columns[_FOR_BOTH], axis=0).reshape(len(titles), len(jobs))
    return near
