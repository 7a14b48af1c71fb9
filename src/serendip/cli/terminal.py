"""Output and shared options of commands.

Results are printed on stdout, as text or as one JSON document; everything else goes to stderr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from serendip.engine.workspace import Workspace
    from serendip.jobs.context import JobContext
    from serendip.llm.runner import CostEstimate
    from serendip.runtime.progress import Progress, StageCost, TrainOptions

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", envvar="SERENDIP_WORKSPACE", help="Folder with serendip.toml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Root of all randomness.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Device of content encoders: cpu, cuda, mps.")
]
EstimateOption = Annotated[bool, typer.Option("--estimate", help="Only estimate the cost.")]


def build_group(name: str, text: str) -> typer.Typer:
    """A command of further commands."""
    return typer.Typer(name=name, help=text, no_args_is_help=True, rich_markup_mode=None)


def open_workspace(folder: Path) -> Workspace:
    """Open a workspace, whose module is imported no earlier: help needs none of it."""
    from serendip.engine.workspace import Workspace

    return Workspace.open(folder)


@dataclass(frozen=True, slots=True)
class Terminal:
    """Output of one command."""

    as_json: bool = False

    def say(self, *lines: str) -> None:
        """Print lines for people, on stderr if stdout carries JSON."""
        for line in lines:
            typer.echo(line, err=self.as_json)

    def print_stage(self, stage: StageCost) -> None:
        """Print seconds, CPU seconds and memory of a finished stage."""
        self.say(
            f"  {stage.name:<34} {stage.wall_s:7.1f} s   {stage.cpu_s:7.1f} CPU-s"
            f"   {stage.peak_mb:6.0f} MB"
        )

    def result(self, document: Mapping[str, Any]) -> None:
        """Print the result of the command with --json."""
        if self.as_json:
            typer.echo(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False))

    def print_estimate(self, cost: CostEstimate) -> None:
        """Print the number of questions, and what an LLM would cost."""
        self.say(
            f"{cost.questions:,} questions, {cost.known:,} of them in the ledger; "
            f"about {cost.price:.4g}, at most {cost.most:.4g} without repeated requests"
        )

    def print_incomplete(self, reason: str) -> None:
        """Print why an LLM job is incomplete, and the next step."""
        self.say(f"  {reason or 'some questions failed'}; run the command again to continue")

    def print_semantic_ids(self, codes: Mapping[str, Any]) -> None:
        """Print the collision rate of semantic IDs and the use of their codes."""
        share = 100 * codes["collision_rate"]
        self.say(f"  semantic IDs: {share:.1f} % of the items have the ID of another item")
        levels = zip(codes["used"], codes["dead"], codes["perplexity"], strict=True)
        for level, (used, dead, perplexity) in enumerate(levels):
            self.say(
                f"    level {level}: {used} of {used + dead} codes, perplexity {perplexity:.1f}"
            )

    def print_report(self, sentences: Iterable[str], page: Path) -> None:
        """Print the sentences of a report and where its page is."""
        self.say(*(f"  {sentence}" for sentence in sentences), f"Report: {page}")

    def print_space(self, space: Mapping[str, Any]) -> None:
        """Print whether the vector space was continued, and the agreement with the previous one."""
        values = [f"{value:.3f} ({part})" for part, value in space["agreement"].items()]
        cosines = f"; mean cosine of {space['items']:,} items {', '.join(values)}" if values else ""
        if not space["name"]:
            self.say(f"  vectors: {space['reason']}")
        elif space["kept"]:
            self.say(f"  vectors: space {space['name']} as in {space['aligned_to']}{cosines}")
        else:
            self.say(f"  vectors: new space {space['name']}: {space['reason']}{cosines}")

    def print_media(self, reports: Mapping[str, Any]) -> None:
        """Print the unusable pictures and sounds, with the reasons of the first ones."""
        for name, report in reports.items():
            if report["left_out"] or not report["named"]:
                self.say(f"  WARNING: {name}: {report['message']}")
            self.say(*(f"    {example}" for example in report["examples"]))

    def print_cut_short(self, budget: Mapping[str, Any]) -> None:
        """Print the trainings that the time budget cut short."""
        for cut in budget["cut_short"]:
            self.say(
                f"  cut short after {cut['seconds']:.0f} s: {cut['name']}, "
                f"{100 * cut['done']:.0f} % of its steps"
            )

    def options(self, seed: int = 0, device: str = "cpu") -> TrainOptions:
        """Execution options with progress on stderr."""
        from serendip.runtime.progress import TrainOptions, open_progress

        return TrainOptions(seed=seed, progress=open_progress(), device=device)

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Show what the ``with`` block does, which gets the progress for its parts."""
        progress = self.options().progress
        with progress.step(name):
            yield progress

    @contextmanager
    def job(
        self,
        name: str,
        workspace: Path,
        seed: int = 0,
        device: str = "cpu",
        budget: str | None = None,
        on_engine: bool = False,
    ) -> Iterator[JobContext]:
        """Context of a job that is shown while the ``with`` block runs, as are its stages; these
        are also printed, with their costs.

        Args:
            name: of the job.
            workspace: its folder.
            seed: root of all randomness.
            device: of the encoders.
            budget: time of the training, such as ``10m``; None = that of the settings.
            on_engine: whether it runs where ``[engine]`` says, and not in this process.
        """
        from serendip.jobs.context import JobContext
        from serendip.runtime.progress import StageClock

        options = self.options(seed, device)
        clock = StageClock(self.print_stage, options.progress)
        with options.progress.step(name):
            yield JobContext.open(workspace, options, clock, budget, on_engine)
