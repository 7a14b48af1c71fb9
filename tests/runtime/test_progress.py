import pickle

import pytest

from serendip.runtime.progress import (
    BarProgress,
    BothProgress,
    Progress,
    SilentProgress,
    StageClock,
    TextProgress,
)


class Lines:
    def __init__(self) -> None:
        self.now, self.written = 100.0, list[tuple[float, str]]()
        self.progress = TextProgress(self._write, 10.0, lambda: self.now, first_s=2.0)

    def _write(self, line: str) -> None:
        self.written.append((self.now - 100.0, line))


@pytest.fixture
def lines() -> Lines:
    return Lines()


def silent_text() -> TextProgress:
    return TextProgress(lambda text: None, 0.0)


@pytest.mark.parametrize(
    "progress",
    [SilentProgress(), silent_text(), BarProgress(), BothProgress(silent_text(), BarProgress())],
    ids=lambda progress: type(progress).__name__,
)
def test_progress_yields_what_it_follows_and_leaves_stdout_alone(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.step("all of it"):
        assert list(progress.track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_a_long_loop_writes_one_line_per_ten_seconds(lines: Lines) -> None:
    for _ in lines.progress.track(range(6), "epochs", 6, lambda: "loss 0.5"):
        lines.now += 4.0
    assert lines.written == [
        (4.0, "epochs: 1 of 6, 0:04 so far loss 0.5"),
        (16.0, "epochs: 4 of 6, 0:16 so far loss 0.5"),
    ]


def test_of_an_unknown_number_only_the_note_is_written(lines: Lines) -> None:
    for _ in lines.progress.track(range(2), "rows", None, lambda: "7"):
        lines.now += 10.0
    assert lines.written == [(10.0, "rows, 0:10 so far 7"), (20.0, "rows, 0:20 so far 7")]


def test_short_work_writes_nothing_and_a_later_step_its_name(lines: Lines) -> None:
    with lines.progress.step("reading"):
        lines.now += 3.0
    assert lines.written == []
    clock = StageClock(progress=lines.progress)
    with clock.stage("word index"):
        pass
    assert lines.written == [(3.0, "word index")]


@pytest.mark.parametrize("progress", [silent_text(), BarProgress()])
def test_in_another_process_it_is_silent(progress: Progress) -> None:
    assert isinstance(pickle.loads(pickle.dumps(progress)), SilentProgress)  # noqa: S301


def test_an_error_ends_the_bars(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BarProgress()
    with pytest.raises(KeyError), progress.step("fails"):
        raise KeyError
    assert list(progress.track("a", "goes on", 1)) == ["a"]
    assert capsys.readouterr().out == ""
