"""What benchmarks of small worlds share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def few_written_queries() -> Iterator[None]:
    """As many queries as 30 or 40 items need, not thousands, to learn search from."""
    from serendip_bench.datasets import movielens, products

    with pytest.MonkeyPatch.context() as patch:
        for module in (products, movielens):
            patch.setattr(module, "NUM_TRAINING_QUERIES", 1_000)
            patch.setattr(module, "NUM_VALIDATION_QUERIES", 200)
        yield
