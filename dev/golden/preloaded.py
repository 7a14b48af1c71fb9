"""Runs ``python -m serendip ...`` many times, in a process of its own each time, and saves imports.

Third-party packages are imported once; each command then runs in a fork, in which everything of
the product is imported afresh. Reads a JSON line for each command, writes a line with its exit
code. Started by ``product.Product``, with the environment that commands run in.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any

_SLOW = (
    *("numpy", "scipy.sparse", "pydantic", "typer", "rich.progress", "jinja2"),
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "duckdb", "tantivy"),
    *("torch", "symspellpy", "rapidfuzz", "faiss", "fastapi", "uvicorn"),
)
"""Neither pyarrow nor onnxruntime: importing them starts threads, which a fork would not have."""


def main() -> None:
    """Run commands until there are no more."""
    for name in _SLOW:
        with suppress(ImportError):
            import_module(name)
    sys.path[0] = ""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _run(command: dict[str, Any]) -> None:
    """Be ``python -m serendip`` and end."""
    os.chdir(command["folder"])
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for stream, path in enumerate((command["stdout"], command["stderr"]), start=1):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream)
    sys.argv[1:] = command["arguments"]
    code: Any = 1
    try:
        runpy.run_module("serendip", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - what the interpreter would do with it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
