"""What each category records: functions of a session, by name."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden import http_cases, names, workspaces
from golden.asking import (
    ask,
    record_all,
    record_explained,
    record_paged,
    record_pages,
    record_visitor,
)
from golden.bench import record_bench, record_slow_bench
from golden.session import Session


@dataclass(frozen=True, slots=True)
class Category:
    """A part of the records.

    Args:
        record: records it.
        cost: usual CPU-seconds, without those of workspaces.
        needs: names of workspaces.
        is_default: whether it is recorded where nothing is named.
    """

    record: Callable[[Session], None]
    cost: float
    needs: tuple[str, ...] = ()
    is_default: bool = True


def record_help(session: Session) -> None:
    """``--help`` of every command, found by reading those above it."""
    left = [""]
    for command in left:
        done = session.product.run(f"{command} --help".strip(), session.folder)
        session.put("help", f"serendip {command}".strip(), session.masks.lines(done.stdout))
        listed = done.stdout.partition("Commands:")[2]
        left += [f"{command} {name}".strip() for name in re.findall(r"^  (\S+)", listed, re.M)]


def record_commands(session: Session) -> None:
    """Commands that use a trained workspace, and what they write."""
    workspaces.bare(session)
    with workspaces.Changed(workspaces.shop(session)):
        session.run_all("use", names.USE)
    for path in sorted(session.folder.glob("*.parquet")):
        session.put("commands", f"use {path.name}", table_of(path))
    for path in sorted(session.folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        session.put("commands", f"use {path.name}", [json.loads(line) for line in lines])


def table_of(path: Path) -> dict[str, Any]:
    """A Parquet file: rows, or of vectors their rounded digest and sums."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found: dict[str, Any] = {"columns": table.column_names}
    if names.VECTOR_COLUMN in table.column_names:
        vectors = np.array(table.column(names.VECTOR_COLUMN).to_pylist(), np.float64)
        rounded = np.round(vectors, 5) + 0.0
        found["sha256 of vectors"] = f"sha256:{hashlib.sha256(rounded.tobytes()).hexdigest()[:40]}"
        found["sums"] = [round(one, 5) for one in vectors.sum(0).tolist()]
        table = table.drop_columns([names.VECTOR_COLUMN])
    found["rows"] = table.to_pylist()
    return found


def record_files(session: Session) -> None:
    """What workspaces hold, and their pages of reports; most of it comes with the workspaces."""
    workspaces.shop(session)
    workspaces.bare(session)


def record_errors(session: Session) -> None:
    """Commands and requests that are refused."""
    shop = workspaces.shop(session)
    with workspaces.Changed(shop):
        session.run_all("", names.ERRORS, "errors")
    for case, (old, new) in names.BROKEN_SETTINGS.items():
        if old not in names.SHOP_SETTINGS:
            raise ValueError(f"{old!r} is not in the settings of the shop")
        broken = session.folder / "broken"
        workspaces.write_settings(broken, names.SHOP_SETTINGS.replace(old, new, 1))
        session.run(f"settings: {case}", names.REFUSED, "errors")
        shutil.rmtree(broken)
    with session.product.serving(shop) as client:
        record_all(session, client, http_cases.ERRORS, "errors", "http ")
        case, request, size = http_cases.LARGE
        session.put("errors", f"http {case}", ask(client, request, body=b" " * size))
        for header, (case, request, value) in {
            "host": http_cases.FOREIGN_HOST,
            "origin": http_cases.FOREIGN_ORIGIN,
        }.items():
            session.put("errors", f"http {case}", ask(client, request, {header: value}))


def record_http(session: Session) -> None:
    """Every surface, and what changes with events and items that are posted."""
    with (
        workspaces.Changed(workspaces.shop(session)) as shop,
        session.product.serving(shop) as client,
    ):
        record_all(session, client, http_cases.READS, "http")
        record_explained(session, client, http_cases.EXPLAINED)
        record_paged(session, client, http_cases.PAGED)
        record_all(session, client, http_cases.WRITES, "http")
        text = client.ask("GET", "/metrics").body.decode()
        metrics = re.findall(r"^(\w+(?:\{[^}]*\})?) ", text, re.M)
        session.put("http", "metrics", sorted(set(metrics)))
    with session.product.serving(workspaces.bare(session)) as client:
        record_all(session, client, http_cases.BARE_READS, "http", "without events: ")


def record_openapi(session: Session) -> None:
    """The description of the API."""
    with session.product.serving(workspaces.shop(session)) as client:
        session.put("openapi", "openapi", client.ask("GET", "/openapi.json").json())


def record_page(session: Session) -> None:
    """The page, line by line."""
    with (
        workspaces.Changed(workspaces.shop(session)) as shop,
        session.product.serving(shop) as client,
    ):
        record_pages(session, client)
    with (
        workspaces.Changed(workspaces.bare(session)) as bare,
        session.product.serving(bare) as client,
    ):
        record_visitor(session, client)


def record_judge(session: Session) -> None:
    """Labels become a filter, the filter is measured, and taken back."""
    with workspaces.Changed(workspaces.shop(session)) as shop:
        for case, line in names.JUDGE.items():
            session.run(f"judge {case}", line, "judge")
            if case == "distil":
                with (shop / names.SETTINGS_FILE).open("a") as stream:
                    stream.write(names.FILTER_SETTINGS)
            if case in ("train with filter", "rollback"):
                with session.product.serving(shop) as client:
                    record_all(session, client, http_cases.FILTERED_READS, "judge", f"{case}: ")


def record_evaluate(session: Session) -> None:
    """The report of a shop, with a cut in time and the last event of each user."""
    with workspaces.Changed(workspaces.shop(session)):
        session.run("report", names.EVALUATE, "evaluate")
        workspaces.record_files(session, workspaces.SHOP, "reported shop")


def record_alignment(session: Session) -> None:
    """One model or several: 21 trainings."""
    with workspaces.Changed(workspaces.small(session)):
        session.run("small", names.ALIGNMENT, "alignment")


def record_demo(session: Session) -> None:
    """A trained demo workspace: its report, and what it answers."""
    if session.demo is None:
        raise ValueError("the category demo needs --demo FOLDER, a trained demo workspace")
    copied = session.folder / "demo"
    shutil.copytree(session.demo, copied, ignore=shutil.ignore_patterns("cache"))
    report = json.loads((copied / names.REPORT).read_text(encoding="utf-8"))
    session.put("demo", "report", report)
    with session.product.serving(copied) as client:
        record_all(session, client, http_cases.DEMO_READS, "demo")
        for text in http_cases.DEMO_QUERIES:
            session.put("demo", f"search {text}", ask(client, f"GET /v1/search?q={text}&k=10"))


_SHOP, _BOTH = (workspaces.SHOP,), (workspaces.SHOP, workspaces.BARE)
CATEGORIES: Mapping[str, Category] = {
    "help": Category(record_help, 15),
    "commands": Category(record_commands, 50, _BOTH),
    "text": Category(record_commands, 0, _BOTH),
    "files": Category(record_files, 0, _BOTH),
    "http": Category(record_http, 10, _BOTH),
    "openapi": Category(record_openapi, 3, _SHOP),
    "page": Category(record_page, 6, _BOTH),
    "errors": Category(record_errors, 50, _SHOP),
    "judge": Category(record_judge, 60, _SHOP),
    "evaluate": Category(record_evaluate, 80, _SHOP),
    "bench": Category(record_bench, 110),
    "bench_slow": Category(record_slow_bench, 400, is_default=False),
    "alignment": Category(record_alignment, 250, (workspaces.SMALL,), is_default=False),
    "demo": Category(record_demo, 20, is_default=False),
}
"""By name, in the order in which they are recorded."""


def costs_of(categories: Sequence[str]) -> dict[str, float]:
    """Usual CPU-seconds of categories, and once of each workspace that they need."""
    chosen = {name: CATEGORIES[name] for name in categories}
    needed = {name for one in chosen.values() for name in one.needs}
    return {
        **{name: one.cost for name, one in chosen.items()},
        **{name: workspaces.COSTS[name] for name in needed},
    }
