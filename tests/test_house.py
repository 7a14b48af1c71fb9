import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from serendip.models import _CLASSES, model_class

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "serendip"
FILES = sorted(SOURCE.rglob("*.py"))
BENCH = ROOT / "bench" / "src" / "serendip_bench"
BENCH_FILES = sorted(BENCH.rglob("*.py"))
README = (ROOT / "README.md").read_text()

TRAINING = {"network.py", "loss.py", "train.py", "batches.py"}
"""Names of the files of a model family that may import torch at the top."""

OTHER_TORCH = {
    "content/behaviour_alignment_train.py",
    "content/encoders/networks.py",
    "models/early_stopping.py",
    "models/row_adam.py",
    "runtime/optimiser.py",
}


def _module(path: Path) -> str:
    source = SOURCE.parent if path.is_relative_to(SOURCE) else BENCH.parent
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _imports() -> dict[str, set[str]]:
    """Module -> the modules of both packages that it names: lazily, for types or as text, too."""
    modules = {_module(path): path for path in (*FILES, *BENCH_FILES)}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = set()
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if name in modules else node.module for name in names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value.partition(":")[0]}  # entries of registries
        graph[module] = (found & modules.keys()) - {module}
    return graph


def test_the_tree_in_the_readme_names_every_folder() -> None:
    tree = README[README.index("src/serendip/\n") :]
    folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE))


def test_modules_import_one_another_in_one_direction() -> None:
    """Lazy and type-only imports count; a package's own ``__init__`` is where its parts lead."""
    registries = {"serendip", "serendip.models"}  # they name what others may import
    graph = {name: found for name, found in _imports().items() if name not in registries}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def _is_in_the_package(name: str) -> bool:
    """Whether a file is there, or a module with the names behind it."""
    if name.endswith(".py"):
        return any(path.as_posix().endswith(f"/{name}") for path in FILES)
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = SOURCE.joinpath(*parts[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.exists():
                return {*parts[end:]} <= {*re.findall(r"\w+", file.read_text())}
    return False


def test_files_and_modules_that_docstrings_name_exist() -> None:
    folders = {path.relative_to(SOURCE).parts[0] for path in FILES}
    found, missing = 0, []
    for path in FILES:
        for name in re.findall(r"``(?:serendip\.)?([\w/.]+)``", path.read_text()):
            is_module = name.partition(".")[0] in folders and not name.endswith(".lock")
            if name.endswith(".py") or ("." in name and is_module):
                found += 1
                missing += [] if _is_in_the_package(name) else [(_module(path), name)]
    assert (found > 50, missing) == (True, [])


def _reachable(roots: set[str]) -> set[str]:
    reached, left = set(), list(roots)
    while left:
        module = left.pop()
        if module not in reached:
            reached.add(module)
            left += _imports()[module]
    return reached


def test_every_module_is_reached_by_a_command_the_service_or_the_public_api() -> None:
    scripts = {
        "serendip.__main__",
        "serendip.jobs.demo.write_movielens",  # run as a process of its own
        *(_module(path) for path in FILES if path.match("migrations/versions/*.py")),  # by Alembic
        *(_module(path) for path in BENCH_FILES if path.parent.name == "scripts"),
    }
    public = {"serendip.testing", "serendip.client"}
    reached = _reachable({"serendip.cli.main", "serendip_bench.cli", *public, *scripts})
    packages = {_module(path) for path in (*FILES, *BENCH_FILES) if path.stem == "__init__"}
    assert sorted(_imports().keys() - reached - packages) == []


def _public_classes() -> Iterator[tuple[str, str]]:
    for path in (*FILES, *BENCH_FILES):
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, _module(path)


def test_public_class_names_are_unique_and_nothing_is_named_after_having_no_name() -> None:
    places = defaultdict(list)
    for name, module in _public_classes():
        places[name].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
    assert not [
        path for path in FILES if path.stem in {"utils", "util", "common", "helpers", "misc"}
    ]


def test_only_training_files_import_torch_at_the_top() -> None:
    found = set()
    for path in FILES:
        names = set()
        for node in _tree(path).body:
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
        place = str(path.relative_to(SOURCE))
        in_family = path.name in TRAINING and path.parent.parent.name == "models"
        if "torch" in names and not in_family and place not in OTHER_TORCH:
            found.add(place)
    assert found == set()


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
    reader = SOURCE / "content" / "encoders" / "weights.py"
    assert found.pop("content/encoders/weights.py") == [""]
    assert 'torch.load(pth, map_location="cpu", weights_only=True)' in reader.read_text()
    assert found == {}


def _contract_classes() -> list[ast.ClassDef]:
    """Test classes that inherit the contract suite of the models."""
    return [
        node
        for path in (ROOT / "tests" / "models").rglob("test_*.py")
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
