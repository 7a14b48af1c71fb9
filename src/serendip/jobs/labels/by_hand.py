"""``serendip judge label``: a labelling session, in which one person labels pairs of a workspace.

Only the file of labels is stored. Skipped pairs are shown again after all others; after a restart,
in their original order.
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
from serendip.jobs.labels.agreement import measure_agreement
from serendip.jobs.labels.label_file import LABELS, LabelFile
from serendip.jobs.labels.llm_examples import build_questions
from serendip.jobs.labels.pair_files import IS_BAD, Pair, read_labels, read_pairs


class LabellingSession:
    """State of the labelling page; thread-safe.

    Args:
        pairs: distinct pairs, in the order in which they are shown.
        questions: query and item texts of each pair.
        labels: file of the labeller.
        others: files of other labellers of the same pairs; they may not exist yet.
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
        # Actions that can be undone: the place of a skipped pair, or None for a label.
        self._undoable: list[int | None] = [None] * len(labels.rows)
        self._lock = threading.Lock()

    def view(self) -> LabellingView:
        """The next pair, the counts and the agreement with others."""
        with self._lock:
            labels = dict(self._labels.rows)
            place = self._next(labels)
            counts = Counter(label for pair, label in labels.items() if pair in self._place)
            return LabellingView(
                self._labels.name,
                None if place is None else self._to_pair(place),
                len(self._pairs),
                counts["good"],
                counts["bad"],
                len(self._skipped),
                self._undo_name(),
                [self._compare(path, labels) for path in self._others],
            )

    def label(self, place: int, label: str) -> None:
        """Label a pair unless it has a label, and wait until it is on disk.

        Raises:
            DataError: there is no such pair or label.
            StorageError: the file of labels cannot be written.
        """
        if label not in LABELS:
            raise DataError(f"the label {label!r} is unknown.", f"Use one of {', '.join(LABELS)}.")
        with self._lock:
            pair = self._pair(place)
            if pair in dict(self._labels.rows):
                return
            self._labels.append(pair, label)
            self._undoable.append(None)
            if place in self._skipped:
                self._skipped.remove(place)

    def skip(self, place: int) -> None:
        """Skip a pair until all others are labelled.

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
        """Undo the last label or skip, if any.

        Raises:
            StorageError: the file of labels cannot be written.
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
            raise DataError(
                f"there is no pair {place}.", f"Choose a number below {len(self._pairs)}."
            )
        return self._pairs[place]

    def _next(self, labels: Mapping[Pair, str]) -> int | None:
        """Place of the first pair without a label; skipped pairs come last."""
        skipped = set(self._skipped)
        remaining = (
            place
            for place, pair in enumerate(self._pairs)
            if pair not in labels and place not in skipped
        )
        return next(remaining, self._skipped[0] if self._skipped else None)

    def _to_pair(self, place: int) -> PairToLabel:
        question = self._questions[place]
        item = question["item"]
        return PairToLabel(
            place,
            question["query"],
            item.get("title", ""),
            item.get("description", ""),
            item.get("attributes", {}),
        )

    def _undo_name(self) -> str:
        """The label or ``skip`` that ``undo`` would undo; empty = none."""
        if not self._undoable:
            return ""
        return "skip" if self._undoable[-1] is not None else self._labels.rows[-1][1]

    def _compare(self, path: Path, labels: Mapping[Pair, str]) -> AgreementSoFar:
        """Agreement with a file, which may not exist yet or end with an incomplete row."""
        try:
            others = read_labels(path)
        except DataError:
            return AgreementSoFar(path.stem, 0)
        is_bad = {pair: IS_BAD[label] for pair, label in labels.items() if pair in self._place}
        agreement = measure_agreement(is_bad, others)
        low, high = agreement.ci95 or (None, None)
        return AgreementSoFar(path.stem, agreement.pairs, agreement.kappa, low, high)


@contextmanager
def open_session(
    workspace: Workspace, pairs: Path, out: Path, name: str, others: Sequence[Path] = ()
) -> Iterator[LabellingSession]:
    """Open or resume a labelling session; its file of labels is locked until it ends.

    Args:
        workspace: of the items.
        pairs: file with ``query`` and ``item_id``.
        out: file of the person's labels.
        name: of the person.
        others: files of labels of the same pairs by other labellers.

    Raises:
        ConfigError: the name is empty, ``out`` cannot be written, or it is among ``others``.
        DataError: a file is broken, ``out`` has labels by another person, or pairs have unknown
            items.
        StorageError: another process has ``out`` open.
    """
    if out.resolve() in {path.resolve() for path in others}:
        raise ConfigError(
            f"{out} is the file of your labels and of another person's.",
            "Choose another file for your labels.",
        )
    distinct = read_pairs(pairs)
    questions = build_questions(workspace, distinct)
    with LabelFile(out, name) as labels:
        yield LabellingSession(distinct, questions, labels, others)
