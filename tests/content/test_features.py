from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import encode_present
from serendip.content.encoders.media_files import Media
from serendip.content.encoders.text import HashingEncoder, TextEncoderConfig
from serendip.content.features import build_features, encode_new, find_unchanged
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig
from serendip.data import Catalogue, FloatArray, Item
from serendip.data.items.features import ModalityVectors
from serendip.data.rows.row_array import PackedRows

FIELDS = ("title", "year", "genres")
TEXT = TextEncoderConfig(name="hashing", fields=FIELDS)
FILMS = Catalogue(
    Item(str(number), f"Film number {number}", "", {"year": 1990.0 + number, "genres": ("Drama",)})
    for number in range(30)
)


def test_features_are_aligned_with_the_catalogue(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    features, codebooks, fusion = build_features(
        FILMS, encoder, VectorCache(tmp_path), TEXT, ResidualKMeansConfig()
    )
    vectors = encoder.encode(FILMS.texts(FIELDS))
    expected = fusion.encode({"text": ModalityVectors(vectors, np.ones(30, np.bool_))})
    assert np.array_equal(features.content, expected)
    assert np.array_equal(features.codes, codebooks.assign(features.content))
    assert features.codebook_size == codebooks.codebook_size == 4


class FirstBytes:
    """The first 16 bytes of a file as its vector."""

    name, version, size = "first-bytes", "1", 16

    def encode(self, inputs: Sequence[Path | None]) -> FloatArray:
        return encode_present(inputs, self.size, self._encode)

    def _encode(self, files: list[Path | None]) -> FloatArray:
        rows = [np.frombuffer(file.read_bytes()[:16], np.uint8) for file in files if file]
        return np.stack(rows).astype(np.float32)


def illustrated(folder: Path) -> tuple[Catalogue, dict[str, Media]]:
    """The films, every third of them without a picture."""
    rng = np.random.default_rng(0)
    items = []
    for number, film in enumerate(FILMS.items):
        name = "" if number % 3 == 0 else f"{number}.png"
        if name:
            (folder / name).write_bytes(rng.bytes(16))
        items.append(Item(film.item_id, film.title, "", {**film.attributes, "image": name}))
    return Catalogue(items), {"image": Media(FirstBytes(), "image", folder, 1_000, Path.read_bytes)}


def test_pictures_are_fused_with_words_and_masked_where_missing(tmp_path: Path) -> None:
    catalogue, media = illustrated(tmp_path)
    features, codebooks, fusion = build_features(
        catalogue,
        HashingEncoder(),
        VectorCache(tmp_path / "cache"),
        TEXT,
        ResidualKMeansConfig(),
        media=media,
    )
    assert features.present.tolist() == [[True, number % 3 != 0] for number in range(30)]
    _, pictures = fusion.columns
    assert features.content.shape == (30, pictures.stop)
    assert np.array_equal(features.codes, codebooks.assign(features.content))
    posted = encode_new(catalogue.items[3:5], HashingEncoder(), codebooks, FIELDS, fusion)
    np.testing.assert_allclose(posted.content[0], PackedRows.of(features.content)[3], atol=1e-5)
    assert posted.present.tolist() == [[True, False], [True, False]]
    assert not posted.content[:, pictures].any()


def test_items_read_alike_where_words_and_files_are_the_same() -> None:
    before = [Item("1", "A", attributes={"image": "a", "price": 1.0}), Item("2", "B"), Item("3")]
    after = [Item("1", "A", attributes={"image": "a", "price": 2.0}), Item("2", "C"), Item("3")]
    assert find_unchanged(before, after, ["title", "image"]).tolist() == [0, 2]
    assert find_unchanged(before, after, ["price"]).tolist() == [1, 2]
