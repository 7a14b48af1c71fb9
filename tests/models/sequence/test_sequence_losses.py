from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from serendip.models.sequence.train import (
    SequenceScores,
    draw_negatives,
    full_softmax,
    gbce,
    sampled_softmax,
    shared_scores,
)


@pytest.fixture
def world() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Requests (5, 4), targets and a table of 7 items."""
    random = torch.Generator().manual_seed(0)
    encoded, table = (torch.randn(size, 4, generator=random) for size in (5, 7))
    return encoded, torch.tensor([0, 3, 3, 6, 1]), table


def test_all_items_as_negatives_are_the_full_softmax(
    world: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    encoded, targets, table = world
    scores = shared_scores(encoded, table[targets], table, targets, torch.arange(7), 7)
    torch.testing.assert_close(sampled_softmax(scores), full_softmax(encoded, targets, table))


def test_a_negative_that_is_the_own_item_does_not_count(
    world: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    encoded, targets, table = world
    negatives = torch.tensor([2, 0, 5, 0])
    scores = shared_scores(
        encoded[:1], table[targets[:1]], table[negatives], targets[:1], negatives, 7
    )
    expected = encoded[:1] @ table[[0, 2, 5]].T
    own = torch.zeros(1, dtype=torch.int64)
    torch.testing.assert_close(sampled_softmax(scores), functional.cross_entropy(expected, own))


def test_the_correction_makes_draws_estimate_the_full_softmax() -> None:
    """Items drawn by a known chance, weighed by it, sum to what all of them sum to."""
    random = np.random.default_rng(0)
    chance = random.dirichlet(np.ones(50))
    own, others = torch.zeros(1), torch.from_numpy(random.normal(size=(1, 50)).astype(np.float32))
    drawn = random.choice(50, 20_000, p=chance)
    log_q = np.log(chance[drawn] * len(drawn)).astype(np.float32)
    estimate = sampled_softmax(SequenceScores(own, others[:, drawn], 51), log_q)
    exact = sampled_softmax(SequenceScores(own, others, 51))
    assert float(estimate) == pytest.approx(float(exact), abs=0.05)


def test_gbce_without_calibration_is_binary_cross_entropy() -> None:
    scores = SequenceScores(
        torch.tensor([0.5, -1.0]), torch.tensor([[1.0, -2.0], [0.0, -torch.inf]]), 100
    )
    pairs = [(0.5, 1.0), (1.0, 0.0), (-2.0, 0.0), (-1.0, 1.0), (0.0, 0.0)]
    logits, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    expected = functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / 2
    torch.testing.assert_close(gbce(scores, 0.0), expected)


def test_gbce_with_full_calibration_weighs_the_own_item_by_the_sampled_share() -> None:
    """b = a t (1 - 1/a) + 1 = a for t = 1, a = 2 negatives of 100 others."""
    scores = SequenceScores(torch.tensor([0.5]), torch.full((1, 2), -torch.inf), 101)
    expected = 0.02 * functional.softplus(torch.tensor(-0.5))
    torch.testing.assert_close(gbce(scores, 1.0), expected)


def test_negatives_are_items_and_small_catalogues_are_taken_whole() -> None:
    random = np.random.default_rng(0)
    drawn = draw_negatives(1000, 300, random)
    assert len(drawn) == 300 and 0 <= int(drawn.min()) and int(drawn.max()) < 1000
    assert draw_negatives(600, 300, random).tolist() == list(range(600))
