"""``serendip bench`` on data so small that it takes seconds, made by the builders of the tests."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from golden import names
from golden.product import ROOT
from golden.session import Session

_RATED_BY = 12
"""Viewers who wrote tags."""
_DAY = 100_000
_NUMBER = re.compile(r"[\d.]*\d")


def record_bench(session: Session) -> None:
    """Every kind of benchmark, with what trains quickly."""
    _record(session, names.BENCH, "bench")


def record_slow_bench(session: Session) -> None:
    """Retrievers, which take a minute each to learn."""
    _record(session, names.SLOW_BENCH, "bench_slow")


def _record(session: Session, table: Mapping[str, str], category: str) -> None:
    _write_data(session.folder / "bench")
    file, work = session.folder / "out.json", session.folder / names.BENCH_WORK
    for case, line in table.items():
        done = session.product.run(line, session.folder)
        session.put(category, case, {"exit": done.code, "table": _told(done.stdout)})
        session.put(
            "text", f"{category} {case}", _told("\n".join(session.masks.lines(done.stderr)))
        )
        if file.exists():
            document = json.loads(file.read_text(encoding="utf-8"))
            document.get("rows", []).sort(key=_name_of)
            session.put(category, f"{case} file", document)
            file.unlink()
        for left in work.glob("*"):  # Only vectors of texts serve the next one, too.
            if left.name != names.BENCH_CACHE:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _name_of(row: Mapping[str, Any]) -> list[str]:
    """What a row is about: processes work side by side, and rows come as these finish."""
    return [str(row.get(key, "")) for key in names.BENCH_ROW_KEYS]


def _told(lines: Sequence[str]) -> list[str]:
    """What is told to people, in no order, without numbers: they stand in the file."""
    return sorted(" ".join(_NUMBER.sub("#", line).split()) for line in lines)


def _write_data(folder: Path) -> None:
    """Folders of every kind that a benchmark reads."""
    if folder.exists():
        return
    films = _builder("bench_films").write_films(folder / "films")
    _builder("bench_world").write_world(folder / "circles")
    _builder("bench_products").write_products(folder / "products")
    _builder("bench_retail").write_retail(folder / "retail")
    judged = _builder("judged_pairs")
    judged.write_products(folder / "judged")
    judged.write_onet(folder / "onet")
    _write_tags(films)


def _builder(name: str) -> Any:
    """A module of the tests, wherever below their folder it stands."""
    found = str(next((ROOT / "tests").rglob(f"{name}.py")).parent)
    if found not in sys.path:
        sys.path.append(found)
    return import_module(name)


def _write_tags(films: Path) -> None:
    """Viewers tag films as good and by their genre, the newest tag being good again."""
    lines = ["userId,movieId,tag,timestamp"]
    for viewer in range(_RATED_BY):
        begin = _DAY * (viewer + 1)
        genre = ("Comedy", "Horror", "Western")[viewer % 3]
        lines.append(f"{viewer},{1 + viewer % 30},good,{begin}")
        lines.append(f"{viewer},{1 + (viewer + 3) % 30},{genre},{begin + 1}")
        lines.append(f"{viewer},{1 + viewer},good,{begin + 5}")
    (films / "tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
