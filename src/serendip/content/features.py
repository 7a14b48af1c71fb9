"""From a catalogue to what models read of its content: vectors and semantic IDs."""

from __future__ import annotations

from collections.abc import Sequence

from serendip.content.cache import VectorCache
from serendip.content.encoder import TextEncoder
from serendip.content.semantic_ids import ResidualKMeans, ResidualKMeansConfig
from serendip.content.text import TextEncoderConfig
from serendip.data.dataset import ItemFeatures
from serendip.data.item import Catalogue, Item
from serendip.data.semantic_ids import Codebooks
from serendip.scale.options import TrainOptions


def build_features(
    catalogue: Catalogue,
    encoder: TextEncoder,
    cache: VectorCache,
    text: TextEncoderConfig,
    semantic_ids: ResidualKMeansConfig,
    options: TrainOptions | None = None,
) -> tuple[ItemFeatures, Codebooks]:
    """Encode every item and fit codebooks to the vectors.

    Returns:
        features aligned with the catalogue, and the codebooks for items that come later.
    """
    options = options or TrainOptions()
    content = cache.encode(encoder, catalogue.texts(text.fields), options.progress)
    codebooks, codes = ResidualKMeans(semantic_ids).fit(content, options)
    return ItemFeatures(content, codes, codebooks.codebook_size), codebooks


def encode_new(
    items: Sequence[Item], encoder: TextEncoder, codebooks: Codebooks, fields: Sequence[str]
) -> ItemFeatures:
    """Features of items posted after training: fresh vectors, codes of the frozen codebooks."""
    content = encoder.encode([item.text(fields) for item in items])
    return ItemFeatures(content, codebooks.assign(content), codebooks.codebook_size)
