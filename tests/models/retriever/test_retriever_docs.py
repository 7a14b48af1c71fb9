"""docs/concepts/retriever.md cannot drift: it names every key."""

from __future__ import annotations

from pathlib import Path

from serendip.models.retriever.config import RetrieverConfig

PAGE = (Path(__file__).parents[3] / "docs" / "concepts" / "retriever.md").read_text()


def test_every_key_is_named() -> None:
    assert [name for name in RetrieverConfig.model_fields if f"`{name}`" not in PAGE] == []
