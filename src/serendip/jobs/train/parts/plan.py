"""Which parts of a generation a training builds, and why.

A part is built if what it reads is not what the same part of the generation in force was made from,
or if a part that it needs is built; else its folder is linked. What a part reads is known before
anything is built, so ``serendip train --explain`` tells all of it. Parts are folders of a draft,
which becomes a generation when it is published.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serendip.engine.state import EngineState
from serendip.engine.state_parts import CONTENT, CatalogueContent, open_models
from serendip.errors import ConfigError
from serendip.evaluate.decision import DECISIONS
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.model import DistilledModel
from serendip.jobs.train.fingerprint import hash_code
from serendip.runtime.atomic_files import link_or_copy
from serendip.runtime.versions import OWN_FACTS, Version

PARTS_KEY = "parts"
"""Fact of a manifest: name of each part -> what it was made from, and what that cost."""


@dataclass(frozen=True, eq=False)
class PartInputs:
    """What the parts of one training are built from.

    Args:
        current: the generation in force, of which parts are linked or continued; None = there is
            none that can be read.
        distilled: new relevance models by the surface of their labels.
        scratch: folder for files that nobody reads once the training has ended.
        warm: whether models continue from the generation in force where that is possible.
    """

    context: JobContext
    current: Version | None = None
    distilled: Mapping[str, DistilledModel] = field(default_factory=dict)
    scratch: Path = Path()
    warm: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the draft, with the parts that were built before."""
        return self.scratch / "draft"

    @cached_property
    def content(self) -> CatalogueContent:
        """The part ``CONTENT``, with what the items say in words."""
        content, reader = CatalogueContent.open(self.folder / CONTENT), self.context.settings
        items = self.context.dataset.catalogue.items
        features = content.features.read_by(reader.token_reader, items)
        return replace(content, features=features)

    @cached_property
    def models(self) -> EngineState:
        """The parts ``CONTENT`` and ``MODELS``."""
        return open_models(self.folder)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a generation.

    Args:
        needs: names of the parts before it that it is made from.
        reads: what else it is made from: name for people -> plain value; of the context, the
            generation in force and new relevance models.
        build: writes the part into its folder of the draft, which has the parts before it; facts
            for the manifest.
    """

    name: str
    needs: tuple[str, ...]
    reads: Callable[[PartInputs], Mapping[str, Any]]
    build: Callable[[PartInputs], Mapping[str, Any]]


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
    parts: Sequence[Part], inputs: PartInputs, rebuild: bool = False, only: str = ""
) -> dict[str, PartPlan]:
    """Decide for all parts, each of which comes after those that it needs: name -> plan.

    ``rebuild`` builds all; ``only`` this part, and those that need it, empty = what has changed.

    Raises:
        ConfigError: there is no part ``only``, or another one that it does not need has changed.
    """
    plans: dict[str, PartPlan] = {}
    code, current = hash_code(), inputs.current
    known = {} if current is None else current.manifest.get(PARTS_KEY, {})
    for part in parts:
        reads = {name: _digest(value) for name, value in part.reads(inputs).items()}
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
    parts: Sequence[Part], plans: Mapping[str, PartPlan], inputs: PartInputs
) -> dict[str, Any]:
    """Build or link all parts, in their order; facts for the manifest."""
    current, clock, made = inputs.current, inputs.context.clock, dict[str, Any]()
    built, decisions = dict[str, Any](), dict[str, Any]()
    for part in parts:
        plan, begin = plans[part.name], len(clock.stages)
        folder = inputs.folder / part.name
        if current is not None and not plan.reason:
            link_folder(current.folder / part.name, folder)
            made[part.name] = {"linked": current.name, **current.manifest[PARTS_KEY][part.name]}
            continue
        folder.mkdir(parents=True)
        facts = dict(part.build(inputs))
        decisions |= facts.pop(DECISIONS, {})
        built |= facts
        stages = clock.stages[begin:]
        made[part.name] = {
            "fingerprint": plan.fingerprint,
            "reads": dict(plan.reads),
            "seconds": round(sum(stage.wall_s for stage in stages), 1),
            "cpu_s": round(sum(stage.cpu_s for stage in stages), 1),
        }
    before = {} if current is None else current.manifest
    linked = {key: value for key, value in before.items() if key not in (*OWN_FACTS, "previous")}
    return {
        **linked,
        **built,
        DECISIONS: {**before.get(DECISIONS, {}), **decisions},
        PARTS_KEY: made,
        "settings": inputs.context.settings.learned_from(),
    }


def link_folder(source: Path, target: Path) -> None:
    """Link all files of a folder into one that may exist."""
    shutil.copytree(source, target, copy_function=link_or_copy, dirs_exist_ok=True)


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
