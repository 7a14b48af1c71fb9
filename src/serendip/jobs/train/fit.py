"""From a dataset to everything that a request reads: features, models, words, ranker.

The ranker is trained on what the other models could not know: they are first fitted on the older
part of the data, their candidates for the newer part become its rows, and only then are they
fitted again on everything. Nothing outside the dataset is ever read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.content.cache import VectorCache
from serendip.content.config import AlignmentConfig
from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.media_files import Media, MediaReport
from serendip.content.features import (
    build_features,
    build_text_features,
    encode_items,
    encode_media,
    fuse_text_vectors,
)
from serendip.content.fusion import Fusion
from serendip.content.semantic_ids.group_names import name_prefixes
from serendip.content.synthetic_queries import write_examples
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection, Dataset, QueryExamples, cooccurring_pairs
from serendip.data.item import Catalogue, Item
from serendip.data.item_features import ItemFeatures
from serendip.data.item_quality import item_quality
from serendip.data.semantic_ids import Codebooks
from serendip.data.splits import Split, temporal
from serendip.engine.settings import Settings
from serendip.engine.state import EngineState
from serendip.jobs.context import JobContext
from serendip.jobs.semantic_ids.versions import IdVersion
from serendip.jobs.train.carry_over import PreviousCodes, features_of_version
from serendip.jobs.train.ranker_actions import INNER_FRACTION, has_ranker
from serendip.jobs.train.ranker_data import NUM_SEARCH, train_ranker
from serendip.models.base import Recommender
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip.search.searcher import Searcher
from serendip.search.suggestions.completions import Suggester

ALIGNED_FRACTION = 0.9
"""Oldest share of the events, at most, that content is aligned on: the retriever weighs aligned
content by how well it foretells the newest ones, which the alignment must not know."""

ALIGNMENT = AlignmentConfig(most_pairs=50_000)
"""A linear map learns little from more pairs, and every fit waits for it."""

NUM_EXAMPLES = 2_000
"""Written queries that the retriever learns the search task from."""

NUM_LOGGED_EXAMPLES = 10_000
"""Logged words with what was chosen after them that it learns from, too; the newest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What models are trained on, and what encodes items that come later."""

    dataset: Dataset
    features: ItemFeatures
    codebooks: Codebooks
    fusion: Fusion


@dataclass(frozen=True, slots=True)
class Fitter:
    """Fits datasets of one workspace; the clock gets a stage per model, ``train <name>``.

    Args:
        settings: of the workspace.
        encoder: of texts.
        cache: of vectors.
        scratch: folder for word indexes.
        clock: collects what each stage cost.
        media: encoders of the modalities beside text.
        version: semantic IDs to take as they are; None = codebooks are fitted.
        earlier: codes whose numbers fitted codebooks take.
    """

    settings: Settings
    encoder: TextEncoder
    cache: VectorCache
    scratch: Path
    clock: StageClock
    media: Mapping[str, Media] = field(default_factory=dict)
    version: IdVersion | None = None
    earlier: PreviousCodes | None = None

    @classmethod
    def of(cls, context: JobContext, scratch: Path) -> Fitter:
        """With the settings, encoders and vector cache of a job; codebooks are fitted."""
        settings, clock = context.settings, context.clock
        return cls(settings, context.encoder, context.vectors, scratch, clock, context.media)

    def media_reports(self, dataset: Dataset, options: TrainOptions) -> dict[str, MediaReport]:
        """Which pictures and sounds of the items can be used; those that can are encoded."""
        items = dataset.catalogue.items
        return encode_media(items, self.cache, self.media, options.progress)[1]

    def fit(self, dataset: Dataset, name: str, options: TrainOptions) -> EngineState:
        """Fit everything; ``name`` is a folder below ``scratch`` for the word index."""
        with self.clock.stage("content vectors"):
            # Once for all parts of the data that are fitted below.
            fields = self.settings.content.fields
            encode_items(
                dataset.catalogue.items, self.encoder, self.cache, fields, self.media, options
            )
        ranker = self._ranker(dataset, f"{name}-inner", options)
        state = self.fit_sources(dataset, name, options)
        return state if ranker is None else state.with_ranker(ranker)

    def _ranker(self, dataset: Dataset, name: str, options: TrainOptions) -> Ranker | None:
        """Trained on the newer part; None where there are too few events or only one moment."""
        if not has_ranker(dataset):
            return None
        split = temporal(dataset, INNER_FRACTION)
        # Built IDs and earlier codes may know the newer part, so none are used here.
        past = replace(self, version=None, earlier=None).fit_sources(split.train, name, options)
        inner = self.with_new_items(past, split)
        unseen = self.written_queries(
            inner.catalogue, inner.counts, inner.fusion, seed=1, count=NUM_SEARCH
        )
        with self.clock.stage("train ranker"):
            return train_ranker(
                inner,
                split,
                unseen,
                self.settings,
                options,
                lambda texts: self._words(texts, inner.fusion),
            )

    def prepare(self, dataset: Dataset, options: TrainOptions) -> Prepared:
        """What models are trained on: content, codes, written queries, quality, alignment."""
        features, codebooks, fusion = self._features(dataset, options)
        counts = dataset.item_counts()
        examples = self.written_queries(
            dataset.catalogue, counts, fusion, seed=0, count=NUM_EXAMPLES
        )
        examples = examples.joined(self.logged_queries(dataset, fusion))
        known = dataset.with_features(features).with_queries(examples)
        known = known.with_quality(item_quality(dataset))
        alignment = self._alignment(known, options)
        return Prepared(known.with_alignment(alignment), features, codebooks, fusion)

    def fit_sources(self, dataset: Dataset, name: str, options: TrainOptions) -> EngineState:
        """Fit everything but the ranker on ``dataset``."""
        prepared = self.prepare(dataset, options)
        features, fusion, counts = prepared.features, prepared.fusion, dataset.item_counts()
        models = self._models(prepared.dataset, options)
        folder = self.scratch / name / "search"
        searcher = Searcher.build(
            dataset.catalogue,
            counts.astype(np.float32),
            folder,
            self.settings.search,
        )
        return EngineState(
            catalogue=dataset.catalogue,
            features=features,
            codebooks=prepared.codebooks,
            models=models,
            ranker=None,
            searcher=searcher,
            suggester=Suggester.of(dataset.catalogue.items, searcher),
            counts=counts,
            quality=liked_share(dataset),
            hidden=np.zeros(dataset.num_items, np.bool_),
            code_names=name_prefixes(
                dataset.catalogue, features.codes, self.settings.content.fields
            ),
            fusion=fusion,
        )

    def _features(
        self, dataset: Dataset, options: TrainOptions
    ) -> tuple[ItemFeatures, Codebooks, Fusion]:
        """Content, codes and tokens; codes of the built IDs, or fitted on ``dataset``."""
        catalogue, content = dataset.catalogue, self.settings.content
        reader = self.settings.token_reader
        if self.version is not None:
            encoded = encode_items(
                catalogue.items, self.encoder, self.cache, content.fields, self.media, options
            )
            features, codebooks, fusion = features_of_version(self.version, encoded, catalogue)
            return features.read_by(reader, catalogue.items), codebooks, fusion
        features, codebooks, fusion = build_features(
            catalogue,
            self.encoder,
            self.cache,
            content,
            self.settings.semantic_ids,
            options,
            self.media,
            content.fusion,
            cooccurring_pairs(dataset.events),
            self.earlier.codebooks if self.earlier else None,
        )
        if self.earlier is not None:
            features, codebooks = self.earlier.matched(features, codebooks, catalogue)
        return features.read_by(reader, catalogue.items), codebooks, fusion

    def _alignment(self, dataset: Dataset, options: TrainOptions) -> AlignedProjection:
        """What moves content to where the older events of ``dataset`` put it."""
        assert dataset.features is not None
        with self.clock.stage("align content"):
            events = dataset.events
            fraction = min(ALIGNED_FRACTION, 1 - self.settings.models.retriever.validation_share)
            older = events.rows(np.arange(len(events)) < fraction * len(events))
            return align(dataset.features.content, cooccurring_pairs(older), ALIGNMENT, options)

    def with_new_items(self, state: EngineState, split: Split) -> EngineState:
        """Append the items that first appear after the cut, the way a posted item is appended."""
        if not split.new_items:
            return state
        features = self.features_of(split.new_items, state.codebooks, state.fusion)
        return state.with_items(split.new_items, features)

    def features_of(
        self, items: Sequence[Item], codebooks: Codebooks, fusion: Fusion
    ) -> ItemFeatures:
        """Content, codes and tokens of items that come later, by their words."""
        content = self.settings.content
        texts = [item.text(content.fields) for item in items]
        vectors = self.cache.encode(self.encoder, texts)
        features = build_text_features(texts, vectors, codebooks, fusion)
        return features.read_by(self.settings.token_reader, items)

    def _models(self, dataset: Dataset, options: TrainOptions) -> dict[str, Recommender]:
        models = {}
        for name, model in self.settings.models.build(self.settings.unified).items():
            with self.clock.stage(f"train {name}"):
                models[name] = model.train(dataset, options)
        return models

    def written_queries(
        self, catalogue: Catalogue, counts: IntArray, fusion: Fusion, seed: int, count: int
    ) -> QueryExamples:
        """Written queries for the search task; other seeds write other ones."""
        texts, items = write_examples(catalogue, counts, self.settings.content.fields, seed, count)
        return QueryExamples(texts, self._words(texts, fusion), items)

    def logged_queries(self, dataset: Dataset, fusion: Fusion) -> QueryExamples:
        """The newest logged words, with the items that were chosen after them."""
        pairs = [
            (one.text, number)
            for one in dataset.requests
            if one.text.strip()
            for number in one.chosen.tolist()
        ][-NUM_LOGGED_EXAMPLES:]
        texts = [text for text, _ in pairs]
        items = np.array([number for _, number in pairs], np.int32)
        return QueryExamples(texts, self._words(texts, fusion), items)

    def _words(self, texts: Sequence[str], fusion: Fusion) -> FloatArray:
        return fuse_text_vectors(texts, self.cache.encode(self.encoder, texts), fusion)


def liked_share(dataset: Dataset, prior_events: float = 10.0) -> FloatArray:
    """(N,) share of an item's events that are likes, shrunk towards the overall share.

    Negative events count here as what they are: no likes.
    """
    items = np.concatenate([dataset.events.items, dataset.negatives.items])
    counts = np.bincount(items, minlength=dataset.num_items)
    liked = np.bincount(dataset.events.items[dataset.events.liked], minlength=dataset.num_items)
    overall = float(dataset.events.liked.sum() / len(items)) if len(items) else 0.0
    share = (liked + prior_events * overall) / (counts + prior_events)
    return share.astype(np.float32)
