"""Record what the product answers, and check that it still does: golden records.

    python dev/goldens.py record --out FOLDER [--only CATEGORY ...] [--demo FOLDER]
    python dev/goldens.py check --against FOLDER [--only CATEGORY ...] [--demo FOLDER]
    python dev/goldens.py compare --old FOLDER --new FOLDER [--only CATEGORY ...]

Everything is asked from outside: commands as processes, a service over HTTP. ``check`` records
anew into a temporary folder (``--out`` keeps it) and compares; ``compare`` compares two records.
``--rename FILE`` translates names of the recorded side (``golden/compare.py`` says how a file
looks), ``--tolerance`` allows for numbers of another machine. Exit code 1 = something differs.

All categories but ``bench_slow``, ``alignment`` and ``demo`` are recorded where none is named;
``demo`` comes with ``--demo``. Names of the product stand in ``golden/names.py`` and
``golden/http_cases.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from golden.categories import CATEGORIES, costs_of
from golden.compare import Compared, Renames, category_file, compare
from golden.product import Product
from golden.session import Clock, Session

SHOWN = 20
_LONGEST = 160


def main() -> int:
    """Do what the command line says."""
    asked = _parser().parse_args()
    if asked.command == "record":
        return int(bool(record(asked.out, _categories(asked), asked.demo)))
    if asked.command == "compare":
        return _compared(asked, asked.old, asked.new, _recorded(asked, asked.old))
    with tempfile.TemporaryDirectory(prefix="goldens-") as scratch:
        new = asked.out or Path(scratch)
        categories = _checked(asked)
        failed = record(new, categories, asked.demo)
        return _compared(asked, asked.against, new, categories) or int(bool(failed))


def record(out: Path, categories: Sequence[str], demo: Path | None) -> list[str]:
    """Record categories into a folder.

    Returns:
        those that could not be recorded to their end, which takes none of the others with it.
    """
    clock = Clock(costs_of(categories))
    failed = []
    with (
        tempfile.TemporaryDirectory(prefix="goldens-") as scratch,
        closing(Product(clock.tell)) as product,
    ):
        session = Session(Path(scratch).resolve(), categories, clock, product, demo)
        for work in dict.fromkeys(CATEGORIES[name].record for name in categories):
            own = [name for name in categories if CATEGORIES[name].record is work]
            try:
                work(session)
            except Exception:  # noqa: BLE001 - a product that breaks is an answer, too
                traceback.print_exc()
                failed += own
            for name in own:
                clock.end(name)
        session.write(out)
    clock.summary()
    if failed:
        sys.stderr.write(f"not recorded to the end: {', '.join(failed)}\n")
    return failed


def _compared(asked: argparse.Namespace, old: Path, new: Path, categories: Sequence[str]) -> int:
    """Compare, say what differs, and give the exit code."""
    renames = Renames.read(asked.rename) if asked.rename else Renames()
    most = None if asked.all else SHOWN
    found = list(compare(old, new, categories, renames, asked.tolerance))
    for one in found:
        _show(one, most)
    count = sum(len(one.differences) for one in found)
    sys.stdout.write(f"{sum(one.values for one in found):,} values, {count:,} differ\n")
    return int(count > 0)


def _show(found: Compared, most: int | None) -> None:
    differ = len(found.differences)
    sys.stdout.write(f"{found.category}: {found.values:,} values, {differ:,} differ\n")
    for one in found.differences[:most]:
        sys.stdout.write(f"  {one.path}\n    - {_cut(one.old)}\n    + {_cut(one.new)}\n")
    if most is not None and differ > most:
        sys.stdout.write(f"  and {differ - most:,} more: --all shows them\n")


def _cut(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _categories(asked: argparse.Namespace) -> list[str]:
    """What is named, or all that is recorded by default."""
    named = asked.only or [name for name, one in CATEGORIES.items() if one.is_default]
    return [name for name in CATEGORIES if name in named or (name == "demo" and asked.demo)]


def _recorded(asked: argparse.Namespace, folder: Path) -> list[str]:
    """What is named, or all that was recorded."""
    there = [name for name in CATEGORIES if category_file(folder, name).exists()]
    missing = [name for name in asked.only or () if name not in there]
    if missing or not there:
        sys.exit(f"{folder} holds no records of {', '.join(missing) or 'anything'}")
    return [name for name in there if not asked.only or name in asked.only]


def _checked(asked: argparse.Namespace) -> list[str]:
    """What was recorded, without the demo where there is none to ask."""
    named = _recorded(asked, asked.against)
    if "demo" in named and not asked.demo:
        sys.stderr.write("demo is not checked: it needs --demo FOLDER\n")
        named.remove("demo")
    return named


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    record_, check, both = (commands.add_parser(name) for name in ("record", "check", "compare"))
    record_.add_argument("--out", type=Path, required=True, help="folder of the records")
    check.add_argument("--against", type=Path, required=True, help="folder of earlier records")
    check.add_argument("--out", type=Path, help="keep the new records here")
    both.add_argument("--old", type=Path, required=True, help="folder of earlier records")
    both.add_argument("--new", type=Path, required=True, help="folder of later records")
    for one in (record_, check, both):
        one.add_argument("--only", nargs="+", choices=CATEGORIES, metavar="CATEGORY")
    for one in (record_, check):
        one.add_argument("--demo", type=Path, help="a trained demo workspace; it is copied")
    for one in (check, both):
        one.add_argument("--rename", type=Path, help="file of `old -> new` names")
        one.add_argument("--tolerance", type=float, default=0.0, help="of numbers, relative")
        one.add_argument("--all", action="store_true", help="show all differences")
    return parser


if __name__ == "__main__":
    sys.exit(main())
