"""Content features of items: fused vectors and semantic IDs, in training and serving.

Shapes: N items, D vector size of a modality, Q queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder, find_present
from serendip.content.encoders.media_files import Media, MediaReport
from serendip.content.encoders.text import TextEncoderConfig
from serendip.content.fusion import TEXT, Fusion
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig, fit_codebooks
from serendip.data import Catalogue, Codebooks, FloatArray, IntArray, Item, ItemFeatures
from serendip.data.items.features import ModalityVectors
from serendip.data.rows.row_array import PackedRows
from serendip.runtime.progress import Progress, TrainOptions


def encode_items(
    items: Sequence[Item],
    encoder: TextEncoder,
    cache: VectorCache,
    fields: Sequence[str],
    media: Mapping[str, Media] | None = None,
    options: TrainOptions | None = None,
) -> dict[str, ModalityVectors]:
    """Encode N items: modality -> vectors and mask, ``text`` first.

    Files that cannot be used are missing; ``encode_media`` reports them.
    """
    options = options or TrainOptions()
    progress = options.progress
    texts = [item.encoder_text(fields) for item in items]
    vectors = cache.encode(encoder, texts, progress, executor=options.executor)
    encoded = {TEXT: ModalityVectors(vectors, find_present(texts))}
    return encoded | encode_media(items, cache, media or {}, progress)[0]


def encode_media(
    items: Sequence[Item], cache: VectorCache, media: Mapping[str, Media], progress: Progress
) -> tuple[dict[str, ModalityVectors], dict[str, MediaReport]]:
    """Encode the files of N items: modality -> vectors and mask, modality -> report."""
    encoded, reports = {}, {}
    for name, source in media.items():
        encoded[name], reports[name] = source.encode(items, cache, progress, name)
    return encoded, reports


def build_features(
    catalogue: Catalogue,
    encoder: TextEncoder,
    cache: VectorCache,
    text: TextEncoderConfig,
    semantic_ids: ResidualKMeansConfig,
    options: TrainOptions | None = None,
    media: Mapping[str, Media] | None = None,
    start: Codebooks | None = None,
    earlier: Fusion | None = None,
) -> tuple[ItemFeatures, Codebooks, Fusion]:
    """Encode every item, fuse its modalities and fit codebooks to the vectors.

    ``start`` are previous codebooks from which the fit starts; the fusion ``earlier`` is used again
    if its modalities are those of the items.

    Returns:
        features in catalogue order, and codebooks and fusion for later items and queries.
    """
    options = options or TrainOptions()
    encoded = encode_items(catalogue.items, encoder, cache, text.fields, media, options)
    fitted = Fusion.fit(encoded)
    if earlier is not None and earlier.sizes == fitted.sizes:
        fitted = earlier
    content = fitted.encode(encoded)  # (N, sum of blocks)
    codebooks, codes = fit_codebooks(content, semantic_ids, options, start)
    size = codebooks.codebook_size
    return ItemFeatures(content, codes, size, fitted.present(encoded)), codebooks, fitted


def encode_new(
    items: Sequence[Item],
    encoder: TextEncoder,
    codebooks: Codebooks,
    fields: Sequence[str],
    fusion: Fusion,
    media: Mapping[str, ModalityVectors] | None = None,
) -> ItemFeatures:
    """Build features of items added after training: new vectors, codes by the frozen codebooks.

    Only text is encoded, since this runs in the service, which never decodes media: ``media`` are
    the vectors of files that were encoded elsewhere.
    """
    texts = [item.encoder_text(fields) for item in items]
    return build_text_features(texts, encoder.encode(texts), codebooks, fusion, media)


def build_text_features(
    texts: Sequence[str],
    vectors: FloatArray,
    codebooks: Codebooks,
    fusion: Fusion,
    media: Mapping[str, ModalityVectors] | None = None,
) -> ItemFeatures:
    """Build features of items from their texts and text vectors (N, D), and those of files.

    Content is rounded as that of trained items is, so that an item keeps its vector when it is
    posted unchanged.
    """
    encoded = {TEXT: ModalityVectors(vectors, find_present(texts)), **(media or {})}
    content = fusion.encode(encoded)
    codes, size = codebooks.assign(content), codebooks.codebook_size
    return ItemFeatures(np.asarray(PackedRows.of(content)), codes, size, fusion.present(encoded))


def fuse_text_vectors(texts: Sequence[str], vectors: FloatArray, fusion: Fusion) -> FloatArray:
    """Map text vectors (Q, D) of queries into the fused space of the items."""
    queries = {TEXT: ModalityVectors(vectors, find_present(texts))}
    return fusion.encode(queries, are_queries=True)


def find_unchanged(
    before: Sequence[Item], after: Sequence[Item], fields: Sequence[str]
) -> IntArray:
    """Indices of items whose texts and files in ``fields`` are the same before and after."""
    same = [
        all(old.field_text(name) == new.field_text(name) for name in fields)
        for old, new in zip(before, after, strict=True)
    ]
    return np.flatnonzero(same).astype(np.int32)
