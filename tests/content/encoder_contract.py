"""What every text encoder promises; an encoder's test class inherits this."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest

from serendip.content.text import TextEncoder, TextEncoderConfig, open_encoder

TEXTS = ["The Matrix. 1999. Action", "Toy Story", "toy stories for children", "a", "数学", "  "]


class TextEncoderContract(ABC):
    """Inherit it as ``class TestX(TextEncoderContract)``."""

    @classmethod
    @abstractmethod
    def make(cls) -> TextEncoder:
        """A new encoder."""

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> TextEncoder:
        return cls.make()

    def test_its_name_opens_its_class(self, encoder: TextEncoder) -> None:
        assert type(open_encoder(TextEncoderConfig(name=encoder.name))) is type(encoder)

    def test_vectors_are_float32_rows_of_unit_length(self, encoder: TextEncoder) -> None:
        vectors = encoder.encode(TEXTS[:5])
        assert vectors.shape == (5, encoder.size)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)

    def test_blank_texts_are_zero(self, encoder: TextEncoder) -> None:
        assert not encoder.encode(["", "  \n"]).any()

    def test_no_texts_give_no_rows(self, encoder: TextEncoder) -> None:
        assert encoder.encode([]).shape == (0, encoder.size)

    def test_a_text_has_one_vector_whatever_stands_beside_it(self, encoder: TextEncoder) -> None:
        together = encoder.encode(TEXTS)
        alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)

    def test_encoding_again_gives_the_same(self, encoder: TextEncoder) -> None:
        assert np.array_equal(encoder.encode(TEXTS), self.make().encode(TEXTS))

    def test_like_texts_are_nearer_than_others(self, encoder: TextEncoder) -> None:
        matrix, toy, toys = encoder.encode(TEXTS[:3])
        assert toy @ toys > toy @ matrix

    def test_a_lone_surrogate_is_no_error(self, encoder: TextEncoder) -> None:
        assert np.isfinite(encoder.encode(["bad \ud800 text"])).all()

    def test_symbols_alone_still_have_a_finite_vector(self, encoder: TextEncoder) -> None:
        assert np.isfinite(encoder.encode(["!?", "\u200b", "\x00"])).all()
