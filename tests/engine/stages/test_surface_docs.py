import re
import tomllib
from pathlib import Path

import pytest

from serendip.config import validate
from serendip.engine.stages.surfaces import DEFAULT_SURFACES, REQUEST_PARTS, SurfaceConfig

PAGE = (Path(__file__).parents[3] / "docs" / "guide" / "surfaces.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("table", ["diversity", "exploration", "min_value"])
def test_the_tables_show_the_defaults(table: str) -> None:
    example = next(one for one in EXAMPLES if re.search(rf"^\[surfaces\.\w+\.{table}\]", one))
    (surface,) = tomllib.loads(example)["surfaces"].values()
    kind = SurfaceConfig.model_fields[table].annotation.__args__[0]
    assert validate(kind, surface[table], table) == kind()
    assert set(surface[table]) == set(kind.settings())


def test_every_surface_source_and_part_of_the_context_is_named() -> None:
    sources = {name for one in DEFAULT_SURFACES.values() for name in one.sources}
    for name in {*DEFAULT_SURFACES, *sources, *REQUEST_PARTS}:
        assert f"`{name}`" in PAGE
