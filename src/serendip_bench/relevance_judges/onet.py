"""O*NET as gold: does an occupation fit somebody who says what their job is called?

A query is a job title that incumbents reported themselves, an item an occupation with its title
and tasks; its body is title, description and tasks in one. Good are the occupations that reported
the title and their primary-short relatives. Bad, as many per title, are occupations unrelated to
the title's own ones in both directions: half those whose bodies are nearest, half drawn at random.
Occupations of which no relatives are published (the "all other" ones) are neither: nobody says what
they are not.

What is learned from has twice as many bad pairs on top, drawn alike: more of what does not belong
together is known than a balanced gold shows.

Both ends of a judged pair are unseen in training: occupations are parted first, and a title goes
with its occupations; titles with occupations on both sides are left out. Codes are used to join
the files and for nothing else.

Source: O*NET Database, US Department of Labor, Employment and Training Administration, CC BY 4.0.

Lists of occupations as somebody would be served them who says what their job is called.

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

import csv
import gzip
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.errors import DataError
from serendip.models.relevance.features import VIEWS, ItemTexts, QueryTexts
from serendip.models.relevance.hubness import KINDS
from serendip.models.relevance.projection import QueryProjection, QueryProjectionConfig
from serendip_bench.relevance_judges.gold import (
    EXTRA,
    LEARNED_ONLY,
    Gold,
    GoldPairs,
    GoldTexts,
    ListedGold,
    Lists,
)

OCCUPATIONS, REPORTED = "occupations.csv.gz", "reported_titles.csv.gz"
TASKS, RELATED = "tasks.csv.gz", "related_occupations.csv.gz"
ONET_FILES = (OCCUPATIONS, REPORTED, TASKS, RELATED)

NEAR_TIER = "Primary-Short"
TIERS = (NEAR_TIER, "Primary-Long", "Supplemental")
JUDGED_SHARE = 0.3
"""Share of the occupations that models are judged on."""
MORE_BAD = 2
"""Further bad pairs to learn from, as multiples of those of the gold."""


@dataclass(frozen=True, slots=True)
class Onet:
    """Titles and occupations with what joins them.

    Args:
        texts: titles as queries, occupations as items.
        own: per title the occupations that reported it.
        relatives: per tier and occupation the related ones.
    """

    texts: GoldTexts
    own: list[frozenset[int]]
    relatives: Mapping[str, list[frozenset[int]]]

    @property
    def linked_to(self) -> list[frozenset[int]]:
        """Per occupation those that are related to it in some tier and direction, and itself."""
        linked = [{number} for number in range(len(self.texts.titles))]
        for lists in self.relatives.values():
            for one, others in enumerate(lists):
                linked[one] |= others
                for other in others:
                    linked[other].add(one)
        return [frozenset(one) for one in linked]


def read_onet(folder: Path) -> Onet:
    """Read the four files.

    Raises:
        DataError: one is missing, broken or lacks a column.
    """
    occupations = _rows(folder / OCCUPATIONS, ("onet_soc_code", "title", "description"))
    number = {row["onet_soc_code"]: place for place, row in enumerate(occupations)}
    tasks: list[list[str]] = [[] for _ in occupations]
    for row in _rows(folder / TASKS, ("onet_soc_code", "task")):
        if row["onet_soc_code"] in number:
            tasks[number[row["onet_soc_code"]]].append(row["task"])
    own: dict[str, set[int]] = defaultdict(set)
    for row in _rows(folder / REPORTED, ("onet_soc_code", "reported_job_title")):
        if row["onet_soc_code"] in number:
            own[row["reported_job_title"]].add(number[row["onet_soc_code"]])
    related: dict[str, list[set[int]]] = {tier: [set() for _ in occupations] for tier in TIERS}
    columns = ("onet_soc_code", "related_onet_soc_code", "relatedness_tier")
    for row in _rows(folder / RELATED, columns):
        one, other = (number.get(row[column]) for column in columns[:2])
        if one is not None and other is not None and row["relatedness_tier"] in related:
            related[row["relatedness_tier"]][one].add(other)
    titles = sorted(own)
    return Onet(
        GoldTexts(
            titles,
            [row["title"] for row in occupations],
            [
                " ".join((f"{row['title']}.", row["description"], *own_tasks))
                for row, own_tasks in zip(occupations, tasks, strict=True)
            ],
            tasks,
        ),
        [frozenset(own[title]) for title in titles],
        {tier: [frozenset(one) for one in lists] for tier, lists in related.items()},
    )


def onet_pairs(onet: Onet, queries: QueryTexts, items: ItemTexts, seed: int = 0) -> GoldPairs:
    """Judged pairs of both sides; see the module.

    Args:
        onet: as read.
        queries: the titles with their vectors, which say what is near.
        items: the occupations with theirs.
        seed: of the parting and of the random pairs.

    Raises:
        DataError: there are no pairs.
    """
    random = np.random.default_rng(seed)
    learned, judged = onet_sides(onet, random)
    near = queries.vectors @ items.views[VIEWS.index("body")].T
    linked = onet.linked_to
    rows: list[tuple[int, int, bool, int]] = []
    more = np.random.default_rng([seed, 1])
    for side, fold in ((learned, LEARNED_ONLY), (judged, 0)):
        jobs = np.flatnonzero(side)
        for title, own in enumerate(onet.own):
            if not all(side[one] for one in own):
                continue
            good = _good(own, side, onet)
            others = _unrelated(own, jobs, linked)
            bad = _bad(others, len(good), near[title], random)
            rows += [(title, one, False, fold) for one in good]
            rows += [(title, one, True, fold) for one in bad]
            if fold == LEARNED_ONLY:
                left = np.setdiff1d(others, bad)
                further = _bad(left, MORE_BAD * len(good), near[title], more)
                rows += [(title, one, True, EXTRA) for one in further]
    if not rows:
        raise DataError(
            f"O*NET: none of {len(onet.own)} titles has a {NEAR_TIER} occupation beside unrelated "
            "ones.",
            f"Look at {RELATED} and {REPORTED}.",
        )
    title_of, item, is_bad, folds = (np.array(column) for column in zip(*rows, strict=True))
    units = np.array([min(onet.own[title]) for title in title_of.tolist()])
    return GoldPairs(
        title_of.astype(np.int32),
        item.astype(np.int32),
        is_bad.astype(np.bool_),
        folds.astype(np.int32),
        np.unique(units, return_inverse=True)[1].astype(np.int32),
    )


def onet_sides(onet: Onet, random: np.random.Generator) -> tuple[BoolArray, BoolArray]:
    """(N,) occupations that are learned from, and those that models are judged on."""
    known = np.array([bool(one) for one in onet.relatives[NEAR_TIER]], np.bool_)
    judged = random.random(len(known)) < JUDGED_SHARE
    return ~judged & known, judged & known


def _good(own: frozenset[int], side: BoolArray, onet: Onet) -> list[int]:
    """A title's own occupations and their nearest relatives on a side."""
    relatives = {other for one in own for other in onet.relatives[NEAR_TIER][one] if side[other]}
    return sorted(own | relatives)


def _unrelated(
    own: frozenset[int], jobs: NDArray[np.intp], linked: list[frozenset[int]]
) -> NDArray[np.int64]:
    """Those of the ``jobs`` of a side that no own occupation is linked to."""
    touched = frozenset().union(*(linked[one] for one in own))
    return np.array([job for job in jobs.tolist() if job not in touched], np.int64)


def _bad(
    others: NDArray[np.int64], count: int, near: FloatArray, random: np.random.Generator
) -> list[int]:
    """``count`` of unrelated occupations, as far as there are: half the nearest, half random."""
    count = min(count, len(others))
    nearest = others[np.argsort(-near[others], kind="stable")[: (count + 1) // 2]]
    left = np.setdiff1d(others, nearest)
    drawn = random.choice(left, min(count - len(nearest), len(left)), replace=False)
    return [*nearest.tolist(), *np.sort(drawn).tolist()]


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Fetch the file again.") from None
    for name in columns:
        if name not in names:
            raise DataError(f"{path} has no column {name!r}.", f"It has {', '.join(names)}.")
    for line, row in enumerate(rows, start=2):
        if any(row[name] is None for name in columns):
            raise DataError(f"{path}:{line} has too few cells.", "Fetch the file again.")
    return rows


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
    moved = QueryProjection.fit(QueryProjectionConfig(), gold.crowd, gold.queries, pairs, seed)
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
