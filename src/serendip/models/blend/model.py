"""Blend (stacked generalisation): a small network reranks the candidates of several models.

Each part proposes its best items for a request; features of the parts' scores pass a perceptron,
trained by a softmax among the candidates on what users chose after the parts' training ended. No
single scale or weight could replace it: how far to trust co-occurrence depends on how confident the
sequence model is, and vice versa (Wolpert 1992; here listwise).

Shapes: B queries, N items, C candidates, F features, H hidden size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from serendip.config import Config, validate
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.errors import ArtefactError, DataError
from serendip.models import model_class, open_model
from serendip.models.base import Recommender, ScoreKind
from serendip.models.blend.config import (
    BlendConfig,
    BlendNetwork,
)
from serendip.models.blend.features import BlendCandidates, candidates_of
from serendip.runtime.progress import TrainOptions

PARTS_FOLDER, NETWORK_FILE = "parts", "network.npz"

_QUERIES_AT_ONCE = 256


class Blend(Recommender):
    """Scores the candidates of its parts by a network; all other items come after them.

    Args:
        config: parts and network.
        trained: parts that are trained already, by their name in the config, on the same dataset
            that this model will be trained on, which then must carry validation targets.
    """

    name: ClassVar[str] = "blend"
    config_class: ClassVar[type[Config]] = BlendConfig
    label: ClassVar[str] = "Blend of models"
    origin: ClassVar[str] = "the blend of models"
    score_kind: ClassVar[ScoreKind] = "similarity"
    zero_means_unknown: ClassVar[bool] = False
    config: BlendConfig

    def __init__(
        self, config: BlendConfig | None = None, trained: Mapping[str, Recommender] | None = None
    ) -> None:
        super().__init__(config)
        self._given = dict(trained or {})
        self._parts: dict[str, Recommender] = {}
        self._network: BlendNetwork

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        from serendip.models.blend.train import train_network

        if dataset.validation is not None:
            self._parts = self._fit_parts(dataset, options)
            self._network = train_network(self.candidates, dataset, self.config, options)
            return
        if self._given:
            raise DataError(
                "a blend of trained models needs targets that they have not seen.",
                "Give a dataset with validation targets, or let the blend train its parts.",
            )
        past = dataset.without_last_events()
        self._parts = self._fit_parts(past, options)
        self._network = train_network(self.candidates, past, self.config, options)
        self._parts = self._fit_parts(dataset, options)

    def _fit_parts(self, dataset: Dataset, options: TrainOptions) -> dict[str, Recommender]:
        parts = {}
        for name, part in self.config.parts.items():
            kind = model_class(part.model)
            config = validate(kind.config_class, part.config, f"blend: parts.{name}.config")
            model = self._given.get(name)
            parts[name] = model or kind(config).train(dataset, options.inside(name))
        return parts

    def candidates(self, queries: Sequence[Query]) -> BlendCandidates:
        """What the parts propose, and say of it."""
        scores = [part.score_all(queries) for part in self._parts.values()]
        return candidates_of(queries, scores, self.config.num_candidates)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        starts = range(0, len(queries), _QUERIES_AT_ONCE)
        return np.concatenate(
            [self._score_some(queries[start : start + _QUERIES_AT_ONCE]) for start in starts]
        )

    def _score_some(self, queries: Sequence[Query]) -> FloatArray:
        scores = [part.score_all(queries) for part in self._parts.values()]
        found = candidates_of(queries, scores, self.config.num_candidates)
        values = self._network(found.features)
        lowest = np.where(found.real, values, np.inf).min(1, keepdims=True)
        lowest = np.where(np.isfinite(lowest), lowest, 0.0)
        below = scores[-1].max(1, keepdims=True) - scores[-1]
        answer: FloatArray = (lowest - 1 - below / (1 + below)).astype(np.float32)
        rows, places = np.nonzero(found.real)
        answer[rows, found.items[rows, places]] = values[rows, places]
        return answer

    def _with_items(self, features: ItemFeatures) -> Self:
        return self._with_parts({name: p.with_items(features) for name, p in self._parts.items()})

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        return self._with_parts(
            {name: p.with_changed_items(item_nums, features) for name, p in self._parts.items()}
        )

    def _with_parts(self, parts: dict[str, Recommender]) -> Self:
        model = copy.copy(self)
        model._parts = parts
        return model

    def _save(self, folder: Path) -> None:
        for name, part in self._parts.items():
            part.save(folder / PARTS_FOLDER / name)
        network = self._network
        arrays: dict[str, Any] = {"mean": network.mean, "scale": network.scale}
        for place, (weight, bias) in enumerate(network.layers):
            arrays |= {f"weight{place}": weight, f"bias{place}": bias}
        np.savez(folder / NETWORK_FILE, **arrays)

    def _open(self, folder: Path) -> None:
        self._parts = {
            name: open_model(part.model, folder / PARTS_FOLDER / name)
            for name, part in self.config.parts.items()
        }
        try:
            with np.load(folder / NETWORK_FILE, allow_pickle=False) as stored:
                count = sum(key.startswith("weight") for key in stored)
                layers = [(stored[f"weight{at}"], stored[f"bias{at}"]) for at in range(count)]
                self._network = BlendNetwork(stored["mean"], stored["scale"], layers)
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"{folder} holds no readable blend: {error}.") from None
