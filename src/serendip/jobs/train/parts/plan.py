"""Which parts of a generation a training builds, and why.

A part is built if what it reads is not what the same part of the generation in force was made from,
or if a part that it needs is built; else its files are linked. What a part reads is known before
anything is built, so ``serendip train --explain`` tells all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError
from serendip.jobs.context import JobContext
from serendip.jobs.train.draft import Draft
from serendip.jobs.train.fingerprint import hash_code
from serendip.runtime.versions import Version

PARTS_KEY = "parts"
"""Fact of a manifest: name of each part -> what it was made from, and what that cost."""


@dataclass(frozen=True, slots=True)
class PartInputs:
    """What the parts of one training are built from.

    Args:
        context: workspace, data, encoders, seed, progress and time.
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
        name: of it.
        needs: names of the parts before it that it is made from.
        reads: what else it is made from: name for people -> plain value.
        build: puts it into the draft, which has those that it needs, in place of that of the
            generation in force if the draft is linked to it; None = there is no draft yet.
    """

    name: str
    needs: tuple[str, ...]
    reads: Callable[[JobContext], Mapping[str, Any]]
    build: Callable[[PartInputs, Draft | None], Draft]


@dataclass(frozen=True, slots=True)
class PartPlan:
    """Whether a part is built.

    Args:
        part: its name.
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
    """Decide for all parts: name -> plan.

    Args:
        parts: in an order in which each comes after those that it needs.
        context: of the training.
        current: the generation in force; None = there is none that can be read.
        rebuild: build all.
        only: build this part, and those that need it; empty = what has changed.

    Raises:
        ConfigError: there is no part ``only``, or another one that it does not need has changed.
    """
    plans: dict[str, PartPlan] = {}
    code = hash_code()
    known = {} if current is None else current.manifest.get(PARTS_KEY, {})
    for part in parts:
        reads = {name: _digest(value) for name, value in part.reads(context).items()}
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
    """Build or link all parts, in their order.

    All others need the first one. So where any is linked, that one is, and the draft begins with
    the whole generation in force.
    """
    current = inputs.current
    draft: Draft | None = None
    clock, made = inputs.context.clock, dict[str, Any]()
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
            draft = draft or Draft.link(current)
            made[part.name] = {"linked": current.name, **current.manifest[PARTS_KEY][part.name]}
    if draft is None:
        raise ConfigError("a generation has at least one part.")
    facts = {"settings": inputs.context.settings.learned_from(), PARTS_KEY: made}
    return draft.with_state(draft.state, **facts)


def _find_change(before: Mapping[str, str], now: Mapping[str, str], built: Sequence[str]) -> str:
    """What has changed of what a part reads; empty = nothing."""
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
