"""Workspaces that categories share, made once in a run by the commands of the product."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from golden import names, worlds
from golden.session import Session

SHOP, BARE, SMALL = "shop", "bare", "small"
COSTS: Mapping[str, float] = {SHOP: 100, BARE: 35, SMALL: 3}
"""Usual CPU-seconds of what makes them."""


def _once(build: Callable[[Session], None]) -> Callable[[Session], Path]:
    """Builds in the first call, and gives the workspace of that name in each."""
    name = build.__name__

    def workspace(session: Session) -> Path:
        if name not in session.built:
            session.built.add(name)
            build(session)
            session.clock.end(name)
        return session.folder / name

    return workspace


@_once
def shop(session: Session) -> None:
    """Items, events, and everything that a training reads; one generation."""
    files, folder = session.folder / "files", session.folder / SHOP
    worlds.write_shop(files)
    (files / "texts.txt").write_text("red lamp\nsomewhere to sit\n", encoding="utf-8")
    for case, line in names.SHOP.items():
        if case == "ids append":
            shutil.copy(files / "later.csv", files / "items.csv")
            session.run("shop import later", names.SHOP["import"])
        session.run(f"shop {case}", line)
        if case == "init":
            settings = folder / names.SETTINGS_FILE
            session.put("files", "toml of init", {"toml": tomllib.loads(settings.read_text())})
            settings.write_text(names.SHOP_SETTINGS, encoding="utf-8")
    record_files(session, SHOP, "shop")


@_once
def bare(session: Session) -> None:
    """Items without events, read by the default encoder; one generation."""
    worlds.write_bare(session.folder / "files")
    for case, line in names.BARE.items():
        session.run(f"bare {case}", line)
        if case == "init":
            with (session.folder / BARE / names.SETTINGS_FILE).open("a") as stream:
                stream.write(names.BARE_SETTINGS)
    record_files(session, BARE, "bare")


@_once
def small(session: Session) -> None:
    """A shop with few searches; nothing is trained."""
    worlds.write_small(session.folder / "files")
    write_settings(session.folder / SMALL, names.SMALL_SETTINGS)
    session.run("small import", names.SMALL_IMPORT)


def write_settings(folder: Path, settings: str) -> None:
    """A workspace of some settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names.SETTINGS_FILE).write_text(settings, encoding="utf-8")


class Changed:
    """A copy of a workspace in its place, for commands that change it; the old one comes back.

    Args:
        workspace: it may be changed inside of the ``with``.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace, self._kept = workspace, workspace.with_name(f"kept-{workspace.name}")

    def __enter__(self) -> Path:
        self._workspace.rename(self._kept)
        shutil.copytree(self._kept, self._workspace)
        return self._workspace

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._workspace)
        self._kept.rename(self._workspace)


def record_files(session: Session, workspace: str, case: str) -> None:
    """Which files a workspace has, and those of JSON and CSV that are recorded whole."""
    folder = session.folder / workspace
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    # Vectors are kept by the hash of a text; a file of the word index is named at random.
    told = {session.masks.text(path.relative_to(folder).as_posix()) for path in paths}
    session.put("files", f"{case} files", sorted(told))
    for path in paths:
        name = session.masks.text(path.relative_to(folder).as_posix())
        if path.name in names.DOCUMENTS:
            session.put("files", f"{case} {name}", json.loads(path.read_text(encoding="utf-8")))
        elif path.name in names.TABLES:
            session.put("files", f"{case} {name}", _rows(path))
    for path in sorted(folder.glob(names.REPORT_PAGES)):
        lines = session.masks.lines(path.read_text(encoding="utf-8"))
        session.put("page", f"{case} {path.name}", [_without_cost(line) for line in lines])


def _without_cost(line: str) -> str:
    for mark, end in names.COST_LINES.items():
        if mark in line:
            return line.partition(end)[0] + f"{end}<cost>"
    return line


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
