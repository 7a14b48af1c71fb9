"""How the last training of a workspace ended, in a file that the service and commands read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from serendip.runtime.atomic_files import write_json

PUBLISHED: Final = "published"
REFUSED: Final = "refused"
FAILED: Final = "failed"
Result = Literal["published", "refused", "failed"]
RESULTS: tuple[Result, ...] = (PUBLISHED, REFUSED, FAILED)

TRAINING_STATUS_FILE = "status.json"  # the ``JobStatus`` in the folder of trainings
_FILE = "last.json"
_LONGEST_DELAY_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """The end of a training.

    Args:
        result: ``published``, ``refused`` by a gate, or ``failed``.
        generation: the published one; empty = none.
        message: why nothing was published; empty = something was.
        reasons: why the training was due; empty = a person asked for it.
        failures: number of trainings in a row, this one included, that published nothing.
        ended: Unix seconds.
    """

    result: Result
    generation: str = ""
    message: str = ""
    reasons: Sequence[str] = ()
    failures: int = 0
    ended: float = field(default_factory=time.time)

    @classmethod
    def read(cls, folder: Path) -> TrainingRecord | None:
        """Read the record in the folder of trainings; None if there is none or it is unreadable."""
        try:
            return cls(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> TrainingRecord:
        """Replace the record in the folder of trainings; returned with the failures in a row."""
        before = TrainingRecord.read(folder)
        earlier = 0 if before is None else before.failures
        written = replace(self, failures=0 if self.result == PUBLISHED else earlier + 1)
        write_json(folder / _FILE, asdict(written))
        return written

    def next_try(self, retry_s: float) -> float:
        """Unix seconds from which a training that is due may begin: later after each failure."""
        if not self.failures:
            return 0.0
        return self.ended + min(retry_s * 2.0 ** min(self.failures - 1, 30), _LONGEST_DELAY_S)
