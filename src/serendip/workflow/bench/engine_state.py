"""The engine of a benchmark's trial, over its training part and with its encoder and retriever.

Surfaces, sources, features and the ranker's network are the defaults of a workspace. All is fitted
on the training part; items without an event in it join as posted items do. The retriever is the one
that the row ``unified`` of the same seed has trained.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.item import Catalogue
from serendip.data.item_features import ItemFeatures
from serendip.data.item_list import ItemList
from serendip.engine.settings import ModelsConfig, Settings
from serendip.engine.state import EngineState
from serendip.jobs.train.fit import liked_share
from serendip.models.base import Recommender
from serendip.models.ranker.config import RankerConfig
from serendip.models.retriever.model import Retriever
from serendip.models.transitions import TransitionsConfig
from serendip.runtime.progress import TrainOptions
from serendip.search.searcher import Searcher
from serendip.search.suggestions.completions import Suggester
from serendip_bench.sequential.models import SEMANTIC_IDS, SEQUENTIAL
from serendip_bench.splits import Trial

SETTINGS = Settings(
    models=ModelsConfig(transitions=TransitionsConfig(**SEQUENTIAL["transitions+content"].config)),
    ranker=RankerConfig(actions=("interact",)),
)
"""Of the engine: surfaces and sources as they are by default, transitions as in ``sequential``."""

_RETRIEVER = "retriever"


def engine_facts() -> dict[str, Any]:
    """What decides the engine's sources and ranker, for digests."""
    parts: dict[str, Config] = {
        "models": SETTINGS.models,
        "ranker": SETTINGS.ranker,
        "search": SETTINGS.search,
        **SETTINGS.all_surfaces(),
    }
    return {name: part.model_dump(mode="json") for name, part in parts.items()}


def engine_state(
    trial: Trial,
    content: FloatArray,
    catalogue: Catalogue,
    retriever: Retriever,
    seed: int,
    scratch: Path,
) -> EngineState:
    """Everything but the ranker.

    Args:
        trial: whose training part is learned from.
        content: unit vectors in the order of ``items.jsonl``.
        catalogue: all N items under the numbers of the trial.
        retriever: trained on the training part.
        seed: of training and codebooks.
        scratch: empty folder for the word index, which must stay while the state is asked.
    """
    codebooks, codes = trial.codes(content, SEMANTIC_IDS, seed)
    vectors, known = content[trial.numbers], trial.train.num_items
    features = ItemFeatures(vectors, codes, codebooks.codebook_size)
    new = features.rows(np.arange(known, len(vectors), dtype=np.int32))
    counts = np.zeros(len(vectors), np.int32)
    counts[:known] = trial.train.item_counts()
    quality = np.zeros(len(vectors), np.float32)
    quality[:known] = liked_share(trial.train)
    searcher = RememberingSearcher.build(
        catalogue, counts.astype(np.float32), scratch, SETTINGS.search
    )
    models: dict[str, Recommender] = {_RETRIEVER: retriever.with_items(new)}
    dataset = trial.train.with_features(features.rows(np.arange(known, dtype=np.int32)))
    for name, model in SETTINGS.models.build(SETTINGS.unified).items():
        if name != _RETRIEVER:
            models[name] = model.train(dataset, TrainOptions(seed)).with_items(new)
    return EngineState(
        catalogue=catalogue,
        features=features,
        codebooks=codebooks,
        models=models,
        ranker=None,
        searcher=searcher,
        suggester=Suggester(searcher, {}, ()),
        counts=counts,
        quality=quality,
        hidden=np.zeros(len(vectors), np.bool_),
        code_names={},
    )


@dataclass(frozen=True, slots=True, eq=False)
class RememberingSearcher(Searcher):
    """A searcher for thousands of requests with the same words: it searches once for each text.

    What a request excludes is taken out of the answer instead of out of the lists that it is fused
    from, which is the same but for the last few of them.
    """

    answers: dict[str, ItemList] = field(default_factory=dict)

    def search(
        self,
        text: str,
        k: int,
        allowed: BoolArray | None = None,
        literal: bool = False,
    ) -> ItemList:
        """See ``Searcher.search``; a text is read in one way."""
        if text not in self.answers:
            whole = Searcher.search(self, text, self.num_items, None, literal)
            self.answers[text] = whole
        found = self.answers[text]
        rows = (
            np.arange(len(found)) if allowed is None else np.flatnonzero(allowed[found.item_nums])
        )
        return found.take(rows[:k])
