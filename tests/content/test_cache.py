from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import HashingEncoder
from serendip.data.arrays import FloatArray
from serendip.errors import StorageError


class CountingEncoder(HashingEncoder):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> FloatArray:
        self.seen.extend(texts)
        return super().encode(texts)


class NewerEncoder(CountingEncoder):
    version = "2"


def test_only_missing_texts_of_this_version_are_encoded_and_each_once(tmp_path: Path) -> None:
    encoder, cache = CountingEncoder(), VectorCache(tmp_path)
    first = cache.encode(encoder, ["alpha", "beta", "alpha"])
    second = cache.encode(encoder, ["beta", "gamma"])
    assert encoder.seen == ["alpha", "beta", "gamma"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[1], second[0])

    VectorCache(tmp_path).encode(CountingEncoder(), ["alpha"])
    newer = NewerEncoder()
    VectorCache(tmp_path).encode(newer, ["alpha"])
    assert newer.seen == ["alpha"]


def test_a_damaged_file_and_a_folder_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "hashing-1.sqlite").write_bytes(b"x" * 5_000)
    with pytest.raises(StorageError, match=r"hashing-1.sqlite: file is not a database"):
        VectorCache(tmp_path).encode(HashingEncoder(), ["alpha"])

    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot write vectors"):
        VectorCache(blocked).encode(HashingEncoder(), ["alpha"])


def test_each_batch_is_kept_as_soon_as_it_is_done(tmp_path: Path) -> None:
    class Failing(HashingEncoder):
        def encode(self, texts: Sequence[str]) -> FloatArray:
            if "stop" in texts:
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        VectorCache(tmp_path, batch_size=2).encode(Failing(), ["a1", "b2", "stop"])
    encoder = CountingEncoder()
    VectorCache(tmp_path).encode(encoder, ["a1", "b2", "stop"])
    assert encoder.seen == ["stop"]
