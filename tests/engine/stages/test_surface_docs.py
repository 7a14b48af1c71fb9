"""docs/guide/surfaces.md cannot drift: it names every key, and shows the defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from serendip.config import Config, validate
from serendip.engine.stages.attribute_filter import AttributeFilter
from serendip.engine.stages.diversity import DiversityConfig
from serendip.engine.stages.exploration import ExplorationConfig
from serendip.engine.stages.min_value import MinValueConfig
from serendip.engine.stages.relevance_filter import RelevanceFilterConfig
from serendip.engine.stages.sponsored import SponsoredConfig
from serendip.engine.stages.surfaces import DEFAULT_SURFACES, REQUEST_PARTS, SurfaceConfig

PAGE = (Path(__file__).parents[3] / "docs" / "guide" / "surfaces.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "config",
    [
        SurfaceConfig,
        AttributeFilter,
        RelevanceFilterConfig,
        DiversityConfig,
        ExplorationConfig,
        SponsoredConfig,
        MinValueConfig,
    ],
)
def test_every_key_is_named(config: type[Config]) -> None:
    for key in config.model_fields:
        assert f"`{key}`" in PAGE or re.search(rf"[\n{{ ]{key} = ", PAGE), key


@pytest.mark.parametrize("table", ["diversity", "exploration", "min_value"])
def test_the_tables_show_the_defaults(table: str) -> None:
    example = next(one for one in EXAMPLES if re.search(rf"^\[surfaces\.\w+\.{table}\]", one))
    (surface,) = tomllib.loads(example)["surfaces"].values()
    kind = SurfaceConfig.model_fields[table].annotation.__args__[0]
    assert validate(kind, surface[table], table) == kind()
    assert set(surface[table]) == set(kind.model_fields)


def test_every_surface_source_and_part_of_the_context_is_named() -> None:
    sources = {name for one in DEFAULT_SURFACES.values() for name in one.sources}
    for name in {*DEFAULT_SURFACES, *sources, *REQUEST_PARTS}:
        assert f"`{name}`" in PAGE
