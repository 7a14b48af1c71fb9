import numpy as np
import pytest
import torch

from serendip.content.encoders.text import HashingEncoder
from serendip.models.retriever.network import principal_axes


@pytest.mark.parametrize("titles", [["One"], ["One", "Two"], ["Same", "Same"], ["", ""]])
def test_a_handful_of_items_has_finite_axes(titles: list[str]) -> None:
    axes, centre = principal_axes(torch.from_numpy(HashingEncoder().encode(titles)), 16)
    assert torch.isfinite(axes).all()
    assert torch.isfinite(centre).all()


def test_the_first_axis_is_the_direction_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    content = rng.normal(size=(200, 6)).astype(np.float32) * np.array([9, 1, 1, 1, 1, 1])
    axes, _ = principal_axes(torch.from_numpy(content.astype(np.float32)), 3)
    first = axes[0] / axes[0].norm()
    assert abs(float(first[0])) > 0.99
