"""The commands, as a test calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from serendip.cli.main import app


def invoke(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of a command; its error where it fails."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return done.exit_code, document


def serendip(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "serendip", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
