"""The commands, as a test calls them."""

import json
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from serendip.cli.main import app, main


def invoke(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of a command; its error where it fails."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    document = json.loads(done.stdout)
    return done.exit_code, document


def serendip(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serendip", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def serendip_here(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command in the process of the test, which has imported and traced everything before."""
    command = ["serendip", *map(str, arguments)]
    out, error, before = StringIO(), StringIO(), sys.argv
    sys.argv = command
    try:
        with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(error):
            main()
    except SystemExit as ended:
        code = ended.code
    else:
        code = 0
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(command, int(code or 0), out.getvalue(), error.getvalue())
