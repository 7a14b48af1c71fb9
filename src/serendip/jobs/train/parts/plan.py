"""Which parts of a generation a training builds, and why.

A part is built if what it reads is not what the same part of the generation in force was made from,
or if a part that it needs is built; else its folder is linked. What a part reads is known before
anything is built, so ``serendip train --explain`` tells all of it. Parts are built into a draft: a
generation before it is published.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serendip.engine.state import EngineState
from serendip.engine.state_parts import PARTS, RANKER, CatalogueContent, save_state
from serendip.errors import ConfigError
from serendip.evaluate.decision import DECISIONS, Decision, read_table, write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.lists.gate import LISTS_FILE
from serendip.jobs.surface_quality.record import RECORD_FILE, QualityRecord, save_record
from serendip.jobs.train.continuation import OLDER_FOLDER
from serendip.jobs.train.engine_fit import RankerPart
from serendip.jobs.train.fingerprint import hash_code
from serendip.jobs.train.space import SPACE_FOLDER
from serendip.models.embedding_space import VectorSpace
from serendip.runtime.atomic_files import link_or_copy
from serendip.runtime.versions import OWN_FACTS, Version


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A generation before it is published.

    Args:
        state: without the ranker, so that another one can be added to the same models; None = the
            models come later.
        lists: what people see of it; None = it was not measured.
        linked: parts whose files are those of the generation in force, and its folder.
    """

    facts: Mapping[str, Any]
    content: CatalogueContent
    ranker: RankerPart = field(default_factory=RankerPart)
    state: EngineState | None = None
    lists: QualityRecord | None = None
    linked: Mapping[str, Path] = field(default_factory=dict)

    @property
    def models(self) -> EngineState:
        """The state, once there is one."""
        assert self.state is not None
        return self.state

    @property
    def served(self) -> EngineState:
        """The state as it will answer."""
        return self.models.with_ranker(self.ranker.ranker)

    def with_facts(self, **facts: Any) -> Draft:
        """A copy with additional facts."""
        return replace(self, facts={**self.facts, **facts})

    def with_decisions(self, part: str, decisions: Sequence[Decision]) -> Draft:
        """A copy with the decisions of a part, in place of those it had."""
        table = {**self.facts.get(DECISIONS, {}), part: write_decisions(decisions)}
        return self.with_facts(**{DECISIONS: table})

    @property
    def decisions(self) -> list[Decision]:
        """Those of all parts."""
        return list(read_table(self.facts.get(DECISIONS, {})))

    def save(self, folder: Path, space: VectorSpace | None) -> None:
        """Write the files of the generation into an empty folder; those of linked parts are links.

        The space is that of the vectors of its own models; None = there is none.
        """
        for part, source in self.linked.items():
            shutil.copytree(source / part, folder / part, copy_function=link_or_copy)
        state = replace(self.models, ranker=self.ranker.ranker)
        save_state(state, folder, [part for part in PARTS if part not in self.linked])
        if RANKER not in self.linked:
            if self.ranker.older is not None:
                self.ranker.older.save(folder / OLDER_FOLDER)
            if self.ranker.record is not None:
                save_record(self.ranker.record, folder / RECORD_FILE)
        if space is not None:
            space.save(folder / SPACE_FOLDER)
        if self.lists is not None:
            save_record(self.lists, folder / LISTS_FILE)


PARTS_KEY = "parts"
"""Fact of a manifest: name of each part -> what it was made from, and what that cost."""


@dataclass(frozen=True, slots=True)
class PartInputs:
    """What the parts of one training are built from.

    Args:
        scratch: folder for files that the draft reads until it is published.
        current: the generation in force, of which parts are linked or continued; None = there is
            none that can be read.
        warm: whether models continue from the generation in force where that is possible.
    """

    context: JobContext
    scratch: Path
    current: Version | None = None
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a generation.

    Args:
        needs: names of the parts before it that it is made from.
        reads: what else it is made from: name for people -> plain value; of the context and the
            generation in force.
        build: adds the part to a draft that has the parts before it; None for the first part.
        link: adds that of the generation in force instead.
    """

    name: str
    needs: tuple[str, ...]
    reads: Callable[[JobContext, Version | None], Mapping[str, Any]]
    build: Callable[[PartInputs, Draft | None], Draft]
    link: Callable[[PartInputs, Draft | None, Version], Draft]


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Whether a part is built.

    Args:
        reason: why it is built; empty = it is linked.
        reads: name of each thing that it reads -> digest.
        fingerprint: of all of it, of the parts that it needs, and of the code.
    """

    part: str
    reason: str
    reads: Mapping[str, str]
    fingerprint: str

    def describe(self, generation: str) -> str:
        """A line for people; ``generation`` is in force."""
        told = f"built: {self.reason}" if self.reason else f"linked from {generation}"
        return f"{self.part:<12} {told}"


def plan_parts(
    parts: Sequence[Part],
    context: JobContext,
    current: Version | None,
    rebuild: bool = False,
    only: str = "",
) -> dict[str, PartPlan]:
    """Decide for all parts, each of which comes after those that it needs: name -> plan.

    ``rebuild`` builds all; ``only`` this part, and those that need it, empty = what has changed.

    Raises:
        ConfigError: there is no part ``only``, or another one that it does not need has changed.
    """
    plans: dict[str, PartPlan] = {}
    code = hash_code()
    known = {} if current is None else current.manifest.get(PARTS_KEY, {})
    for part in parts:
        reads = {name: _digest(value) for name, value in part.reads(context, current).items()}
        needed = [plans[name].fingerprint for name in part.needs]
        fingerprint = _digest([code, needed, reads])
        before = known.get(part.name)
        built = [name for name in part.needs if plans[name].reason]
        if rebuild or part.name == only:
            reason = "it was asked for"
        elif before is None:
            reason = "there is none to link"
        elif before["fingerprint"] == fingerprint and not built:
            reason = ""
        else:
            reason = _find_change(before["reads"], reads, built) or "the code has changed"
        plans[part.name] = PartPlan(part.name, reason, reads, fingerprint)
    if only:
        _require_alone(plans, parts, only)
    return plans


def build_parts(
    parts: Sequence[Part],
    plans: Mapping[str, PartPlan],
    inputs: PartInputs,
) -> Draft:
    """Build or link all parts, in their order."""
    current = inputs.current
    draft: Draft | None = None
    clock, made, linked = inputs.context.clock, dict[str, Any](), dict[str, Path]()
    for part in parts:
        plan, before = plans[part.name], len(clock.stages)
        if current is None or plan.reason:
            draft = part.build(inputs, draft)
            stages = clock.stages[before:]
            made[part.name] = {
                "fingerprint": plan.fingerprint,
                "reads": dict(plan.reads),
                "seconds": round(sum(stage.wall_s for stage in stages), 1),
                "cpu_s": round(sum(stage.cpu_s for stage in stages), 1),
            }
        else:
            draft = part.link(inputs, draft, current)
            linked[part.name] = current.folder
            made[part.name] = {"linked": current.name, **current.manifest[PARTS_KEY][part.name]}
    if draft is None:
        raise ConfigError("a generation has at least one part.")
    if current is not None and linked:
        draft = replace(draft, facts=_join_facts(current.manifest, draft.facts), linked=linked)
    return draft.with_facts(settings=inputs.context.settings.learned_from(), **{PARTS_KEY: made})


def _join_facts(before: Mapping[str, Any], built: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of what was built, and those of linked parts."""
    facts = {key: value for key, value in before.items() if key not in (*OWN_FACTS, "previous")}
    decisions = {**before.get(DECISIONS, {}), **built.get(DECISIONS, {})}
    return {**facts, **built, DECISIONS: decisions}


def _find_change(before: Mapping[str, str], now: Mapping[str, str], built: Sequence[str]) -> str:
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        return f"{', '.join(changed)} changed"
    return f"{', '.join(built)} is built" if built else ""


def _require_alone(plans: Mapping[str, PartPlan], parts: Sequence[Part], only: str) -> None:
    if only not in plans:
        raise ConfigError(f"there is no part {only!r}.", f"Parts are {', '.join(plans)}.")
    follow = {only}
    for part in parts:
        if follow & {*part.needs}:
            follow.add(part.name)
    for name, plan in plans.items():
        if plan.reason and name not in follow:
            raise ConfigError(
                f"{only} cannot be built alone: {name} would be built too, as {plan.reason}.",
                "Leave --only out; `serendip train --explain` tells what would be built.",
            )


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
