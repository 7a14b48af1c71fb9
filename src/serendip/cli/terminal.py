"""What commands print: data on stdout (text or one JSON document), everything else on stderr.

What commands that may ask an LLM are told about money.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serendip.errors import ConfigError

if TYPE_CHECKING:
    from serendip.runtime.progress import TrainOptions
    from serendip.runtime.timing import StageCost

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", envvar="SERENDIP_WORKSPACE", help="Folder with serendip.toml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Root of all randomness.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where encoders of content run: cpu, cuda, mps.")
]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Output of one command."""

    as_json: bool = False

    def say(self, text: str = "") -> None:
        """A line for people, on stderr where stdout carries JSON."""
        typer.echo(text, err=self.as_json)

    def stage(self, stage: StageCost) -> None:
        """One line per stage as it ends: seconds, CPU seconds, memory."""
        self.say(
            f"  {stage.name:<34} {stage.wall_s:7.1f} s   {stage.cpu_s:7.1f} CPU-s"
            f"   {stage.peak_mb:6.0f} MB"
        )

    def result(self, document: Mapping[str, Any]) -> None:
        """The command's result, where JSON was asked for."""
        if self.as_json:
            typer.echo(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))

    def semantic_ids(self, codes: Mapping[str, Any]) -> None:
        """How well the codes tell items apart, and per level how evenly they are used."""
        share = 100 * codes["collision_rate"]
        self.say(f"  semantic IDs: {share:.1f} % of the items share theirs with another one")
        self.code_use(codes)

    def code_use(self, codes: Mapping[str, Any]) -> None:
        """Per level of the semantic IDs how evenly the codes are used."""
        levels = zip(codes["used"], codes["dead"], codes["perplexity"], strict=True)
        for level, (used, dead, perplexity) in enumerate(levels):
            self.say(
                f"    level {level}: {used} of {used + dead} codes, perplexity {perplexity:.1f}"
            )

    def space(self, told: Mapping[str, Any]) -> None:
        """Whether the space of vectors stays, and how near its items are to where they were."""
        agreed = [f"{value:.3f} ({part})" for part, value in told["agreement"].items()]
        near = f"; mean cosine of {told['items']:,} items {', '.join(agreed)}" if agreed else ""
        if not told["name"]:
            self.say(f"  vectors: {told['reason']}")
        elif told["kept"]:
            self.say(f"  vectors: space {told['name']} as in {told['aligned_to']}{near}")
        else:
            self.say(f"  vectors: space {told['name']} begins: {told['reason']}{near}")

    def media(self, reports: Mapping[str, Any]) -> None:
        """Pictures and sounds that could not be used, the first of them with the reason."""
        for name, report in reports.items():
            if report["left_out"] or not report["named"]:
                self.say(f"  WARNING: {name}: {report['message']}")
            for example in report["examples"]:
                self.say(f"    {example}")

    def options(self, seed: int = 0, device: str = "cpu") -> TrainOptions:
        """Training options that draw progress bars on stderr."""
        from serendip.runtime.progress import RichProgress, TrainOptions

        return TrainOptions(seed=seed, progress=RichProgress(), device=device)


def asked_budget(llm: bool, budget: float | None, estimate: bool) -> float | None:
    """What all runs of a job may cost; None = no LLM is asked.

    An estimate needs no budget: it sends nothing.

    Raises:
        ConfigError: an LLM without a budget, or a budget or an estimate without an LLM.
    """
    if llm:
        if budget is None and not estimate:
            raise ConfigError("--llm without --budget.", "Say what all runs may cost, 0 = nothing.")
        return budget or 0.0
    if budget is not None or estimate:
        option = "--estimate" if estimate else "--budget"
        raise ConfigError(f"{option} without --llm.", "Add --llm; without it nothing costs money.")
    return None
