from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serendip.content.encoders.text import (
    HashingEncoder,
    TextEncoderConfig,
    UniversalSentenceEncoder,
    open_encoder,
)
from serendip.data.limits import MAX_ENCODED_CHARS
from serendip.data.numeric import unit
from serendip.errors import ConfigError
from serendip.testing import TextEncoderContract


class TestHashingEncoder(TextEncoderContract):
    @classmethod
    def make(cls) -> HashingEncoder:
        return HashingEncoder()


class TestUniversalSentenceEncoder(TextEncoderContract):
    @classmethod
    def make(cls) -> UniversalSentenceEncoder:
        return UniversalSentenceEncoder()

    def test_meaning_counts_where_no_word_is_shared(
        self, encoder: UniversalSentenceEncoder
    ) -> None:
        car, automobile, banana = encoder.encode(["a fast car", "quick automobile", "banana bread"])
        assert car @ automobile > car @ banana + 0.1

    def test_short_texts_have_the_vectors_of_the_whole_text_to_the_last_bit(
        self, encoder: UniversalSentenceEncoder
    ) -> None:
        texts = [
            "Toy Story",
            "数学",
            "A café. 1999. Drama",
            "x" * MAX_ENCODED_CHARS,
            "a word " * 500,
        ]
        whole = np.asarray(encoder._load_once().encode(texts), dtype=np.float32)
        assert np.array_equal(encoder.encode(texts), unit(whole))

    def test_the_first_texts_may_come_from_several_threads(self, tmp_path: Path) -> None:
        encoder, texts = UniversalSentenceEncoder(), self.inputs(tmp_path)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: encoder.encode(texts), range(4)))
        assert all(np.array_equal(results[0], other) for other in results[1:])


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="hashing"):
        open_encoder(TextEncoderConfig(name="bert"))
