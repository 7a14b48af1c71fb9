from __future__ import annotations

from pathlib import Path

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.features import build_features, encode_new
from serendip.content.semantic_ids import ResidualKMeansConfig
from serendip.content.text import HashingEncoder, TextEncoderConfig
from serendip.data.item import Catalogue, Item

FIELDS = ("title", "year", "genres")
TEXT = TextEncoderConfig(name="hashing", fields=FIELDS)
FILMS = Catalogue(
    Item(str(number), f"Film number {number}", "", {"year": 1990.0 + number, "genres": ("Drama",)})
    for number in range(30)
)


def test_features_are_aligned_with_the_catalogue(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    features, codebooks, _ = build_features(
        FILMS, encoder, VectorCache(tmp_path), TEXT, ResidualKMeansConfig()
    )
    assert np.array_equal(features.content, encoder.encode(FILMS.texts(FIELDS)))
    assert np.array_equal(features.codes, codebooks.assign(features.content))
    assert features.codebook_size == codebooks.codebook_size == 4


def test_a_posted_copy_of_an_item_gets_its_codes(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    features, codebooks, _ = build_features(
        FILMS, encoder, VectorCache(tmp_path), TEXT, ResidualKMeansConfig()
    )
    new = encode_new(FILMS.items[3:5], encoder, codebooks, FIELDS)
    assert np.array_equal(new.codes, features.codes[3:5])
    assert new.codebook_size == features.codebook_size


def test_an_empty_catalogue_has_features_of_no_rows(tmp_path: Path) -> None:
    features, codebooks, _ = build_features(
        Catalogue([]), HashingEncoder(), VectorCache(tmp_path), TEXT, ResidualKMeansConfig()
    )
    assert features.content.shape == (0, HashingEncoder.size)
    assert codebooks.codebook_size == 1
