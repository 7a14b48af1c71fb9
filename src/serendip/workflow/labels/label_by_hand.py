"""``serendip judge label``: the desk of one person over pairs of a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.workflow.labels.desk import LabelDesk
from serendip.workflow.labels.label_file import LabelFile
from serendip.workflow.labels.pair_files import read_pairs
from serendip.workflow.labels.questions import questions_about


@contextmanager
def opened_desk(
    workspace: Workspace, pairs: Path, out: Path, name: str, others: Sequence[Path] = ()
) -> Iterator[LabelDesk]:
    """A desk whose file of labels nobody else writes meanwhile; it goes on where it ended.

    Args:
        workspace: its items.
        pairs: file with ``query`` and ``item_id``.
        out: the person's labels.
        name: of the person.
        others: labels of the same pairs by others.

    Raises:
        ConfigError: the name is none, the place cannot be written to, or others are the same file.
        DataError: a file is broken or somebody else's, or pairs name items that are not there.
        StorageError: another process labels into the file.
    """
    if out.resolve() in {path.resolve() for path in others}:
        raise ConfigError(f"{out} is given as another person's.", "Name the others' own files.")
    found = read_pairs(pairs)
    questions = questions_about(workspace, found)
    with LabelFile(out, name) as labels:
        yield LabelDesk(found, questions, labels, others)
