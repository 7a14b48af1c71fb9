"""A generation before it is published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serendip.engine.state import TABLES, EngineState
from serendip.evaluate.decision import DECISIONS, Decision, read_table, write_decisions
from serendip.jobs.lists.gate import LISTS_FILE
from serendip.jobs.surface_quality.record import RECORD_FILE, QualityRecord
from serendip.jobs.train.continuation import OLDER_FOLDER, OlderFit
from serendip.jobs.train.space import SPACE_FOLDER
from serendip.models.embedding_space import VectorSpace
from serendip.runtime.versions import MANIFEST, OWN_FACTS, Version


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A generation before it is published.

    Args:
        state: that answers.
        facts: for the manifest.
        older: for the next training to continue from; None = there were too few data, or it is
            linked.
        record: answers of the fit on the older part; None = the data are too few.
        lists: what people see of it; None = it was not measured.
        linked: folder of the generation whose models it has; None = they are its own.
    """

    state: EngineState
    facts: Mapping[str, Any]
    older: OlderFit | None = None
    record: QualityRecord | None = None
    lists: QualityRecord | None = None
    linked: Path | None = None

    @classmethod
    def link(cls, generation: Version) -> Draft:
        """A draft of the same files and facts as a generation."""
        folder, own = generation.folder, (*OWN_FACTS, "previous")
        facts = {key: value for key, value in generation.manifest.items() if key not in own}
        record = QualityRecord.open(folder / RECORD_FILE)
        return cls(EngineState.open(folder), facts, record=record, linked=folder)

    def with_state(self, state: EngineState, **facts: Any) -> Draft:
        """A copy with another state and additional facts."""
        return replace(self, state=state, facts={**self.facts, **facts})

    def with_decisions(self, part: str, decisions: Sequence[Decision]) -> Draft:
        """A copy with the decisions of a part, in place of those it had."""
        table = {**self.facts.get(DECISIONS, {}), part: write_decisions(decisions)}
        return self.with_state(self.state, **{DECISIONS: table})

    @property
    def decisions(self) -> list[Decision]:
        """Those of all parts."""
        return list(read_table(self.facts.get(DECISIONS, {})))

    def save(self, folder: Path, space: VectorSpace | None) -> None:
        """Write the files of the generation; those of linked models are links.

        Args:
            folder: empty.
            space: of the vectors of its own models; None = there is none.
        """
        if self.linked is None:
            self.state.save(folder)
            if self.older is not None:
                self.older.save(folder / OLDER_FOLDER)
            if self.record is not None:
                self.record.save(folder / RECORD_FILE)
            if space is not None:
                space.save(folder / SPACE_FOLDER)
        else:
            _link_files(self.linked, folder)
            self.state.save_tables(folder)
        if self.lists is not None:
            self.lists.save(folder / LISTS_FILE)


def _link_files(source: Path, target: Path) -> None:
    """Link the files of a generation, but those of what its models make."""
    written = {*TABLES, LISTS_FILE, MANIFEST}
    for path in source.iterdir():
        if path.name in written:
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name, copy_function=_link)
        else:
            _link(str(path), str(target / path.name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # this file system has no hard links
        shutil.copyfile(source, target)
