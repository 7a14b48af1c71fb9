"""Progress that people see, with a clock that the tests move."""

from __future__ import annotations

import copy

import pytest

from serendip.runtime.progress import BothProgress, Progress, SilentProgress
from serendip.runtime.progress_display import BarProgress, LineProgress
from serendip.runtime.progress_steps import estimate_left, format_clock
from serendip.runtime.timing import StageClock


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Lines:
    """Progress as lines, under a clock; only loops and ``wait`` look whether a line is due."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.written: list[tuple[float, str]] = []
        self.progress = LineProgress(self._write, self.clock, wake_s=None)

    def _write(self, line: str) -> None:
        self.written.append((self.clock.now - 100.0, line))

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time, as the thread of a real display would see it."""
        for _ in range(int(seconds)):
            self.clock.now += 1.0
            self.progress.tick()


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.mark.parametrize(
    "progress",
    [SilentProgress(), LineProgress(), BarProgress(), BothProgress(LineProgress(), BarProgress())],
    ids=lambda progress: type(progress).__name__,
)
def test_progress_yields_what_it_follows_and_leaves_stdout_alone(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.step("all of it", lambda: 0.5):
        assert list(progress.track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_a_long_loop_writes_one_line_per_ten_seconds_with_the_time_left(lines: Lines) -> None:
    for _ in lines.progress.track(range(10), "epochs", 10):
        lines.wait(6)
    assert lines.written == [
        (2.0, "  epochs: 0 of 10, 0 %, 0:02 so far"),
        (12.0, "  epochs: 1 of 10, 10 %, 0:12 so far, about 0:48 left"),
        (22.0, "  epochs: 3 of 10, 30 %, 0:22 so far, about 0:38 left"),
        (32.0, "  epochs: 5 of 10, 50 %, 0:32 so far, about 0:28 left"),
        (42.0, "  epochs: 6 of 10, 60 %, 0:42 so far, about 0:18 left"),
        (52.0, "  epochs: 8 of 10, 80 %, 0:52 so far, about 0:08 left"),
    ]


def test_a_part_that_takes_longer_than_all_before_names_no_time_left(lines: Lines) -> None:
    for number in lines.progress.track(range(2), "epochs", 2):
        lines.wait(4 if number == 0 else 20)
    assert [line for _, line in lines.written] == [
        "  epochs: 0 of 2, 0 %, 0:02 so far",
        "  epochs: 1 of 2, 50 %, 0:12 so far",
        "  epochs: 1 of 2, 50 %, 0:22 so far",
    ]


def test_work_that_takes_no_two_seconds_writes_nothing(lines: Lines) -> None:
    for _ in range(20):
        with lines.progress.step("short"):
            lines.wait(1)
    assert lines.written == []


def test_steps_one_after_the_other_share_one_line_per_ten_seconds(lines: Lines) -> None:
    for name in "abcdef":
        with lines.progress.step(name):
            lines.wait(4)
    assert lines.written == [
        (2.0, "  a: 0:02 so far"),
        (12.0, "  c: 0:04 so far"),
        (22.0, "  f: 0:02 so far"),
    ]


def test_the_innermost_step_is_named_with_its_note(lines: Lines) -> None:
    with lines.progress.step("train"):
        for _ in lines.progress.track("ab", "epochs", 2, lambda: "loss 0.5"):
            lines.wait(2)
        lines.wait(10)
    assert [line for _, line in lines.written] == [
        "  epochs: 0 of 2, 0 %, 0:02 so far  loss 0.5",
        "  train: 0:12 so far",
    ]


def test_a_share_that_is_asked_for_gives_the_time_left(lines: Lines) -> None:
    with lines.progress.step("in another process", lambda: 0.25):
        lines.wait(3)
    assert lines.written[0][1] == "  in another process: 25 %, 0:02 so far, about 0:06 left"


def test_a_stage_is_shown_while_it_runs(lines: Lines) -> None:
    clock = StageClock(progress=lines.progress)
    with clock.stage("publish"):
        lines.wait(5)
    assert lines.written == [(2.0, "  publish: 0:02 so far")]
    lines.wait(30)
    assert len(lines.written) == 1


def test_a_loop_that_fails_is_not_shown_any_longer(lines: Lines) -> None:
    with pytest.raises(ValueError, match="no"):
        for _ in lines.progress.track("ab", "letters", 2):
            raise ValueError("no")
    lines.wait(30)
    assert lines.written == []


@pytest.mark.parametrize("progress", [LineProgress(), BarProgress()])
def test_progress_reaches_other_processes_without_its_running_steps(progress: Progress) -> None:
    with progress.step("here"):
        there = copy.deepcopy(progress)  # as pickling does
    assert type(there) is type(progress)
    assert list(there.track("ab", "letters", 2)) == ["a", "b"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (9.6, "0:10"), (125, "2:05"), (3725, "1:02:05")]
)
def test_times_are_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert format_clock(seconds) == text


@pytest.mark.parametrize(
    ("taken", "share", "left"), [(10, 0.25, 30), (10, 1.0, 0), (10, 0.09, None), (10, None, None)]
)
def test_the_rest_takes_as_long_as_what_is_done(
    taken: float, share: float | None, left: float | None
) -> None:
    assert estimate_left(taken, share) == left
