"""The model of the guide's page as another package would add it: a real installed folder."""

import importlib
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "add-a-model.md").read_text()
PACKAGE = "my_package"


def page_blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", PAGE, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


@contextmanager
def added_package(folder: Path, entry: str = "") -> Iterator[Path]:
    """A folder on ``sys.path`` with the package of the page and its entry point."""
    model = next(code for code in page_blocks("python") if "class Alphabet(Recommender)" in code)
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").touch()
    (folder / PACKAGE / "alphabet.py").write_text(model)
    table = next(code for code in page_blocks("toml") if "entry-points" in code)
    assert '[project.entry-points."serendip.models"]' in table
    entry = entry or table.splitlines()[1].replace('"', "")
    distribution = folder / f"{PACKAGE}-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n"
    )
    (distribution / "entry_points.txt").write_text(f"[serendip.models]\n{entry}\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]
