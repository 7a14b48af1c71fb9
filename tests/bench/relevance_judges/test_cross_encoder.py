"""A cross-encoder learns from what stands in pairs what the cheap features do not tell."""

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
    """Mixes the tokens that are there, as attention does; mask (B, 1, 1, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(SIZE, SIZE)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        weights = mask[:, 0, 0, :, None].to(hidden.dtype)
        mean = (hidden * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        return hidden + nn.functional.gelu(self.inner(hidden * mean))


def world() -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Half of what is bad stands in a feature, half in the first number of all tokens."""
    random = np.random.default_rng(0)
    features = random.normal(size=(PAIRS, 3)).astype(np.float32)
    hidden = random.choice([-1.0, 1.0], PAIRS)
    is_bad = features[:, 0] + 1.5 * hidden + 0.3 * random.normal(size=PAIRS) > 0
    states = []
    for sign in hidden:
        own = random.normal(size=(random.integers(3, 9), SIZE)).astype(np.float16)
        own[:, 0] = sign
        states.append(own)
    return states, features, is_bad, np.repeat(np.arange(PAIRS // 10), 10).astype(np.int32)


def taught(seed: int = 0) -> TrainedCrossEncoder:
    states, features, is_bad, units = world()
    torch.manual_seed(7)  # Layers come with their weights.
    upper = nn.ModuleList([Layer()])
    return train_cross_encoder(upper, states, features, is_bad, units, CONFIG, TrainOptions(seed))


@pytest.fixture(scope="module")
def teacher() -> TrainedCrossEncoder:
    return taught()


def auroc(is_bad: np.ndarray, values: np.ndarray) -> float:
    return float((values[is_bad][:, None] > values[~is_bad]).mean())


def test_reading_adds_to_what_cheap_features_say(teacher: TrainedCrossEncoder) -> None:
    states, features, is_bad, units = world()
    held = teacher.held
    assert set(units[held]).isdisjoint(units[~held])
    assert held.sum() == PAIRS / 5
    own = [one for one, is_held in zip(states, held, strict=True) if is_held]
    base = auroc(is_bad[held], teacher.encoder.base.values(features[held]))
    whole = auroc(is_bad[held], teacher.encoder.values(own, features[held]))
    assert base < 0.85
    assert whole > 0.95


def test_a_pair_has_its_value_whatever_it_is_asked_with(teacher: TrainedCrossEncoder) -> None:
    states, features, _, _ = world()
    together = teacher.encoder.values(states, features)
    for place in (0, 7, 300):
        alone = teacher.encoder.values([states[place]], features[place : place + 1])
        np.testing.assert_allclose(alone, together[place : place + 1], atol=1e-5)


def test_the_same_seed_learns_the_same(teacher: TrainedCrossEncoder) -> None:
    states, features, _, _ = world()
    again = taught().encoder.values(states, features)
    np.testing.assert_array_equal(again, teacher.encoder.values(states, features))
    assert not np.array_equal(taught(1).encoder.values(states, features), again)
