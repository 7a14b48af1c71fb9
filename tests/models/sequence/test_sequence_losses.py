import numpy as np
import pytest
import torch
from torch.nn import functional

from serendip.models.sequence.train import draw_negatives, full_softmax, sampled_softmax


@pytest.fixture
def world() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Requests (5, 4), targets and a table of 7 items."""
    random = torch.Generator().manual_seed(0)
    encoded, table = (torch.randn(size, 4, generator=random) for size in (5, 7))
    return encoded, torch.tensor([0, 3, 3, 6, 1]), table


def test_negatives_are_items_and_all_of_them_the_full_softmax(
    world: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    encoded, targets, table = world
    sampled = sampled_softmax(encoded, table[targets], table, targets, torch.arange(7))
    torch.testing.assert_close(sampled, full_softmax(encoded, targets, table))

    random = np.random.default_rng(0)
    drawn = draw_negatives(1000, 300, random)
    assert len(drawn) == 300 and 0 <= int(drawn.min()) and int(drawn.max()) < 1000
    assert draw_negatives(600, 300, random).tolist() == list(range(600))


def test_a_negative_that_is_the_own_item_does_not_count(
    world: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    encoded, targets, table = world
    negatives, first = torch.tensor([2, 0, 5, 0]), targets[:1]
    sampled = sampled_softmax(encoded[:1], table[first], table[negatives], first, negatives)
    own = torch.zeros(1, dtype=torch.int64)
    expected = functional.cross_entropy(encoded[:1] @ table[[0, 2, 5]].T, own)
    torch.testing.assert_close(sampled, expected)
