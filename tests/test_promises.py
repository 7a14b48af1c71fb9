import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serendip_bench.reliability.run import HARNESSES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "concepts" / "promises.md"
NUMBERS = {"D": 12, "A": 10, "C": 5, "I": 9, "S": 16}


@dataclass(frozen=True)
class Promise:
    name: str
    tests: tuple[str, ...]
    harnesses: tuple[str, ...]
    state: str


def promises() -> Iterator[Promise]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[A-Z]\d+", cells[0]):
            name, _, tests, harnesses, state = cells
            found = (tuple(re.findall(r"`([^`]+)`", text)) for text in (tests, harnesses))
            yield Promise(name, *found, state)


PROMISES = list(promises())


def files() -> dict[str, str]:
    paths = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "src/serendip/testing").glob("*.py")]
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def test_no_promise_is_missing() -> None:
    wanted = [f"{letter}{n}" for letter, most in NUMBERS.items() for n in range(1, most + 1)]
    assert sorted(promise.name for promise in PROMISES) == sorted(wanted)


def test_every_named_test_exists() -> None:
    texts, named = files(), [test for promise in PROMISES for test in promise.tests]
    assert len(named) > 100
    for file, test in (name.split("::") for name in named):
        assert re.search(rf"def {test}\(", texts.get(file, "")), f"{file}::{test} does not exist"


def test_every_named_harness_exists_and_each_is_named() -> None:
    named = {harness for promise in PROMISES for harness in promise.harnesses}
    assert named | {"group-commit"} == HARNESSES.keys()  # that one is about speed alone


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_a_promise_is_checked_or_the_page_says_what_is_not(promise: Promise) -> None:
    word, _, note = promise.state.partition(":")
    assert word in ("covered", "partly", "no")
    assert bool(promise.tests) == (word != "no")
    assert note or word != "partly"
