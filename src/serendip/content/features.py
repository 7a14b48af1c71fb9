"""From a catalogue to what models read of its content: vectors and semantic IDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import TextEncoder, find_present
from serendip.content.encoders.media_files import Media, MediaReport
from serendip.content.encoders.text import TextEncoderConfig
from serendip.content.fusion import TEXT, TEXT_ONLY, Fusion, FusionConfig
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig, fit_codebooks
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item import Catalogue, Item
from serendip.data.item_features import ItemFeatures, ModalityVectors
from serendip.data.semantic_ids import Codebooks
from serendip.runtime.progress import Progress, TrainOptions


def encode_items(
    items: Sequence[Item],
    encoder: TextEncoder,
    cache: VectorCache,
    fields: Sequence[str],
    media: Mapping[str, Media] | None = None,
    options: TrainOptions | None = None,
) -> dict[str, ModalityVectors]:
    """Vectors and masks of N items by modality, ``text`` first.

    A file that cannot be used is missing, like one that the item does not name: ``encode_media``
    says which these are.
    """
    progress = (options or TrainOptions()).progress
    texts = [item.text(fields) for item in items]
    vectors = cache.encode(encoder, texts, progress)
    encoded = {TEXT: ModalityVectors(vectors, find_present(texts))}
    return encoded | encode_media(items, cache, media or {}, progress)[0]


def encode_media(
    items: Sequence[Item], cache: VectorCache, media: Mapping[str, Media], progress: Progress
) -> tuple[dict[str, ModalityVectors], dict[str, MediaReport]]:
    """Vectors and masks of N items by modality beside text, and which files were left out."""
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
    fusion: FusionConfig | None = None,
    pairs: IntArray | None = None,
    start: Codebooks | None = None,
) -> tuple[ItemFeatures, Codebooks, Fusion]:
    """Encode every item, fuse its modalities and fit codebooks to the vectors.

    ``pairs`` (P, 2) of items chosen together move the vectors where the config asks for it;
    ``start`` are earlier codebooks to begin at.

    Returns:
        features aligned with the catalogue, and for items and words that come later the
        codebooks and the fusion.
    """
    options = options or TrainOptions()
    encoded = encode_items(catalogue.items, encoder, cache, text.fields, media, options)
    fitted = Fusion.fit(encoded, fusion or FusionConfig())
    content = fitted.encode(encoded)
    together = np.empty((0, 2), np.int32) if pairs is None else pairs
    codebooks, codes = fit_codebooks(
        content, semantic_ids, together, options, fitted.columns, start
    )
    size = codebooks.codebook_size
    return ItemFeatures(content, codes, size, fitted.present(encoded)), codebooks, fitted


def encode_new(
    items: Sequence[Item],
    encoder: TextEncoder,
    codebooks: Codebooks,
    fields: Sequence[str],
    fusion: Fusion = TEXT_ONLY,
) -> ItemFeatures:
    """Features of items posted after training: fresh vectors, codes of the frozen codebooks.

    Only their words are read, since this runs while requests are served, where no image is ever
    decoded: images and sounds of such items count as missing until the next training.
    """
    texts = [item.text(fields) for item in items]
    return features_of_words(texts, encoder.encode(texts), codebooks, fusion)


def features_of_words(
    texts: Sequence[str], vectors: FloatArray, codebooks: Codebooks, fusion: Fusion
) -> ItemFeatures:
    """Features of items of which only the words and their vectors (N, D) are known."""
    encoded = {TEXT: ModalityVectors(vectors, find_present(texts))}
    content = fusion.encode(encoded)
    codes = codebooks.assign(content)
    return ItemFeatures(content, codes, codebooks.codebook_size, fusion.present(encoded))


def encode_words(texts: Sequence[str], vectors: FloatArray, fusion: Fusion) -> FloatArray:
    """Text vectors (Q, D) of queries in the space of the items."""
    return fusion.encode({TEXT: ModalityVectors(vectors, find_present(texts))})


def reads_alike(before: Sequence[Item], after: Sequence[Item], fields: Sequence[str]) -> IntArray:
    """Places where an item posted again has the same words and files in ``fields`` as before."""
    same = [
        all(old.field_text(name) == new.field_text(name) for name in fields)
        for old, new in zip(before, after, strict=True)
    ]
    return np.flatnonzero(same).astype(np.int32)
