"""Contract suites of encoders: unit vectors, missing inputs, batches, the cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic

import numpy as np
import pytest

from serendip.content.cache import VectorCache
from serendip.content.encoders.base import Encoder, InputT, TextEncoder, find_present
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.data.limits import MAX_ENCODED_CHARS


class EncoderContract(ABC, Generic[InputT]):
    """What every ``Encoder`` must satisfy; inherit it as ``class TestX(EncoderContract[Input])``.

    A subclass gives ``make`` and ``inputs``. ``Input`` is ``str`` for texts (see
    ``TextEncoderContract``) and ``Path | None`` for pictures and sounds. Its own tests may use the
    fixture ``encoder``.
    """

    @classmethod
    @abstractmethod
    def make(cls) -> Encoder[InputT]:
        """Make a new encoder."""

    @abstractmethod
    def inputs(self, folder: Path) -> Sequence[InputT]:
        """Give four or more inputs, of which only the last one is missing.

        Args:
            folder: empty; files may be written here.
        """

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> Any:
        """An encoder of ``make``, shared by the tests of the class."""
        return cls.make()

    def test_present_rows_are_float32_of_unit_length(
        self, encoder: Encoder[InputT], tmp_path: Path
    ) -> None:
        """Vectors are (N, D) float32: unit where an input is present, zeros where it is missing."""
        inputs = self.inputs(tmp_path)
        vectors, present = encoder.encode(inputs), find_present(inputs)
        assert vectors.shape == (len(inputs), encoder.size)
        assert vectors.dtype == np.float32
        assert present.tolist() == [True] * (len(inputs) - 1) + [False]
        np.testing.assert_allclose(np.linalg.norm(vectors[present], axis=1), 1.0, rtol=1e-5)
        assert not vectors[~present].any()

    def test_no_inputs_give_no_rows(self, encoder: Encoder[InputT]) -> None:
        """No inputs give vectors (0, D)."""
        assert encoder.encode([]).shape == (0, encoder.size)

    def test_an_input_has_one_vector_whatever_stands_beside_it(
        self, encoder: Encoder[InputT], tmp_path: Path
    ) -> None:
        """An input has the same vector alone and in a batch."""
        inputs = self.inputs(tmp_path)
        alone = np.concatenate([encoder.encode([one]) for one in inputs])
        np.testing.assert_allclose(encoder.encode(inputs), alone, rtol=0, atol=1e-5)

    def test_encoding_again_gives_the_same(self, encoder: Encoder[InputT], tmp_path: Path) -> None:
        """Another encoder of ``make`` gives equal vectors, bit for bit."""
        inputs = self.inputs(tmp_path)
        assert np.array_equal(encoder.encode(inputs), self.make().encode(inputs))

    def test_the_cache_gives_what_the_encoder_gives(
        self, encoder: Encoder[InputT], tmp_path: Path
    ) -> None:
        """Vectors through ``VectorCache``, new and stored, are those of the encoder."""
        inputs = self.inputs(tmp_path)
        for _ in range(2):
            vectors = VectorCache(tmp_path / "cache").encode(encoder, inputs)
            np.testing.assert_allclose(vectors, encoder.encode(inputs), rtol=0, atol=1e-5)


class TextEncoderContract(EncoderContract[str]):
    """What every encoder of texts must satisfy; inherit it as ``class TestX(TextEncoderContract)``.

    A subclass gives ``make`` alone. The encoder must be registered under its name.
    """

    @classmethod
    @abstractmethod
    def make(cls) -> TextEncoder:
        """Make a new encoder of texts."""

    def inputs(self, folder: Path) -> Sequence[str]:
        """Six texts; two of the first three are about the same thing."""
        return [
            "The Matrix. 1999. Action",
            "Toy Story",
            "toy stories for children",
            "a",
            "数学",
            "  ",
        ]

    def test_its_name_opens_its_class(self, encoder: TextEncoder) -> None:
        """``open_encoder`` with its name opens its class: the encoder is registered."""
        assert type(open_encoder(TextEncoderConfig(name=encoder.name))) is type(encoder)

    def test_blank_texts_are_missing(self, encoder: TextEncoder) -> None:
        """Texts of white space have zeros."""
        assert not encoder.encode(["", "  \n"]).any()
        assert not find_present(["", "  \n"]).any()

    def test_like_texts_are_nearer_than_others(self, encoder: TextEncoder, tmp_path: Path) -> None:
        """Two texts about toys are more similar to each other than to a third one."""
        matrix, toy, toys = encoder.encode(self.inputs(tmp_path)[:3])
        assert toy @ toys > toy @ matrix

    def test_of_a_long_text_the_beginning_is_read(
        self, encoder: TextEncoder, tmp_path: Path
    ) -> None:
        """Only the first ``MAX_ENCODED_CHARS`` of a text count, for the cache, too."""
        beginning = ("a lamp of brass and glass, " * 200)[:MAX_ENCODED_CHARS]
        long = [beginning + "x" * 60_000, beginning + " a horse" * 8_000]
        vector = encoder.encode([beginning])
        assert all(np.array_equal(encoder.encode([text]), vector) for text in long)
        assert np.array_equal(VectorCache(tmp_path).encode(encoder, long[:1]), vector)
        size = sum(path.stat().st_size for path in tmp_path.rglob("*"))
        assert np.array_equal(VectorCache(tmp_path).encode(encoder, long)[1:], vector)
        assert sum(path.stat().st_size for path in tmp_path.rglob("*")) == size  # no new vector

    def test_a_lone_surrogate_is_no_error(self, encoder: TextEncoder) -> None:
        """Text that is not valid Unicode has a finite vector."""
        assert np.isfinite(encoder.encode(["bad \ud800 text"])).all()

    def test_symbols_alone_still_have_a_finite_vector(self, encoder: TextEncoder) -> None:
        """Texts without letters have finite vectors."""
        assert np.isfinite(encoder.encode(["!?", "\u200b", "\x00"])).all()
