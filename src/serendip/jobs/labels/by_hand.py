"""Pairs that one person labels: what comes next, what is taken back, how far others agree.

The file of labels is all that is kept. What was put off is asked again after everything else, and
after a restart in its old place.

``serendip judge label``: the desk of one person over pairs of a workspace.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serendip.data.labelling import AgreementSoFar, LabellingView, PairToLabel
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.labels.agreement import agreement
from serendip.jobs.labels.label_file import LABELS, LabelFile
from serendip.jobs.labels.llm_examples import questions_about
from serendip.jobs.labels.pair_files import IS_BAD, Pair, read_labels, read_pairs


class LabellingSession:
    """What the labelling page shows and changes; thread-safe.

    Args:
        pairs: different ones, in the order in which they are asked.
        questions: of each pair the query and the item's texts.
        labels: file of whoever labels.
        others: files of others who label the same pairs; those that are not there yet may come.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        questions: Sequence[Mapping[str, Any]],
        labels: LabelFile,
        others: Sequence[Path] = (),
    ) -> None:
        self._pairs, self._questions, self._labels = list(pairs), questions, labels
        self._others = list(others)
        self._place = {pair: place for place, pair in enumerate(self._pairs)}
        self._skipped: list[int] = []
        self._undoable: list[int | None] = [None] * len(labels.rows)  # A skipped place, or a label.
        self._lock = threading.Lock()

    def view(self) -> LabellingView:
        """What is to be shown now."""
        with self._lock:
            labels = dict(self._labels.rows)
            place = self._next(labels)
            counts = Counter(label for pair, label in labels.items() if pair in self._place)
            return LabellingView(
                self._labels.name,
                None if place is None else self._asked(place),
                len(self._pairs),
                counts["good"],
                counts["bad"],
                len(self._skipped),
                self._undoes(),
                [self._agreed(path, labels) for path in self._others],
            )

    def label(self, place: int, label: str) -> None:
        """Label a pair, durably when this returns; nothing where it has a label by now.

        Raises:
            DataError: there is no such pair or label.
            StorageError: it cannot be written.
        """
        if label not in LABELS:
            raise DataError(f"the label {label!r} is not known.", f"Known: {', '.join(LABELS)}.")
        with self._lock:
            pair = self._pair(place)
            if pair in dict(self._labels.rows):
                return
            self._labels.append(pair, label)
            self._undoable.append(None)
            if place in self._skipped:
                self._skipped.remove(place)

    def skip(self, place: int) -> None:
        """Put a pair off until the others are labelled.

        Raises:
            DataError: there is no such pair.
        """
        with self._lock:
            if self._pair(place) in dict(self._labels.rows):
                return
            if place in self._skipped:
                self._skipped.remove(place)
            self._skipped.append(place)
            self._undoable.append(place)

    def undo(self) -> None:
        """Take the last label, or the last skip after it, back; nothing where there is none.

        Raises:
            StorageError: the label cannot be taken out.
        """
        with self._lock:
            if not self._undoable:
                return
            place = self._undoable[-1]
            if place is None:
                self._labels.drop_last()
            elif place in self._skipped:
                self._skipped.remove(place)
            self._undoable.pop()

    def _pair(self, place: int) -> Pair:
        if not 0 <= place < len(self._pairs):
            raise DataError(f"there is no pair {place}.", f"There are {len(self._pairs)}.")
        return self._pairs[place]

    def _next(self, labels: Mapping[Pair, str]) -> int | None:
        """The first pair without a label; those that were put off come last."""
        put_off = set(self._skipped)
        fresh = (
            place
            for place, pair in enumerate(self._pairs)
            if pair not in labels and place not in put_off
        )
        return next(fresh, self._skipped[0] if self._skipped else None)

    def _asked(self, place: int) -> PairToLabel:
        told = self._questions[place]
        item = told["item"]
        return PairToLabel(
            place,
            told["query"],
            item.get("title", ""),
            item.get("description", ""),
            item.get("attributes", {}),
        )

    def _undoes(self) -> str:
        if not self._undoable:
            return ""
        return "skip" if self._undoable[-1] is not None else self._labels.rows[-1][1]

    def _agreed(self, path: Path, labels: Mapping[Pair, str]) -> AgreementSoFar:
        """With a file that grows meanwhile, and may not be there or be half a row long."""
        try:
            others = read_labels(path)
        except DataError:
            return AgreementSoFar(path.stem, 0)
        own = {pair: IS_BAD[label] for pair, label in labels.items() if pair in self._place}
        found = agreement(own, others)
        low, high = found.ci95 or (None, None)
        return AgreementSoFar(path.stem, found.pairs, found.kappa, low, high)


@contextmanager
def open_session(
    workspace: Workspace, pairs: Path, out: Path, name: str, others: Sequence[Path] = ()
) -> Iterator[LabellingSession]:
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
        yield LabellingSession(found, questions, labels, others)
