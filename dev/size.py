"""Print the code lines of the package by folder, beside what the redesign gives each.

    python dev/size.py            a table
    python dev/size.py --json     the same as JSON

A code line holds a token that is neither a comment nor part of a docstring; of a statement over
several lines each counts.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tokenize
from collections import Counter
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

GOALS: Mapping[str, int] = {
    ".": 400,
    "runtime": 2_000,
    "data": 2_300,
    "store": 1_800,
    "files": 1_700,
    "content": 2_100,
    "models": 6_600,
    "search": 2_400,
    "llm": 900,
    "evaluate": 2_000,
    "engine": 4_200,
    "jobs": 4_900,
    "serve": 2_900,
    "cli": 1_800,
}
"""Code lines that each folder of ``serendip`` has at most when the redesign is done. ``testing`` is
part of what ``cli`` has; ``.`` is what is in no folder."""

_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}
_LAYOUT |= {tokenize.ENCODING, tokenize.ENDMARKER}


def count_code_lines(source: str) -> int:
    """Number of lines of a module with a token that is neither a comment nor of a docstring."""
    lines = set[int]()
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", None) or () if _has_body(node) else ():
            if _is_text(statement):
                lines -= set(range(statement.lineno, (statement.end_lineno or 0) + 1))
    return len(lines)


def _has_body(node: ast.AST) -> bool:
    return isinstance(getattr(node, "body", None), list)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string alone: the docstring of what contains or precedes it."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)


def count_folders(package: Path) -> dict[str, int]:
    """Folder of a package -> code lines in it; ``.`` has the modules that are in none."""
    counts: Counter[str] = Counter()
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        counts[parts[0] if len(parts) > 1 else "."] += count_code_lines(path.read_text("utf-8"))
    return dict(counts)


def main() -> None:
    """Print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    trees = {"tests": ROOT / "tests", "serendip_bench": ROOT / "bench" / "src" / "serendip_bench"}
    beside = {name: sum(count_folders(path).values()) for name, path in trees.items()}
    folders = count_folders(ROOT / "src" / "serendip")
    rows = [(name, folders[name], GOALS.get(name)) for name in sorted(folders)]
    rows += [("serendip", sum(folders.values()), sum(GOALS.values()))]
    rows += [(name, count, None) for name, count in beside.items()]
    if as_json:
        text = json.dumps({name: {"lines": count, "goal": goal} for name, count, goal in rows})
    else:
        text = "\n".join(f"{name:<16}{count:>8,}{goal or '-':>8}" for name, count, goal in rows)
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
