"""Write the lock files: every package that is installed, with its version and its hashes.

    python dev/lock.py            # the newest versions that fit pyproject.toml
    python dev/lock.py --keep     # the versions of now, as far as pyproject.toml still allows

``locks/serve.txt`` is for a service, ``locks/train.txt`` for trainings without torch, whose build
depends on the hardware, and ``locks/all.txt`` for everything, development and benchmarks included;
all three are for every platform, and a package has the same version in each. A new package also
needs a line in ``locks/licences.toml``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "locks"
OWN = "serendip["
"""An extra that contains another extra."""


def main() -> None:
    """Write all lock files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep versions where possible")
    keep = parser.parse_args().keep
    project, bench = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        for folder in (".", "bench")
    )
    base, extras = project["dependencies"], project["optional-dependencies"]
    optional = (*extras.values(), *bench["optional-dependencies"].values())
    everything = LOCKS / "all.txt"
    _write(everything, [*base, *(one for listed in optional for one in listed)], keep)
    same = ("--constraint", os.fspath(everything))
    _write(LOCKS / "serve.txt", base, False, *same)
    without_torch = (one for one in extras["train"] if not one.startswith("torch"))
    _write(LOCKS / "train.txt", [*base, *without_torch], False, *same)


def _write(path: Path, requirements: Iterable[str], keep: bool, *options: str) -> None:
    """Write one lock file; ``keep`` prefers the versions that it has."""
    lines = "\n".join(one for one in requirements if not one.startswith(OWN))
    uv = Path(sys.executable).with_name("uv")
    command = [os.fspath(uv), "pip", "compile", "--quiet", "--universal", "--python-version=3.11"]
    command += ["--generate-hashes", "--no-annotate", f"--output-file={path}", *options, "-"]
    if not keep:
        command.append("--upgrade")
    environment = {**os.environ, "UV_CUSTOM_COMPILE_COMMAND": "python dev/lock.py"}
    subprocess.run(command, input=lines, text=True, check=True, env=environment, cwd=ROOT)


if __name__ == "__main__":
    main()
