"""docs/retriever.md cannot drift: its settings are valid, and it names every key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from serendip.config import validate
from serendip.engine.settings import Settings
from serendip.models.retriever_config import RetrieverConfig

PAGE = (Path(__file__).parents[2] / "docs" / "retriever.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_valid(example: str) -> None:
    validate(Settings, tomllib.loads(example), "docs/retriever.md")


def test_every_key_is_named() -> None:
    assert [name for name in RetrieverConfig.model_fields if f"`{name}`" not in PAGE] == []
