"""The results file of one run: checked, begun, and kept from other processes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serendip.data.durable import alone
from serendip.errors import ConfigError
from serendip.workflow.bench.forms import SEQUENCES, form_of
from serendip.workflow.bench.protocol import protocol
from serendip.workflow.bench.results import Results


def work_folder(file: Path) -> Path:
    """What a resumed run reads again: models, ranks and vectors beside the results ``file``."""
    return file.with_name(file.name + ".work")


@contextmanager
def opened_results(kind: str, data: Path, file: Path, seeds: int) -> Iterator[Results]:
    """The rows that are there already; one process at a time.

    Args:
        kind: which benchmark, see ``protocol``.
        data: folder of the data.
        file: the results.
        seeds: asked for.

    Raises:
        ConfigError: seeds < 1, or the file cannot be written or holds something else.
        DataError: the data is not as it should be.
        StorageError: another process is at work on the same file.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}.", "Ask for 1 seed or more.")
    form = form_of(data) if kind == "unified" else SEQUENCES
    facts = protocol(kind, form.read(data), form.digest(data), form.split)
    head = {"dataset": data.resolve().name, "protocol": {**facts, **form.facts(data)}}
    with alone(_made(work_folder(file))):
        results = Results(file, head)
        results.write()
        yield results


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} cannot be written: {error}."
        raise ConfigError(message, "Give --json another place.") from None
    return folder
