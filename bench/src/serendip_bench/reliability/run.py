"""Runs the harnesses and collects what they found."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serendip.data.store.sqlite import sqlite_module
from serendip.errors import ConfigError, SerendipError
from serendip.runtime.progress import Progress
from serendip_bench.reliability.damage import Damage
from serendip_bench.reliability.forks import server_pid
from serendip_bench.reliability.full_disk import FullDisk
from serendip_bench.reliability.group_commit import GroupCommit
from serendip_bench.reliability.harness import Findings, Harness
from serendip_bench.reliability.hot_swaps import HotSwaps
from serendip_bench.reliability.inputs.fuzz import Fuzz
from serendip_bench.reliability.overload import Overload
from serendip_bench.reliability.power_cuts import PowerCuts
from serendip_bench.reliability.publish_kills import PublishKills
from serendip_bench.reliability.service_kills import ServiceKills
from serendip_bench.reliability.several_services import SeveralServices
from serendip_bench.reliability.writer_kills import WriterKills

HARNESSES: Mapping[str, tuple[Harness, Harness]] = {
    "writer-kills": (WriterKills(), WriterKills(kills=40, control_kills=40)),
    "service-kills": (ServiceKills(), ServiceKills(kills=10, control_kills=2)),
    "power-cuts": (PowerCuts(), PowerCuts(cuts=100, control_cuts=30, rounds=2, operations=25)),
    "publish-kills": (PublishKills(), PublishKills(kills=250, control_kills=60)),
    "damage": (Damage(), Damage(flips=60, cuts=10, exchanges=10, nans=10)),
    "full-disk": (FullDisk(), FullDisk(rounds=1, writes=5)),
    "hot-swaps": (HotSwaps(), HotSwaps(swaps=5, requests=1_000, control_swaps=2)),
    "several-services": (SeveralServices(), SeveralServices(seconds=15, control_seconds=5)),
    "overload": (Overload(), Overload(seconds=48, control_seconds=8)),
    "group-commit": (GroupCommit(), GroupCommit(batches=200, singles=200)),
    "fuzz": (Fuzz(), Fuzz(schema_cases=200, mutations=800, control=200)),
}
"""Each harness by its name: as it counts, and small."""


def select_harnesses(names: str | None, is_quick: bool) -> dict[str, Harness]:
    """The harnesses of a list of names, separated by commas; None = all.

    Raises:
        ConfigError: a name is not known.
    """
    wanted = names.split(",") if names else list(HARNESSES)
    if unknown := [name for name in wanted if name not in HARNESSES]:
        raise ConfigError(f"--only {unknown[0]!r}.", f"Known: {', '.join(HARNESSES)}.")
    return {name: HARNESSES[name][int(is_quick)] for name in wanted}


def run_harnesses(
    harnesses: Mapping[str, Harness],
    progress: Progress,
    report: Callable[[str, Mapping[str, Any]], None],
) -> dict[str, Any]:
    """Run harnesses one after the other.

    Args:
        harnesses: by name.
        progress: of each.
        report: called with the name and the result of each as soon as there is one.

    Returns:
        all results, and what they were found with.
    """
    results: dict[str, dict[str, Any]] = {}
    for name, harness in harnesses.items():
        wall, cpu = time.perf_counter(), _cpu_s()
        try:
            result = _describe(harness.run(progress))
        except SerendipError as error:  # what it needs is not here
            result = {"is_kept": False, "reason": str(error)}
        costs = {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - cpu}
        results[name] = result | {cost: round(value, 1) for cost, value in costs.items()}
        report(name, results[name])
    return {
        "harnesses": results,
        "is_kept": all(result["is_kept"] for result in results.values()),
        "python": platform.python_version(),
        "sqlite": sqlite_module().sqlite_version,
        "machine": platform.machine(),
    }


def _describe(findings: Findings) -> dict[str, Any]:
    return {
        "is_kept": findings.is_kept,
        "counts": dict(findings.counts),
        "bars": [asdict(bar) | {"is_met": bar.is_met} for bar in findings.bars],
        "controls": [
            asdict(control) | {"is_caught": control.is_caught} for control in findings.controls
        ],
        "examples": list(findings.examples),
    }


def format_result(name: str, result: Mapping[str, Any]) -> Iterable[str]:
    """Lines for people."""
    cost = f"{result['cpu_s']:.0f} CPU-s, {result['wall_s']:.0f} s"
    yield f"{name}: {'kept' if result['is_kept'] else 'NOT KEPT'} ({cost})"
    if "reason" in result:
        yield f"  not run: {result['reason']}"
        return
    yield "  " + ", ".join(f"{count:,g} {what}" for what, count in result["counts"].items())
    for bar in result["bars"]:
        mark = "ok  " if bar["is_met"] else "MISS"
        yield f"  {mark} {bar['name']}: {bar['measured']:,g} ({bar['kind']} {bar['bound']:,g})"
    for control in result["controls"]:
        mark = "ok  " if control["is_caught"] else "MISS"
        yield f"  {mark} negative control, {control['name']}: {control['found']:,g} faults found"
    for example in result["examples"]:
        yield f"  such as: {example}"


def _cpu_s() -> float:
    """CPU-seconds of this process, and of those that it started or had forked and that ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    fields = Path(f"/proc/{server_pid()}/stat").read_text().rpartition(")")[2].split()
    forked = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return forked + sum(usage.ru_utime + usage.ru_stime for usage in usages)
