"""Fits everything but the ranker on a dataset: features, models and word index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.content.features import (
    build_features,
    build_text_features,
    encode_items,
    fuse_text_vectors,
)
from serendip.content.fusion import Fusion
from serendip.content.semantic_ids.group_names import name_prefixes
from serendip.content.synthetic_queries import write_examples
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection, Dataset, QueryExamples, cooccurring_pairs
from serendip.data.events.repeats import learn_repeats
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.items.features import ItemFeatures
from serendip.data.items.quality import PRIOR_EVENTS, catalogue_prior, item_quality
from serendip.data.items.reception import Reception
from serendip.data.items.semantic_ids import Codebooks, CodeCells
from serendip.data.rows.row_array import pack_rows
from serendip.data.splits import Split
from serendip.data.text import fold
from serendip.data.vocabulary import Vocabulary
from serendip.engine.config.settings import Settings
from serendip.engine.state import EngineState
from serendip.engine.state_parts import CatalogueContent
from serendip.jobs.context import JobContext
from serendip.jobs.suggestions.build import read_written_queries
from serendip.jobs.surface_quality.requests import LabelledQuery
from serendip.jobs.train.continuation import OlderFit
from serendip.jobs.train.ranker.requests import (
    label_judged,
    read_judged_files,
    read_queries_by_llm,
)
from serendip.models.base import Recommender
from serendip.models.context_counts import ContextCounts
from serendip.runtime.progress import StageClock, TrainOptions
from serendip.search.chosen_searches import ChosenSearches
from serendip.search.names import ValueTable
from serendip.search.nonsense import MeaningFloor, make_nonsense
from serendip.search.searcher import Searcher
from serendip.search.variants import find_variants

ALIGNED_FRACTION = 0.9
"""Largest share of the events, oldest first, that content is aligned on. The retriever tunes the
weight of aligned content on the newest events, so the alignment must not have seen them."""

ALIGNED_PAIRS = 50_000
"""More pairs improve a linear map little and make every training longer."""

_SHARE_OF_TIME = 0.5
"""Share of the time left that each training may take."""

_MOST_NEAR, _NEAR_AT_ONCE = 50_000, 4_096
"""Items that nonsense is compared with, and how many at once."""

NUM_EXAMPLES = 2_000
"""Number of synthetic queries for the retriever's search task."""

NUM_LOGGED_EXAMPLES = 10_000
"""Largest number of (logged query, chosen item) pairs for the search task; the newest ones."""


@dataclass(frozen=True, slots=True)
class Fitter:
    """Fits engine states on datasets of one workspace.

    Args:
        context: settings, encoders and vector cache; its clock measures the stages, of which each
            model is one, ``train <name>``. Each training may take half of what is left of its
            budget when it begins; the rest of the job cannot be cut short.
        scratch: folder for word indexes.
    """

    context: JobContext
    scratch: Path

    @property
    def settings(self) -> Settings:
        """Of the workspace."""
        return self.context.settings

    @property
    def clock(self) -> StageClock:
        """Measures the stages."""
        return self.context.clock

    def encode_items(self, dataset: Dataset, options: TrainOptions) -> None:
        """Encode what all later fits on parts of the dataset read from the cache."""
        with self.clock.stage("content vectors"):
            context, fields = self.context, self.settings.content.fields
            encoders = context.encoder, context.vectors
            encode_items(dataset.catalogue.items, *encoders, fields, context.media, options)

    def with_time(self, options: TrainOptions, name: str) -> TrainOptions:
        """Options of a training that begins now."""
        return replace(options, allowance=self.context.budget.from_now(_SHARE_OF_TIME, name))

    def build_content(
        self,
        dataset: Dataset,
        options: TrainOptions,
        start: Codebooks | None = None,
        fusion: Fusion | None = None,
    ) -> CatalogueContent:
        """Content vectors and semantic IDs of the items.

        The fit of the codebooks begins from ``start``, so that groups keep their numbers; a
        ``fusion`` of the same modalities is used again.
        """
        with self.clock.stage("content and codes"):
            catalogue, content = dataset.catalogue, self.settings.content
            features, codebooks, fusion = build_features(
                catalogue,
                self.context.encoder,
                self.context.vectors,
                content,
                self.settings.semantic_ids,
                options,
                self.context.media,
                start,
                fusion,
            )
            # Packed once for all models, which so learn from what requests will read.
            features = replace(features, content=pack_rows(features.content))
            return CatalogueContent(
                features.read_by(self.settings.token_reader, catalogue.items),
                codebooks,
                fusion,
                CodeCells.of(features.codes, codebooks),
                name_prefixes(catalogue, features.codes, content.fields),
                find_variants(catalogue),
            )

    def prepare(
        self, dataset: Dataset, content: CatalogueContent, options: TrainOptions
    ) -> Dataset:
        """Add content, search examples, item quality and alignment to a dataset."""
        counts, fusion = dataset.item_counts(), content.fusion
        examples = self.write_queries(dataset.catalogue, counts, fusion, seed=0, count=NUM_EXAMPLES)
        examples = examples.joined(self.read_logged_queries(dataset, fusion))
        prepared = dataset.with_features(content.features).with_queries(examples)
        prepared = prepared.with_quality(item_quality(dataset, self.settings.quality))
        return prepared.with_alignment(self._align_content(prepared, options))

    def fit_state(
        self,
        dataset: Dataset,
        content: CatalogueContent,
        name: str,
        options: TrainOptions,
        older: OlderFit | None = None,
        words: Path | None = None,
    ) -> EngineState:
        """Fit everything except the ranker; models that can continue from ``older`` do so.

        ``words`` is a folder for the word index; None = one below ``scratch``, by ``name``.
        """
        searcher = self._build_words(dataset, words or self.scratch / name / "search")
        prepared = self.prepare(dataset, content, options)
        models = self._train_models(prepared, content.fusion, name, options, older)
        features, quality = content.features, compute_like_shares(dataset)
        counts = dataset.item_counts()
        merits = quality * np.log(np.e + counts)
        values = ValueTable.of(dataset.catalogue.items, merits)
        return EngineState(
            catalogue=dataset.catalogue,
            models=models,
            ranker=None,
            searcher=replace(searcher, values=values),
            counts=counts,
            quality=quality,
            hidden=np.zeros(dataset.num_items, np.bool_),
            mean_quality=float(quality.mean()) if len(quality) else 0.0,
            meaning_floor=self._find_meaning_floor(searcher, features, content.fusion),
            context=ContextCounts.of(dataset, features.codes, self.settings.context),
            repeats=learn_repeats(dataset, features.codes, self.settings.repeats),
            reception=Reception.of(dataset),
            **content.values(),
        )

    def _build_words(self, dataset: Dataset, folder: Path) -> Searcher:
        with self.clock.stage("word index"):
            popularity = dataset.item_counts().astype(np.float32)
            searches = ChosenSearches.of(
                dataset.catalogue, dataset.requests, self.settings.queries.min_users
            )
            fields = self.settings.search.fields
            return Searcher.build(dataset.catalogue, popularity, folder, fields, searches)

    def _find_meaning_floor(
        self, searcher: Searcher, features: ItemFeatures, fusion: Fusion
    ) -> MeaningFloor:
        """How near nonsense comes to its nearest item, of a sample of the items."""
        texts = make_nonsense(list(searcher.speller.counts))
        if not texts or not len(features.content):
            return MeaningFloor()
        vectors = fuse_text_vectors(texts, self.context.encoder.encode(texts), fusion)
        best = np.full(len(texts), -1.0, np.float32)
        step = max(1, len(features.content) // _MOST_NEAR)
        sample = np.arange(0, len(features.content), step, dtype=np.int32)
        for begin in range(0, len(sample), _NEAR_AT_ONCE):
            rows = fusion.extract_text_part(features.content[sample[begin : begin + _NEAR_AT_ONCE]])
            best = np.maximum(best, (vectors @ rows.T).max(axis=1))
        return MeaningFloor.of(best)

    def _align_content(self, dataset: Dataset, options: TrainOptions) -> AlignedProjection:
        assert dataset.features is not None
        with self.clock.stage("align content"):
            events = dataset.events
            fraction = min(ALIGNED_FRACTION, 1 - self.settings.models.retriever.validation_share)
            log = events.rows(np.arange(len(events)) < fraction * len(events))
            pairs = cooccurring_pairs(log)
            return align(dataset.features.content, pairs, options, ALIGNED_PAIRS)

    def append_new_items(self, state: EngineState, split: Split) -> EngineState:
        """Append items that first appear in the newer part, as posted items are appended."""
        if not split.new_items:
            return state
        features = self.encode_new_items(split.new_items, state.codebooks, state.fusion)
        return state.with_late(split.new_items, features)

    def encode_new_items(
        self, items: Sequence[Item], codebooks: Codebooks, fusion: Fusion
    ) -> ItemFeatures:
        """Content, codes and tokens of items that are not in the training data, by their texts."""
        content = self.settings.content
        texts = [item.encoder_text(content.fields) for item in items]
        vectors = self.context.vectors.encode(self.context.encoder, texts)
        features = build_text_features(texts, vectors, codebooks, fusion)
        return features.read_by(self.settings.token_reader, items)

    def _train_models(
        self,
        dataset: Dataset,
        fusion: Fusion,
        fit: str,
        options: TrainOptions,
        older: OlderFit | None,
    ) -> dict[str, Recommender]:
        if "country" not in self.settings.context.named:  # the models then see no countries
            dataset = dataset.with_countries(None)
        items, trained = dataset.catalogue.vocabulary, dict[str, Recommender]()
        models = self.settings.models.build(self.settings.unified)
        for name, model in models.items():
            start = None
            if older is not None and model.continues():
                start = older.start(name, items, fusion)
            with self.clock.stage(f"train {name}"):
                timed = self.with_time(options, f"{name} ({fit})")
                trained[name] = model.train(dataset, timed, start)
        return trained

    def write_queries(
        self, catalogue: Catalogue, counts: IntArray, fusion: Fusion, seed: int, count: int
    ) -> QueryExamples:
        """Generate synthetic queries for the search task; they differ by seed."""
        texts, items = write_examples(catalogue, counts, self.settings.content.fields, seed, count)
        return QueryExamples(texts, self.encode_texts(texts, fusion), items)

    def read_logged_queries(self, dataset: Dataset, fusion: Fusion) -> QueryExamples:
        """The newest logged queries, with the items that were chosen after them."""
        pairs = [
            (request.text, number)
            for request in dataset.requests
            if request.text.strip()
            for number in request.chosen.tolist()
        ][-NUM_LOGGED_EXAMPLES:]
        texts = [text for text, _ in pairs]
        items = np.array([number for _, number in pairs], np.int32)
        return QueryExamples(texts, self.encode_texts(texts, fusion), items)

    def written_searches(
        self, catalogue: Catalogue, counts: IntArray, fusion: Fusion, count: int
    ) -> QueryExamples:
        """Queries by an LLM, and others from fields, ``count`` in all.

        Other ones than the retriever learns from. Of more than ``count`` by an LLM a random sample,
        always the same, so that no more are encoded than are used.
        """
        queries = read_written_queries(self.context.workspace, catalogue)
        rows = np.sort(np.random.default_rng(0).permutation(len(queries))[:count]).tolist()
        texts = [queries[row].text for row in rows]
        items = np.array([int(queries[row].items[0]) for row in rows], np.int32)
        by_llm = QueryExamples(texts, self.encode_texts(texts, fusion), items)
        left = max(0, count - len(by_llm))
        return self.write_queries(catalogue, counts, fusion, seed=1, count=left).joined(by_llm)

    def labelled_searches(self, vocabulary: Vocabulary, fusion: Fusion) -> list[LabelledQuery]:
        """Queries of the files of ``[ranker.searches] labels``.

        Raises:
            DataError: a file is missing or broken.
        """
        names = self.settings.ranker.searches.labels
        paths = [self.context.workspace.folder / name for name in names]
        judged, by_llm = read_judged_files(paths, vocabulary), read_queries_by_llm(paths)
        return label_judged(judged, self.encode_texts(list(judged), fusion), by_llm)

    def encode_texts(self, texts: Sequence[str], fusion: Fusion) -> FloatArray:
        """(B, C) content vectors of typed texts, folded as those of a request."""
        context, texts = self.context, [fold(text) for text in texts]
        return fuse_text_vectors(texts, context.vectors.encode(context.encoder, texts), fusion)


def compute_like_shares(dataset: Dataset) -> FloatArray:
    """(N,) share of likes among the events of an item, shrunk towards the overall share.

    Negative events count as events without a like. Where the catalogue tells how good items are,
    they are shrunk towards that, around the overall share; without events it alone counts.
    """
    items = np.concatenate([dataset.events.items, dataset.negatives.items])
    counts = np.bincount(items, minlength=dataset.num_items)
    liked = np.bincount(dataset.events.items[dataset.events.liked], minlength=dataset.num_items)
    prior = catalogue_prior(dataset).astype(np.float64)
    if len(items):
        overall = float(dataset.events.liked.sum() / len(items))
        prior = np.clip(overall + prior - prior.mean(), 0.0, 1.0)
    share = (liked + PRIOR_EVENTS * prior) / (counts + PRIOR_EVENTS)
    return share.astype(np.float32)
