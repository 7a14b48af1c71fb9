"""A cross-encoder learns from the tokens what the cheap features lack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.cross_encoder import (
    CrossEncoderConfig,
    TrainedCrossEncoder,
    train_cross_encoder,
)

CONFIG = CrossEncoderConfig(epochs=6, learning_rate=2e-2)
PAIRS, SIZE = 400, 6


class Layer(nn.Module):
    """Mixes the tokens of the mask (B, 1, 1, T), as attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(SIZE, SIZE)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        weights = mask[:, 0, 0, :, None].to(hidden.dtype)
        mean = (hidden * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        return hidden + nn.functional.gelu(self.inner(hidden * mean))


def world() -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Labels depend on a feature and on the first component of all tokens."""
    random = np.random.default_rng(0)
    features = random.normal(size=(PAIRS, 3)).astype(np.float32)
    hidden = random.choice([-1.0, 1.0], PAIRS)
    is_irrelevant = features[:, 0] + 1.5 * hidden + 0.3 * random.normal(size=PAIRS) > 0
    states = []
    for sign in hidden:
        state = random.normal(size=(random.integers(3, 9), SIZE)).astype(np.float16)
        state[:, 0] = sign
        states.append(state)
    return states, features, is_irrelevant, np.repeat(np.arange(PAIRS // 10), 10).astype(np.int32)


def train(seed: int = 0) -> TrainedCrossEncoder:
    states, features, is_irrelevant, groups = world()
    torch.manual_seed(7)  # Initial weights of the layer.
    upper = nn.ModuleList([Layer()])
    return train_cross_encoder(
        upper, states, features, is_irrelevant, groups, CONFIG, TrainOptions(seed)
    )


@pytest.fixture(scope="module")
def teacher() -> TrainedCrossEncoder:
    return train()


def auroc(is_irrelevant: np.ndarray, values: np.ndarray) -> float:
    return float((values[is_irrelevant][:, None] > values[~is_irrelevant]).mean())


def test_tokens_add_to_the_cheap_features(teacher: TrainedCrossEncoder) -> None:
    states, features, is_irrelevant, groups = world()
    is_held_out = teacher.is_held_out
    assert set(groups[is_held_out]).isdisjoint(groups[~is_held_out])
    assert is_held_out.sum() == PAIRS / 5
    held_out_states = [state for state, is_held in zip(states, is_held_out, strict=True) if is_held]
    base = auroc(is_irrelevant[is_held_out], teacher.encoder.base.values(features[is_held_out]))
    whole = auroc(
        is_irrelevant[is_held_out], teacher.encoder.values(held_out_states, features[is_held_out])
    )
    assert base < 0.85
    assert whole > 0.95


def test_a_prediction_does_not_depend_on_other_pairs(teacher: TrainedCrossEncoder) -> None:
    states, features, _, _ = world()
    together = teacher.encoder.values(states, features)
    for place in (0, 7, 300):
        alone = teacher.encoder.values([states[place]], features[place : place + 1])
        np.testing.assert_allclose(alone, together[place : place + 1], atol=1e-5)


def test_the_same_seed_trains_the_same_encoder(teacher: TrainedCrossEncoder) -> None:
    states, features, _, _ = world()
    again = train().encoder.values(states, features)
    np.testing.assert_array_equal(again, teacher.encoder.values(states, features))
    assert not np.array_equal(train(1).encoder.values(states, features), again)
