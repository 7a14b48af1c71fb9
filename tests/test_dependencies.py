import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serendip.errors import ExtraMissing
from serendip.runtime.extras import TRAINING_PACKAGES, require_training

ROOT = Path(__file__).parent.parent
PROJECT, BENCH = (
    tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    for folder in (".", "bench")
)
FILES = sorted((ROOT / "src" / "serendip").rglob("*.py"))
BENCH_FILES = sorted((ROOT / "bench" / "src").rglob("*.py"))
DISTRIBUTIONS = packages_distributions()
PARTS = {"markupsafe": "jinja2", "pydantic-core": "pydantic", "sklearn": "scikit-learn"}
"""Packages that are the other half of one, or have another name than what is imported."""


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


BASE = _names(PROJECT["dependencies"])
EXTRAS = {name: _names(listed) for name, listed in PROJECT["optional-dependencies"].items()}
BENCH_EXTRAS = {name: _names(listed) for name, listed in BENCH["optional-dependencies"].items()}


def _distribution(module: str) -> str:
    """The package on the index that a module comes from; empty = the standard library or ours.

    Of several with one namespace it is one that is declared, if there is any.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("serendip", "serendip_bench"):
        return ""
    names = sorted(map(canonicalize_name, DISTRIBUTIONS.get(top, [top])))
    declared = BASE.union(*EXTRAS.values(), *BENCH_EXTRAS.values())
    name = next((one for one in names if one in declared), names[0])
    return PARTS.get(name, name)


def _imported(nodes: list[ast.stmt]) -> set[str]:
    """Packages that statements import, but those of blocks for type checking."""
    found, left = set[str](), list[ast.AST](nodes)
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and re.search("TYPE_CHECKING", ast.unparse(node.test)):
            continue
        if isinstance(node, ast.Import):
            found |= {_distribution(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(_distribution(node.module))
        left += ast.iter_child_nodes(node)
    return found - {""}


@pytest.mark.parametrize(
    ("files", "declared"),
    [
        pytest.param(FILES, BASE.union(*EXTRAS.values()), id="serendip"),
        pytest.param(
            BENCH_FILES, BASE.union(*EXTRAS.values(), *BENCH_EXTRAS.values()), id="serendip-bench"
        ),
    ],
)
def test_every_imported_package_is_declared(files: list[Path], declared: set[str]) -> None:
    imported = {
        str(path.relative_to(ROOT)): _imported(ast.parse(path.read_text()).body) - declared
        for path in files
    }
    assert {name: found for name, found in imported.items() if found} == {}


def test_every_declared_package_is_imported_or_runs_behind_another() -> None:
    imported = set().union(*(_imported(ast.parse(path.read_text()).body) for path in FILES))
    behind = {
        *("httptools", "uvloop"),  # uvicorn chooses them
        "symspellpy",  # its list of words is read
    }
    assert BASE | EXTRAS["train"] == (imported & (BASE | EXTRAS["train"])) | behind


def test_the_names_of_the_training_packages_are_those_of_the_extra() -> None:
    assert {_distribution(name) for name in TRAINING_PACKAGES} == EXTRAS["train"]
    assert BASE.isdisjoint(EXTRAS["train"])


@pytest.mark.parametrize(
    "requirements",
    [
        pytest.param(PROJECT["optional-dependencies"]["demo"], id="demo"),
        pytest.param(PROJECT["optional-dependencies"]["test"], id="test"),
        pytest.param(BENCH["dependencies"], id="serendip-bench"),
    ],
)
def test_what_trains_brings_what_training_needs(requirements: list[str]) -> None:
    listed = map(Requirement, requirements)
    assert any("train" in one.extras for one in listed if one.name == "serendip")


def test_a_missing_package_of_the_extra_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_training()
    for name in ("torch", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(ExtraMissing) as caught:
        require_training()
    assert str(caught.value) == (
        "this needs the extra `train`, of which torch, onnx cannot be imported. "
        'Run `pip install "serendip[train]"`.'
    )
