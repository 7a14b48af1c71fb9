"""Following the published generation: what is opened, refused and opened again."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tiny_engine import TinyEngine
from wire_client import WireClient

from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.errors import ArtefactError, NotTrainedError, StorageError
from serendip.serve.engine_holder import (
    RETRY_S,
    EngineHolder,
    Follower,
    PublishedGenerations,
)


class Shelf:
    """Published generations that a test makes and breaks."""

    def __init__(self, current: str = "gen-1") -> None:
        self.current = current
        self.wrong: dict[str, Exception] = {}
        self.opened: list[str] = []
        self.earlier: Callable[[], TinyEngine] = self._none
        self.holder = EngineHolder()
        published = PublishedGenerations(self.open, self.name, lambda: self.earlier())
        self.follower = Follower(self.holder, published)

    def name(self) -> str:
        if "pointer" in self.wrong:
            raise self.wrong["pointer"]
        return self.current

    def open(self) -> TinyEngine:
        self.name()
        self.opened.append(self.current)
        if self.current in self.wrong:
            raise self.wrong[self.current]
        return TinyEngine(generation=self.current)

    def _none(self) -> TinyEngine:
        raise NotTrainedError("there is none before it.")

    def check_at(self, *moments: float) -> list[str]:
        """Generations opened by checks at these moments."""
        self.opened.clear()
        for moment in moments:
            self.follower.check(moment)
        return self.opened


@pytest.fixture
def shelf() -> Shelf:
    """gen-1 is published and answers."""
    shelf = Shelf()
    shelf.follower.begin(0.0)
    return shelf


def test_a_new_generation_is_followed_and_opened_once(shelf: Shelf) -> None:
    shelf.current = "gen-2"
    assert shelf.check_at(1, 2, 3) == ["gen-2"]
    assert shelf.holder.generation == "gen-2"
    assert not shelf.holder.is_degraded


@pytest.mark.parametrize(
    "failure",
    [StorageError("database is locked."), MemoryError("no room"), ArtefactError("damaged.")],
)
def test_a_generation_that_was_refused_is_opened_again(shelf: Shelf, failure: Exception) -> None:
    shelf.current = "gen-2"
    shelf.wrong["gen-2"] = failure
    assert shelf.check_at(1) == ["gen-2"]
    assert (shelf.holder.generation, shelf.holder.refused_generation) == ("gen-1", "gen-2")
    assert shelf.holder.is_degraded
    del shelf.wrong["gen-2"]
    assert shelf.check_at(1.5, 1 + RETRY_S - 0.1) == []
    assert shelf.check_at(1 + RETRY_S) == ["gen-2"]
    assert (shelf.holder.generation, shelf.holder.refused_generation) == ("gen-2", "")
    assert shelf.holder.failed_loads == 1
    assert not shelf.holder.is_degraded


def test_the_next_publication_and_a_rollback_end_a_refusal(shelf: Shelf) -> None:
    for name, opened in (("gen-3", ["gen-3"]), ("gen-1", ["gen-1"])):
        shelf.current = "gen-2"
        shelf.wrong["gen-2"] = ArtefactError("gen-2 is damaged.")
        shelf.check_at(1)
        assert shelf.holder.refused_generation == "gen-2"
        shelf.current = name
        assert shelf.check_at(2, 3) == opened
        assert (shelf.holder.generation, shelf.holder.refused_generation) == (name, "")


def test_a_pointer_that_cannot_be_read_is_logged_once_and_the_old_engine_answers(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.wrong["pointer"] = ArtefactError("CURRENT says nothing.")
    assert shelf.check_at(1, 2, 3) == []
    assert (shelf.holder.generation, shelf.holder.refused_generation) == ("gen-1", "unreadable")
    assert (caplog.text.count("CURRENT says nothing."), shelf.holder.failed_loads) == (1, 1)
    del shelf.wrong["pointer"]
    shelf.check_at(4)
    assert not shelf.holder.is_degraded


def test_at_the_start_an_earlier_generation_replaces_a_damaged_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf("gen-3")
    shelf.wrong["gen-3"] = ArtefactError("gen-3 is damaged.")
    shelf.earlier = lambda: TinyEngine(generation="gen-2")
    shelf.follower.begin(0.0)
    assert (shelf.holder.generation, shelf.holder.refused_generation) == ("gen-2", "gen-3")
    assert "gen-3 is damaged." in caplog.text
    assert shelf.check_at(0.5) == []
    assert shelf.check_at(RETRY_S) == ["gen-3"]
    shelf.current = "gen-2"  # a rollback
    assert shelf.check_at(RETRY_S + 1) == []
    assert not shelf.holder.is_degraded


def test_at_the_start_nothing_replaces_a_generation_with_a_temporary_failure() -> None:
    shelf = Shelf("gen-3")
    shelf.earlier = lambda: TinyEngine(generation="gen-2")
    shelf.wrong["gen-3"] = StorageError("database serendip.db does not exist.")
    with pytest.raises(StorageError, match="does not exist"):
        shelf.follower.begin(0.0)
    assert not shelf.holder.is_ready


def test_if_all_are_damaged_the_start_fails_with_the_error_of_the_published_one() -> None:
    shelf = Shelf("gen-3")
    shelf.wrong["gen-3"] = ArtefactError("gen-3 is damaged.")
    with pytest.raises(ArtefactError, match="gen-3 is damaged"):
        shelf.follower.begin(0.0)


def test_ready_and_metrics_name_the_generation_refused_and_the_storage_problem() -> None:
    client = WireClient()
    assert "serendip_takes_writes 1.0" in client.get("/metrics").text
    client.holder.refused_generation = "gen-9"
    client.holder.storage_problem = "database s.db was deleted."
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "generation": "gen-1",
        "workers": 1,
        "degraded": True,
        "refused_generation": "gen-9",
        "storage_problem": "database s.db was deleted.",
    }
    text = client.get("/metrics").text
    assert 'serendip_refused_generation_info{generation="gen-9"} 1.0' in text
    assert "serendip_takes_writes 0.0" in text
    client.holder.refused_generation = ""
    assert "gen-9" not in client.get("/metrics").text


def test_the_metrics_say_how_the_last_training_ended() -> None:
    client = WireClient()
    assert "serendip_last_training" not in client.get("/metrics").text
    client.holder.last_training = TrainingRecord("refused", message="worse", failures=2, ended=12.5)
    text = client.get("/metrics").text
    for result, value in (("refused", 1.0), ("failed", 0.0), ("published", 0.0)):
        assert f'serendip_last_training{{result="{result}"}} {value}' in text
    assert "serendip_failed_trainings 2.0" in text
    assert "serendip_last_training_end_seconds 12.5" in text


def test_the_follower_reads_how_the_last_training_ended() -> None:
    holder, record = EngineHolder(), TrainingRecord("published", "gen-2", ended=1.0)
    published = PublishedGenerations(TinyEngine, lambda: "gen-1", last_training=lambda: record)
    follower = Follower(holder, published)
    follower.begin(0.0)
    assert holder.last_training is None
    follower.check(1.0)
    assert holder.last_training is record


def test_a_pointer_that_takes_long_delays_no_foreign_write() -> None:
    asked, answer, looked = threading.Event(), threading.Event(), threading.Event()

    class Watched(TinyEngine):
        def follow_items(self) -> None:
            looked.set()

    def current() -> str:
        asked.set()
        answer.wait(20)
        return "gen-1"

    holder = EngineHolder()
    holder.swap(Watched(generation="gen-1"))
    follower = Follower(holder, PublishedGenerations(TinyEngine, current))
    follower.watch(every_s=0.001)
    try:
        assert asked.wait(10)
        looked.clear()
        assert looked.wait(10)
    finally:
        answer.set()
        follower.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"generation-watch", "store-watch"}
