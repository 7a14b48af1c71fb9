"""Processes that descend from one, and their memory, shared pages counted once (Linux)."""

from __future__ import annotations

import os
from pathlib import Path


def list_processes(process: int) -> list[int]:
    """The process and its running descendants."""
    processes = [process]
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        processes += [descendant for child in children for descendant in list_processes(int(child))]
    return processes


def find_descendants(*names: bytes) -> list[int]:
    """Running descendants of this process whose command lines begin with one of these names."""
    found = []
    for process in list_processes(os.getpid())[1:]:
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:  # it has ended in between
            continue
        if command.startswith(names):
            found.append(process)
    return found


def read_proportional_kb(process: int) -> int:
    """Proportional set size in kB; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
