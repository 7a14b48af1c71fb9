"""Contract suites: inherit one, and pytest tests your model, encoder or metric.

The whole test of a model in a package of its own::

    from serendip.testing import RecommenderContract

    class TestAlphabet(RecommenderContract):
        @classmethod
        def make(cls) -> Alphabet:
            return Alphabet()

Every suite has an abstract ``make``; what else a subclass gives, or may replace, is in the
docstring of the suite. Nothing else in Serendip imports this package: it alone needs pytest, which
comes with ``pip install "serendip[testing]"``.
"""

from __future__ import annotations

from serendip.errors import ExtraMissing

try:
    import hypothesis as _hypothesis  # noqa: F401
    import pytest
except ImportError as error:
    raise ExtraMissing(
        f"serendip.testing cannot be used: {error}.", 'Run `pip install "serendip[testing]"`.'
    ) from None

# Failed assertions of an inherited test then show their values, as those of a test file do.
pytest.register_assert_rewrite(
    "serendip.testing.encoder", "serendip.testing.metric", "serendip.testing.recommender"
)

from serendip.testing.encoder import EncoderContract, TextEncoderContract  # noqa: E402
from serendip.testing.metric import RankingMetricContract  # noqa: E402
from serendip.testing.recommender import (  # noqa: E402
    AddingVotesContract,
    LocalChangeContract,
    RecommenderContract,
    VotesContract,
)
from serendip.testing.worlds import (  # noqa: E402
    build_queries,
    build_small_world,
    draw_features,
    draw_unit_vectors,
)

__all__ = [
    "AddingVotesContract",
    "EncoderContract",
    "LocalChangeContract",
    "RankingMetricContract",
    "RecommenderContract",
    "TextEncoderContract",
    "VotesContract",
    "build_queries",
    "build_small_world",
    "draw_features",
    "draw_unit_vectors",
]
