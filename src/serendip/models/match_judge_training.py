"""Teaches a judge of matches: likenesses from good pairs, trees from all, a curve from the rest.

Needs lightgbm (extra ``bench``). Shapes: P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.models.learned_likeness import (
    LearnedLikeness,
    LearnedLikenessConfig,
    learned_apart,
)
from serendip.models.match_judge import MatchJudge
from serendip.models.pair_features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.student_training import StudentConfig, train_student


class MatchJudgeConfig(Config):
    """What a judge is made of."""

    student: StudentConfig = StudentConfig()
    """The trees."""

    likeness: LearnedLikenessConfig = LearnedLikenessConfig()
    """How far queries are moved."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Labelled pairs.

    Args:
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_bad: (P,) labels, of people or of a teacher that passed the gate.
        units: (P,) int32 what is kept together where pairs are parted.
        is_typical: (P,) pairs that are good and bad as often as those that will be asked about.
        features: (P, F) of these pairs.
    """

    queries: IntArray
    items: IntArray
    is_bad: BoolArray
    units: IntArray
    is_typical: BoolArray
    features: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class TaughtJudge:
    """A judge, and what it says of pairs that its trees had not seen.

    Args:
        judge: learned from all pairs.
        held: (P,) the pairs that were kept from the trees whose curve it has.
        chances: (H,) of these pairs, by those trees.
    """

    judge: MatchJudge
    held: BoolArray
    chances: FloatArray


def teach_judge(
    config: MatchJudgeConfig,
    known: PairFeatures,
    texts: tuple[QueryTexts, ItemTexts],
    lessons: Lessons,
    seed: int,
) -> TaughtJudge:
    """Learn from labelled pairs.

    Args:
        config: sizes.
        known: of all items and queries; no label is in it.
        texts: of queries and items.
        lessons: what is learned from.
        seed: of everything that is drawn.
    """
    queries, items = texts
    features, moved = with_learned(config.likeness, known, queries, lessons, seed)
    taught = train_student(
        features, lessons.is_bad, lessons.units, config.student, seed, lessons.is_typical
    )
    judge = MatchJudge.of(moved, taught.student, items)
    return TaughtJudge(judge, taught.held, taught.chances)


def with_learned(
    config: LearnedLikenessConfig,
    known: PairFeatures,
    queries: QueryTexts,
    lessons: Lessons,
    seed: int,
) -> tuple[FloatArray, LearnedLikeness]:
    """Features with learned likenesses beside them.

    Returns:
        (P, F + L) of the pairs that are learned from, each by a map of other units; and the map of
        all of these, for others.
    """
    numbers, is_bad = (lessons.queries, lessons.items), lessons.is_bad
    learned = learned_apart(config, known, queries, numbers, is_bad, lessons.units, seed)
    good = lessons.queries[~is_bad], lessons.items[~is_bad]
    moved = LearnedLikeness.fit(config, known, queries, good, seed)
    return np.hstack([lessons.features, learned]), moved
