"""``serendip judge label``: a session in which one person labels pairs of a workspace.

The file of labels is the only state: skipped pairs are shown again after all others, and after a
restart in their original order.
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
from serendip.jobs.labels.pair_files import IS_IRRELEVANT, Pair, read_labels, read_pairs


class LabellingSession:
    """What the labelling page shows and changes; thread-safe.

    Args:
        pairs: different ones, in the order in which they are shown.
        questions: query and item texts of each pair.
        labels: file of the labeller.
        others: files of other labellers of the same pairs; they need not exist yet.
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
        # Per step that can be undone: the place of a skip, or None for a label.
        self._undoable: list[int | None] = [None] * len(labels.rows)
        self._lock = threading.Lock()

    def view(self) -> LabellingView:
        """The pair to label next, with counts and agreement."""
        with self._lock:
            labels = dict(self._labels.rows)
            place = self._next(labels)
            counts = Counter(label for pair, label in labels.items() if pair in self._place)
            return LabellingView(
                self._labels.name,
                None if place is None else self._pair_to_label(place),
                len(self._pairs),
                counts["good"],
                counts["bad"],
                len(self._skipped),
                self._undoes(),
                [self._agreement(path, labels) for path in self._others],
            )

    def label(self, place: int, label: str) -> None:
        """Label a pair, durably when this returns; a pair that has a label keeps it.

        Raises:
            DataError: no such pair or label.
            StorageError: the label cannot be written.
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
        """Postpone a pair until all others are labelled.

        Raises:
            DataError: no such pair.
        """
        with self._lock:
            if self._pair(place) in dict(self._labels.rows):
                return
            if place in self._skipped:
                self._skipped.remove(place)
            self._skipped.append(place)
            self._undoable.append(place)

    def undo(self) -> None:
        """Undo the last label or skip, if there is one.

        Raises:
            StorageError: the label cannot be removed.
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
                f"pair {place} does not exist.", f"Pairs are 0 to {len(self._pairs) - 1}."
            )
        return self._pairs[place]

    def _next(self, labels: Mapping[Pair, str]) -> int | None:
        """The first pair without a label; skipped pairs come last."""
        skipped = set(self._skipped)
        unlabelled = (
            place
            for place, pair in enumerate(self._pairs)
            if pair not in labels and place not in skipped
        )
        return next(unlabelled, self._skipped[0] if self._skipped else None)

    def _pair_to_label(self, place: int) -> PairToLabel:
        question = self._questions[place]
        item = question["item"]
        return PairToLabel(
            place,
            question["query"],
            item.get("title", ""),
            item.get("description", ""),
            item.get("attributes", {}),
        )

    def _undoes(self) -> str:
        if not self._undoable:
            return ""
        return "skip" if self._undoable[-1] is not None else self._labels.rows[-1][1]

    def _agreement(self, path: Path, labels: Mapping[Pair, str]) -> AgreementSoFar:
        """With a file that another process may be writing, or that does not exist yet."""
        try:
            others = read_labels(path)
        except DataError:
            return AgreementSoFar(path.stem, 0)
        is_irrelevant = {
            pair: IS_IRRELEVANT[label] for pair, label in labels.items() if pair in self._place
        }
        agreement = measure_agreement(is_irrelevant, others)
        low, high = agreement.ci95 or (None, None)
        return AgreementSoFar(path.stem, agreement.pairs, agreement.kappa, low, high)


@contextmanager
def open_session(
    workspace: Workspace, pairs: Path, out: Path, name: str, others: Sequence[Path] = ()
) -> Iterator[LabellingSession]:
    """Open a labelling session that continues the labeller's file, locked for this process.

    Args:
        workspace: its items.
        pairs: file with ``query`` and ``item_id``.
        out: file of the labeller.
        name: of the labeller.
        others: files of other labellers of the same pairs.

    Raises:
        ConfigError: the name is empty, the file cannot be written, or is among the others.
        DataError: a file is damaged or another labeller's, or pairs name unknown items.
        StorageError: another process has the file open.
    """
    if out.resolve() in {path.resolve() for path in others}:
        raise ConfigError(
            f"{out} is both --out and another labeller's file.", "Name a file of their own."
        )
    unlabelled = read_pairs(pairs)
    questions = build_questions(workspace, unlabelled)
    with LabelFile(out, name) as labels:
        yield LabellingSession(unlabelled, questions, labels, others)
