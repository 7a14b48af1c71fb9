"""The teacher: a cross-encoder made of MiniLM, which reads a query and an item together.

Too slow to stand in a request (MiniLM runs for every pair): it says what a light student could
know at best.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serendip.content.pair_reader import PairReader
from serendip.evaluate.classification import best_cut
from serendip.models.cross_encoder import CrossEncoderConfig, train_cross_encoder
from serendip.models.relevance.model import fitted_curve
from serendip.models.relevance.projection import LearnedLikenessConfig
from serendip.models.relevance.train import with_learned
from serendip.runtime.progress import TrainOptions
from serendip.workflow.judge.gold import EXTRA, Gold, GoldPairs
from serendip.workflow.judge.rungs import Answers, Asked, Judge, Rung, lessons_of


class Teacher(Rung):
    """Upper layers of MiniLM, on top of what the cheap features say."""

    name = "teacher"
    uses_chance = True
    filters = False
    most_seeds = 1
    most_learned = 6_000

    def __init__(
        self,
        config: CrossEncoderConfig | None = None,
        likeness: LearnedLikenessConfig | None = None,
    ) -> None:
        self.config = config or CrossEncoderConfig()
        self.likeness = likeness or LearnedLikenessConfig()

    def looked_at(self, gold: Gold, asked: Asked, options: TrainOptions) -> Asked:
        """With what the lower layers make of each pair."""
        queries = [gold.texts.queries[query] for query in asked.queries.tolist()]
        items = [gold.texts.whole(item) for item in asked.items.tolist()]
        return replace(asked, states=self._reader().read(queries, items, options.progress))

    def taught(self, gold: Gold, asked: Asked, pairs: GoldPairs, options: TrainOptions) -> Judge:
        """Layers of four fifths of the units; cut and curve by the others."""
        lessons = lessons_of(asked, pairs)
        features, moved = with_learned(
            self.likeness, gold.crowd, gold.queries, lessons, options.seed
        )
        taught = train_cross_encoder(
            self._reader().upper(),
            asked.states,
            features,
            pairs.is_bad,
            pairs.units,
            self.config,
            options,
        )
        held = taught.held & (pairs.fold != EXTRA)
        states = asked.where(held).states
        values, is_bad = taught.encoder.values(states, features[held]), pairs.is_bad[held]
        cut, curve = best_cut(is_bad, values), fitted_curve(values, is_bad)

        def judge(asked: Asked) -> Answers:
            learned = moved.of(gold.queries, asked.queries, asked.items)
            values = taught.encoder.values(asked.states, np.hstack([asked.features, learned]))
            return Answers(values, curve(values), values >= cut)

        return judge

    def _reader(self) -> PairReader:
        return PairReader(self.config.lower_layers, self.config.tokens)
