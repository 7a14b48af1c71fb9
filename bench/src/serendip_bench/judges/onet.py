"""O*NET as gold labels: does an occupation suit somebody with a given job title?

A query is a job title that incumbents reported themselves, an item an occupation with its title
and tasks; its body is title, description and tasks in one. Codes join the files and are used for
nothing else.

Pairs. Relevant are the occupations that reported the title and their primary-short relatives.
Irrelevant, as many per title, are occupations unrelated to the title's own ones in both directions:
half those whose bodies are nearest, half drawn at random. Occupations without published relatives
(the "all other" ones) are neither, as they have no labels. For training there are twice as many
irrelevant pairs on top, drawn alike, as unrelated occupations abound.

Split. Both ends of a tested pair are unseen in training: occupations are split first, and a title
goes with its occupations; titles with occupations on both sides are left out. The occupations that
``dev`` is tested on are drawn first; ``test`` is tested on as many others.

Slates. Candidates of a title are the nearest occupations, ranked by the query projection fitted on
relevant training pairs; no judge decides what a slate holds. Titles are those of the test side.
Irrelevant are occupations unrelated to all of the title's own ones in both directions; relatives of
all tiers are relevant, as a distant one does not spoil a slate. Candidates of ``served`` slates are
all occupations with published relatives: what a known catalogue shows to a new user. Candidates of
``unseen`` slates are occupations of the test side only, so that both ends of every pair are unseen;
most relatives of a title are then missing.

Filters of slates are trained on slates of training titles, of occupations of the training side with
the same kind of labels: in the pairs, distant relatives have no label.

Source: O*NET Database, US Department of Labor, Employment and Training Administration, CC BY 4.0.

Shapes: N occupations, q titles, n occupations of a side, P pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.csv import ConvertOptions, ParseOptions, read_csv

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.errors import DataError
from serendip.models.relevance.features import KINDS, REFERENCE_SIZE, VIEWS, ItemTexts, QueryTexts
from serendip.models.relevance.projection import QueryProjection
from serendip_bench.judges.gold import (
    EXTRA,
    TRAIN_ONLY,
    Gold,
    GoldPairs,
    GoldTexts,
    Part,
    RankedSlates,
)

OCCUPATIONS, REPORTED = "occupations.csv.gz", "reported_titles.csv.gz"
TASKS, RELATED = "tasks.csv.gz", "related_occupations.csv.gz"
ONET_FILES = (OCCUPATIONS, REPORTED, TASKS, RELATED)

NEAR_TIER = "Primary-Short"
TIERS = (NEAR_TIER, "Primary-Long", "Supplemental")
TEST_SHARE = 0.3
"""Share of the occupations that judges are tested on."""
EXTRA_IRRELEVANT = 2
"""Further irrelevant training pairs per relevant pair."""


@dataclass(frozen=True)
class Onet:
    """Job titles, occupations and their relations.

    Args:
        texts: titles as queries, occupations as items.
        occupations: per title, the occupations that reported it.
        relatives: per tier and occupation, the related ones.
    """

    texts: GoldTexts
    occupations: list[frozenset[int]]
    relatives: Mapping[str, list[frozenset[int]]]
    files: Sequence[Path]
    part: Part

    @classmethod
    def read(cls, folder: Path, part: Part = "test") -> Onet:
        """Read the four files.

        Raises:
            DataError: one is missing or damaged, or lacks a column.
        """
        occupations = _rows(folder / OCCUPATIONS, ("onet_soc_code", "title", "description"))
        number = {row["onet_soc_code"]: place for place, row in enumerate(occupations)}
        tasks: list[list[str]] = [[] for _ in occupations]
        for row in _rows(folder / TASKS, ("onet_soc_code", "task")):
            if row["onet_soc_code"] in number:
                tasks[number[row["onet_soc_code"]]].append(row["task"])
        reported_by: dict[str, set[int]] = defaultdict(set)
        for row in _rows(folder / REPORTED, ("onet_soc_code", "reported_job_title")):
            if row["onet_soc_code"] in number:
                reported_by[row["reported_job_title"]].add(number[row["onet_soc_code"]])
        related: dict[str, list[set[int]]] = {tier: [set() for _ in occupations] for tier in TIERS}
        columns = ("onet_soc_code", "related_onet_soc_code", "relatedness_tier")
        for row in _rows(folder / RELATED, columns):
            job, other = (number.get(row[column]) for column in columns[:2])
            if job is not None and other is not None and row["relatedness_tier"] in related:
                related[row["relatedness_tier"]][job].add(other)
        titles = sorted(reported_by)
        bodies = [
            " ".join((f"{row['title']}.", row["description"], *job_tasks))
            for row, job_tasks in zip(occupations, tasks, strict=True)
        ]
        return cls(
            GoldTexts(titles, [row["title"] for row in occupations], bodies, tasks),
            [frozenset(reported_by[title]) for title in titles],
            {tier: [frozenset(jobs) for jobs in lists] for tier, lists in related.items()},
            [folder / name for name in ONET_FILES],
            part,
        )

    @cached_property
    def links(self) -> list[frozenset[int]]:
        """Per occupation, those related to it in any tier and direction, and itself."""
        linked = [{number} for number in range(len(self.texts.titles))]
        for lists in self.relatives.values():
            for job, others in enumerate(lists):
                linked[job] |= others
                for other in others:
                    linked[other].add(job)
        return [frozenset(jobs) for jobs in linked]

    def split(self, random: np.random.Generator) -> tuple[BoolArray, BoolArray]:
        """(N,) occupations of the training and of the test side of the part."""
        has_relatives = np.array([bool(jobs) for jobs in self.relatives[NEAR_TIER]], np.bool_)
        draws = random.random(len(has_relatives))
        is_test = draws < TEST_SHARE if self.part == "dev" else draws >= 1 - TEST_SHARE
        return ~is_test & has_relatives, is_test & has_relatives

    def draw_pairs(self, queries: QueryTexts, items: ItemTexts) -> GoldPairs:
        """Labelled pairs of both sides; near occupations are found by vectors.

        Raises:
            DataError: there are no pairs.
        """
        random, extra_random = np.random.default_rng(0), np.random.default_rng([0, 1])
        train, test = self.split(random)
        similarity = queries.vectors @ items.views[VIEWS.index("body")].T  # (titles, N)
        rows: list[tuple[int, int, bool, int]] = []
        for side, fold in ((train, TRAIN_ONLY), (test, 0)):
            jobs = np.flatnonzero(side)
            for title in self.titles_of(side).tolist():
                title_jobs = self.occupations[title]
                near = frozenset().union(*(self.relatives[NEAR_TIER][job] for job in title_jobs))
                relevant = sorted(title_jobs | {job for job in near if side[job]})
                others = np.setdiff1d(jobs, list(self._related(title_jobs)))
                irrelevant = _draw_irrelevant(others, len(relevant), similarity[title], random)
                rows += [(title, job, False, fold) for job in relevant]
                rows += [(title, job, True, fold) for job in irrelevant]
                if fold == TRAIN_ONLY:
                    left, count = np.setdiff1d(others, irrelevant), EXTRA_IRRELEVANT * len(relevant)
                    extra = _draw_irrelevant(left, count, similarity[title], extra_random)
                    rows += [(title, job, True, EXTRA) for job in extra]
        if not rows:
            raise DataError(
                f"O*NET: none of {len(self.occupations)} titles has both a {NEAR_TIER} occupation "
                "and an unrelated one.",
                f"Look at {RELATED} and {REPORTED}.",
            )
        titles, jobs_of, is_irrelevant, folds = map(np.array, zip(*rows, strict=True))
        return self._pairs(titles, jobs_of, is_irrelevant, folds)

    def titles_of(self, side: BoolArray) -> NDArray[np.int64]:
        """Titles whose occupations are all of a side (N,)."""
        jobs_of = enumerate(self.occupations)
        return np.array([title for title, jobs in jobs_of if all(side[job] for job in jobs)])

    def rank_slates(self, gold: Gold) -> tuple[Mapping[str, RankedSlates], GoldPairs]:
        """``served`` and ``unseen`` slates of all test titles, and training examples."""
        train, test = self.split(np.random.default_rng(0))
        is_relevant = ~gold.pairs.is_test & ~gold.pairs.is_irrelevant
        relevant = gold.pairs.queries[is_relevant], gold.pairs.items[is_relevant]
        projection = QueryProjection.fit(gold.pair_features, gold.queries, relevant, 0)
        kinds = {}
        for name, side in (("served", train | test), ("unseen", test)):
            pairs = self._nearest_pairs(gold, self.titles_of(test), side, 0)
            columns = projection.compute(
                gold.pair_features, gold.queries, pairs.queries, pairs.items
            )
            kinds[name] = RankedSlates.of(pairs, columns[:, _FOR_QUERY].mean(1))
        examples = self._nearest_pairs(gold, self.titles_of(train), train, TRAIN_ONLY)
        return kinds, examples.where(_sample_per_query(examples.queries))

    def _nearest_pairs(
        self, gold: Gold, titles: NDArray[np.int64], side: BoolArray, fold: int
    ) -> GoldPairs:
        """The occupations of a side that are nearest to each title, with their labels."""
        jobs = np.flatnonzero(side)
        order = np.argsort(-_similarities(gold, titles, jobs), axis=1, kind="stable")
        nearest = jobs[order[:, :SLATE_CANDIDATES]]
        related = [self._related(self.occupations[title]) for title in titles]
        is_irrelevant = [
            [job not in relatives for job in row]
            for row, relatives in zip(nearest.tolist(), related, strict=True)
        ]
        return self._pairs(
            np.repeat(titles, nearest.shape[1]),
            nearest.ravel(),
            np.array(is_irrelevant, np.bool_).ravel(),
            np.full(nearest.size, fold),
        )

    def _related(self, title_jobs: frozenset[int]) -> frozenset[int]:
        return frozenset().union(*(self.links[job] for job in title_jobs))

    def _pairs(
        self,
        titles: NDArray[np.integer],
        jobs: NDArray[np.integer],
        is_irrelevant: BoolArray,
        fold: NDArray[np.integer],
    ) -> GoldPairs:
        """Pairs whose groups are the first occupations of their titles."""
        groups = np.array([min(self.occupations[title]) for title in titles.tolist()])
        return GoldPairs(
            titles.astype(np.int32),
            jobs.astype(np.int32),
            is_irrelevant,
            fold.astype(np.int32),
            np.unique(groups, return_inverse=True)[1].astype(np.int32),
            np.ones(len(titles), np.bool_),
        )


def _draw_irrelevant(
    others: NDArray[np.int64], count: int, similarity: FloatArray, random: np.random.Generator
) -> list[int]:
    """Up to ``count`` unrelated occupations: half the nearest ones, half random ones."""
    count = min(count, len(others))
    nearest = others[np.argsort(-similarity[others], kind="stable")[: (count + 1) // 2]]
    left = np.setdiff1d(others, nearest)
    sample = random.choice(left, min(count - len(nearest), len(left)), replace=False)
    return [*nearest.tolist(), *np.sort(sample).tolist()]


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    texts = ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
    )
    lines = ParseOptions(newlines_in_values=True)
    try:
        table = read_csv(path, parse_options=lines, convert_options=texts)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Fetch the file again.") from None
    rows: list[dict[str, str]] = table.to_pylist()
    return rows


SLATE_CANDIDATES = 50
"""Occupations of a slate; those behind the shown ones replace what a filter removes."""

LABELLED = 20
"""Labelled occupations, drawn from the slate of each training title: labels cost."""

_FOR_QUERY = slice(KINDS.index("for the query"), None, len(KINDS))


def _sample_per_query(queries: IntArray) -> BoolArray:
    """(P,) mask of up to ``LABELLED`` random pairs of each query."""
    numbers = np.random.default_rng(0).random(len(queries))
    order = np.lexsort((numbers, queries))
    starts = np.flatnonzero(np.diff(queries[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    mask = np.zeros(len(order), np.bool_)
    mask[order] = rank < LABELLED
    return mask


def _similarities(gold: Gold, titles: NDArray[np.int64], jobs: NDArray[np.intp]) -> FloatArray:
    """(q, n) hubness-corrected similarity of titles and occupations, mean over the views.

    That of titles with a sample of all titles is subtracted (CSLS, Conneau et al. 2018).
    """
    random = np.random.default_rng(0)
    sample = np.sort(random.permutation(len(gold.queries.vectors))[:REFERENCE_SIZE])
    hubness = _standardise(gold, sample, jobs).mean(0)  # (n,)
    similarities: FloatArray = _standardise(gold, titles, jobs) - hubness
    return similarities


def _standardise(gold: Gold, titles: NDArray[np.int64], jobs: NDArray[np.intp]) -> FloatArray:
    """(q, n) similarity standardised for each title."""
    features = gold.pair_features
    views = features.views[:, jobs]
    standardised: FloatArray = np.stack(
        [
            features.reference.columns([vector] * len(VIEWS), views)[:, _FOR_QUERY].mean(1)
            for vector in features.centre_queries(gold.queries, titles)
        ]
    )
    return standardised
