"""The house as the README describes it: folders, sizes, names, safety."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from serendip.models import _CLASSES, model_class

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "serendip"
FILES = sorted(SOURCE.rglob("*.py"))
README = (ROOT / "README.md").read_text()


def test_the_tree_in_the_readme_names_every_folder() -> None:
    tree = README[README.index("src/serendip/\n") :]
    folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 70, node.name


def test_nothing_is_named_after_having_no_name() -> None:
    assert not [
        path for path in FILES if path.stem in {"utils", "util", "common", "helpers", "misc"}
    ]


def test_no_file_can_run_code_from_data() -> None:
    unsafe = re.compile(
        r"\b(pickle|joblib|dill|shelve|marshal)\b(?!s)|allow_pickle=True|torch\.load\(|shell=True|(?<![.\w])eval\(|(?<![.\w])exec\("
    )
    found = {}
    for path in FILES:
        code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.DOTALL)
        if hits := unsafe.findall(code):
            found[str(path.relative_to(SOURCE))] = hits
    # The one place that reads a .pth file; nothing but tensors comes out of it.
    reader = SOURCE / "content" / "torch_weights.py"
    assert found.pop("content/encoders/weights.py") == [""]
    assert 'torch.load(pth, map_location="cpu", weights_only=True)' in reader.read_text()
    assert found == {}


def _contract_classes() -> list[ast.ClassDef]:
    """Test classes that inherit the contract suite of the models."""
    return [
        node
        for path in (ROOT / "tests" / "models").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and node.name.startswith("Test")
        and "RecommenderContract" in {base.id for base in node.bases if isinstance(base, ast.Name)}
    ]


@pytest.mark.parametrize("name", _CLASSES)
def test_every_model_has_a_class_that_inherits_the_contract_suite(name: str) -> None:
    class_name = model_class(name).__name__
    assert [
        suite.name
        for suite in _contract_classes()
        for part in suite.body
        if class_name in {one.id for one in ast.walk(part) if isinstance(one, ast.Name)}
    ]
