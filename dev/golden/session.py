"""One run: what was asked for, where the product runs, and what has been recorded so far."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golden.compare import category_file
from golden.masks import Masks
from golden.product import Outcome, Product


class Clock:
    """Says on stderr what is done and how long the rest may take.

    Args:
        costs: what will be done -> its usual CPU-seconds.
    """

    def __init__(self, costs: Mapping[str, float]) -> None:
        self._costs = dict(costs)
        self._all, self._done = sum(self._costs.values()), 0.0
        self._started = time.monotonic()

    def end(self, name: str) -> None:
        """A part has ended; one that ends twice counts once."""
        self._done += self._costs.pop(name, 0.0)

    def tell(self, what: str) -> None:
        """A line with the time left, once there is something to tell it by."""
        passed = time.monotonic() - self._started
        left = f", about {_minutes(self._left(passed))} left" if self._done else ""
        sys.stderr.write(f"{_minutes(passed)}{left}  {what[:90]}\n")
        sys.stderr.flush()

    def _left(self, passed: float) -> float:
        return passed / self._done * (self._all - self._done)

    def summary(self) -> None:
        """What the whole run took."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        passed = time.monotonic() - self._started
        cpu = used.ru_utime + used.ru_stime
        sys.stderr.write(f"{_minutes(passed)} in all, {_minutes(cpu)} of CPU time\n")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@dataclass(slots=True)
class Session:
    """What categories record with.

    Args:
        folder: temporary; commands run in it, files and workspaces lie there.
        wanted: categories that are kept.
        clock: is told what is done.
        product: runs commands.
        demo: a trained demo workspace; None = there is none.
    """

    folder: Path
    wanted: Sequence[str]
    clock: Clock
    product: Product
    demo: Path | None = None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    built: set[str] = field(default_factory=set)

    @property
    def masks(self) -> Masks:
        """Of this run."""
        return Masks(self.folder)

    def put(self, category: str, case: str, value: Any) -> None:
        """Record a document, masked, if its category is asked for.

        Raises:
            ValueError: the case was recorded before.
        """
        if category not in self.wanted:
            return
        cases = self.records.setdefault(category, {})
        if case in cases:
            raise ValueError(f"{category} has a second case {case!r}")
        cases[case] = self.masks.document(value)

    def run(self, case: str, line: str, category: str = "commands") -> Outcome:
        """Run a command and record its answer, and in ``text`` what it says to people."""
        done = self.product.run(line, self.folder)
        told = self.masks.lines(done.stderr)
        if category == "errors":
            self.put(category, case, {**done.answer(), "stderr": told})
        else:
            self.put(category, case, done.answer())
            self.put("text", f"{category} {case}", told)
        return done

    def run_all(self, group: str, table: Mapping[str, str], category: str = "commands") -> None:
        """Run the commands of a table in their order."""
        for case, line in table.items():
            self.run(f"{group} {case}".strip(), line, category)

    def write(self, out: Path) -> None:
        """One file for each category."""
        out.mkdir(parents=True, exist_ok=True)
        for category in self.wanted:
            text = json.dumps(self.records.get(category, {}), indent=1, ensure_ascii=False)
            category_file(out, category).write_text(text + "\n", encoding="utf-8")
