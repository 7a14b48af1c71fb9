"""The contract of everything that says what comes next.

A model declares itself on its class: its name, its config, and what the engine must know to serve
it (the kind of its scores, and its words for people). It is a frozen config plus ``train``; what it
learned is only numbers, so it can be saved, opened in another process and answer with the same
scores. Public methods check and mask; the private hooks (one per public method) hold the maths and
see item numbers only. A model never changes after training: ``with_items`` and
``with_changed_items`` return a new one.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np

from serendip.config import Config, validate
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.item_list import ItemList, top_k
from serendip.data.query import Query
from serendip.errors import ArtefactError, DataError, NotTrainedError
from serendip.runtime.progress import TrainOptions

CONFIG_FILE = "config.json"

ScoreKind = Literal["count", "similarity", "prior"]
"""What scores are: ``count`` = sums of evidence, never negative, 0 = none; ``similarity`` = a
number on any scale that is compared with the best of the query; ``prior`` = the same for every
query. The ranker reads counts as log(1 + score) and as a share of the query's best score,
similarities as they are and as the distance to the best; priors give it no features."""


class VoteEvidence(NamedTuple):
    """How the votes of a model are worded as evidence.

    Args:
        kind: of the evidence, for programs.
        sentence: for people; ``{title}`` is the title of the item that votes.
        least_vote: weaker votes are no reason that a person would accept.
        covers_new_items: items without interactions have this evidence, too.
    """

    kind: str
    sentence: str
    least_vote: float = 0.0
    covers_new_items: bool = False


@runtime_checkable
class GivesVotes(Protocol):
    """A model that can say what each item of the context gives to the score of an item."""

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their votes (T, C) for ``item_nums``."""
        ...


class Recommender(ABC):
    """Scores the whole catalogue for a batch of queries.

    Scores: higher is better, any scale, always finite. Where ``zero_means_unknown`` is True a
    score of 0 says "no evidence" and such items are not recommended.
    """

    name: ClassVar[str]
    """Its name in the registry, which saved models and ``class = "..."`` in settings refer to."""

    config_class: ClassVar[type[Config]]
    """Its hyperparameters."""

    label: ClassVar[str]
    """Words for people, for its score: "Chosen next" is shown as "Chosen next (score)"."""

    origin: ClassVar[str] = ""
    """Words for people, for where its candidates come from: "the same people" is shown as "From the
    same people"; empty = those of its score."""

    score_kind: ClassVar[ScoreKind]
    """What its scores are; decides how the ranker reads them."""

    evidence: ClassVar[VoteEvidence | None] = None
    """How ``votes`` is worded; None = the model explains nothing."""

    zero_means_unknown: ClassVar[bool] = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config if config is not None else self.config_class()
        self._num_items = -1
        self._num_unscored = 0

    @property
    def source_label(self) -> str:
        """Words for people, for where its candidates come from: "the same people"."""
        return self.origin or self.label[:1].lower() + self.label[1:]

    @property
    def is_trained(self) -> bool:
        """True once ``train`` or ``open`` has run."""
        return self._num_items >= 0

    @property
    def num_items(self) -> int:
        """N, the number of items in a row of scores."""
        self._require_trained()
        return self._num_items + self._num_unscored

    def train(self, dataset: Dataset, options: TrainOptions | None = None) -> Self:
        """Learn from everything in ``dataset`` and nothing else; training again starts afresh."""
        self._train(dataset, options or TrainOptions())
        self._num_items, self._num_unscored = dataset.num_items, 0
        return self

    def score_all(self, queries: Sequence[Query]) -> FloatArray:
        """Scores (B, N) float32 of every item for every query; row b depends on query b only."""
        self._require_trained()
        if not queries:
            return np.empty((0, self.num_items), dtype=np.float32)
        if not self._num_unscored:
            return self._score_all(queries)
        scores = self._score_all([query.known(self._num_items) for query in queries])
        filled = np.zeros((len(queries), self.num_items), np.float32)
        filled[:, : self._num_items] = scores
        if not self.zero_means_unknown and self._num_items:
            filled[:, self._num_items :] = scores.min(1, keepdims=True)
        return filled

    def recommend(self, queries: Sequence[Query], k: int = 10) -> list[ItemList]:
        """The k best items per query, without those in ``query.exclude``.

        Raises:
            DataError: k < 1.
        """
        if k < 1:
            raise DataError(f"k = {k}.", "Ask for 1 item or more.")
        scores = self.score_all(queries).copy()
        if self.zero_means_unknown:
            scores[scores == 0] = -np.inf
        answers = []
        for row, query in zip(scores, queries, strict=True):
            row[query.exclude] = -np.inf
            answers.append(top_k(row, k))
        return answers

    def with_items(self, features: ItemFeatures) -> Self:
        """A copy that also knows new items, numbered after the old ones; nothing is trained.

        Where the model cannot score new items, they are never part of its queries and have the
        lowest score, or 0 where that says "no evidence".
        """
        self._require_trained()
        extended = self._with_items(features)
        if extended is None:
            extended = copy.copy(self)
            extended._num_unscored += len(features)
        else:
            extended._num_items = self._num_items + len(features)
        return extended

    def votes_of(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray] | None:
        """Items (T,) of the context and their votes (T, C); None where the model gives no votes.

        Items that the model cannot score get no votes.
        """
        if not isinstance(self, GivesVotes):
            return None
        is_scored = item_nums < self._num_items
        context, given = self.votes(query.known(self._num_items), item_nums[is_scored])
        votes = np.zeros((len(context), len(item_nums)), np.float32)
        votes[:, is_scored] = given
        return context, votes

    def with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """A copy that knows other content of known items; nothing is trained.

        What people did with the items stays. Models that hold no content return themselves.

        Args:
            item_nums: (M,) int32 in [0, N); of a number given twice the last content counts.
            features: content and codes of the M items.

        Raises:
            DataError: lengths differ, or a number is outside the catalogue.
        """
        self._require_trained()
        if len(item_nums) != len(features):
            raise DataError(
                f"{len(item_nums)} changed items with features of {len(features)}.",
                "Give one row of features per item.",
            )
        outside = item_nums[(item_nums < 0) | (item_nums >= self.num_items)]
        if len(outside):
            raise DataError(
                f"item number {outside[0]} is not one of the {self.num_items} that "
                f"model {self.name!r} knows.",
                "Add new items with with_items(features).",
            )
        scored = np.flatnonzero(item_nums < self._num_items).astype(np.int32)
        if not len(scored):
            return self
        if len(scored) < len(item_nums):
            item_nums, features = item_nums[scored], features.rows(scored)
        return self._with_changed_items(item_nums, features)

    def save(self, folder: Path) -> None:
        """Write config and numbers into ``folder`` (created); no pickle."""
        self._require_trained()
        folder.mkdir(parents=True, exist_ok=True)
        values = {"model": self.name, "num_items": self._num_items}
        document = {**values, "config": self.config.model_dump(mode="json")}
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
        self._save(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the folder holds no such model.
        """
        try:
            document = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{folder} holds no readable model: {error}.") from None
        if document["model"] != cls.name:
            raise ArtefactError(f"{folder} holds a {document['model']!r}, not a {cls.name!r}.")
        model = cls(validate(cls.config_class, document["config"], str(folder / CONFIG_FILE)))
        model._open(folder)
        model._num_items = int(document["num_items"])
        return model

    def _require_trained(self) -> None:
        if not self.is_trained:
            raise NotTrainedError(f"model {self.name!r} is not trained.", "Call train(dataset).")

    @abstractmethod
    def _train(self, dataset: Dataset, options: TrainOptions) -> None: ...

    @abstractmethod
    def _score_all(self, queries: Sequence[Query]) -> FloatArray: ...

    def _with_items(self, features: ItemFeatures) -> Self | None:
        """A copy that scores new items, too; None where the model cannot."""
        return None

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """Right for models that learn from behaviour alone; those with content replace it here."""
        return self

    @abstractmethod
    def _save(self, folder: Path) -> None: ...

    @abstractmethod
    def _open(self, folder: Path) -> None: ...
