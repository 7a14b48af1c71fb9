import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from tiny_engine import TinyEngine, TinyStore, film
from wire_client import WireClient

from serendip.data import Item
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.engine.artefacts.training_record import TrainingRecord
from serendip.errors import ArtefactError, NotTrainedError, StorageError
from serendip.serve.app import open_application
from serendip.serve.engine_holder import RETRY_S, EngineHolder, PublishedGenerations
from serendip.serve.gate import EngineGate
from serendip.serve.server_options import LOCAL


def test_a_request_keeps_its_engine_and_the_old_one_closes_after_it():
    old, new = TinyEngine(generation="gen-1"), TinyEngine(generation="gen-2")
    holder = EngineHolder()
    holder.swap(old)
    with holder.lease() as first, holder.lease() as second:
        holder.swap(new)
        assert first is second is old
        assert holder.generation == "gen-2"
        assert not old.is_closed
        with holder.lease() as third:
            assert third is new
    assert old.is_closed
    assert not new.is_closed


def write(pool: EngineGate, *calls: Callable[[TinyEngine], object]) -> None:
    for call in calls:
        asyncio.run(pool.write(call))  # type: ignore[arg-type]


def read_items(pool: EngineGate, *item_ids: str) -> list[Item | None]:
    return asyncio.run(pool.read(lambda engine: [engine.item(item_id) for item_id in item_ids]))


def add_99(engine: TinyEngine) -> object:
    return engine.add_items([film(99)])


class Counting(TinyEngine):
    readings = 0

    def catch_up(self) -> None:
        self.readings += 1
        super().catch_up()


def test_writes_through_a_replaced_engine_are_in_the_next_answer_of_the_current_one():
    store: TinyStore = []
    old, new = TinyEngine(store=store), TinyEngine(generation="gen-2", store=store)
    holder = EngineHolder()
    pool = EngineGate(holder)
    holder.swap(old)

    def swap_and_write(engine: TinyEngine) -> None:
        holder.swap(new)
        assert engine is old
        assert not old.is_closed
        engine.delete_item("f1")
        add_99(engine)

    write(pool, swap_and_write)
    assert old.is_closed
    assert read_items(pool, "f1", "f99") == [None, film(99)]
    assert new.item("f99") == film(99)


def test_an_engine_reads_the_store_before_an_answer_only_if_a_write_is_missing():
    store: TinyStore = []
    holder = EngineHolder()
    pool = EngineGate(holder)
    engine = Counting(store=store)
    holder.swap(engine)
    at_first = engine.readings
    write(pool, add_99)
    assert read_items(pool, "f99") == [film(99)]
    assert engine.readings == at_first
    other = TinyEngine(store=store)
    other.delete_item("f1")
    assert read_items(pool, "f1") == [film(1)]  # nobody has acknowledged it
    holder.shared.acknowledge(other.item_version)
    assert read_items(pool, "f1") == read_items(pool, "f1") == [None]
    assert engine.readings == at_first + 1


def test_a_store_that_cannot_be_read_fails_no_read_and_is_read_later(caplog):
    store: TinyStore = []
    looks = threading.Semaphore(0)

    class Reading(TinyEngine):
        is_broken = False

        def catch_up(self) -> None:
            if self.is_broken:
                raise StorageError("the store is busy.")
            super().catch_up()

        def read_items(self) -> None:
            looks.release()
            self.catch_up()

    engine, holder = Reading(store=store), EngineHolder()
    pool = EngineGate(holder)
    holder.swap(engine)
    engine.is_broken = True
    other = TinyEngine(store=store)
    other.delete_item("f1")
    holder.shared.acknowledge(other.item_version)
    assert read_items(pool, "f1") == read_items(pool, "f1") == [film(1)]
    with holder.watching(every_s=0.001):
        for _ in range(20):
            assert looks.acquire(timeout=10)
    told = [record.message for record in caplog.records if "read" in record.message]
    assert sum("item-watch" in message for message in told) == 1
    engine.is_broken = False
    holder.with_engine(Reading.catch_up)  # type: ignore[arg-type]
    assert read_items(pool, "f1") == [None]


def test_no_answer_mixes_two_generations_while_engines_are_swapped():
    client = WireClient()
    stop = threading.Event()

    def swap() -> None:
        number = 1
        while not stop.is_set():
            number += 1
            client.holder.swap(TinyEngine(generation=f"gen-{number}"))

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(100):
            response = client.get("/v1/search", params={"q": "film"})
            assert response.status_code == 200
            assert response.headers["x-generation"] == response.json()["generation"]
    finally:
        stop.set()
        swapper.join()


def test_a_storage_problem_is_read_from_memory_and_logged_once(caplog):
    problems = ["", "database s.db was deleted.", "database s.db was deleted.", ""]

    class Losing(TinyEngine):
        def storage_problem(self) -> str:
            return problems.pop(0)

    holder = EngineHolder()
    caplog.set_level("ERROR")
    holder.check_storage()
    holder.swap(Losing())
    seen = []
    for _ in range(4):
        holder.check_storage()
        seen.append((holder.storage_problem, holder.is_degraded))
    lost = ("database s.db was deleted.", True)
    assert seen == [("", False), lost, lost, ("", False)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "s.db was deleted" in caplog.text


class Shelf:
    """Published generations that a test makes and breaks."""

    def __init__(self, current: str = "gen-1") -> None:
        self.current = current
        self.wrong: dict[str, Exception] = {}
        self.opened: list[str] = []
        self.earlier: Callable[[], TinyEngine] = self._none
        published = PublishedGenerations(self.open, self.name, lambda: self.earlier())
        self.holder = EngineHolder(published)

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
            self.holder.check(moment)
        return self.opened


@pytest.fixture
def shelf() -> Shelf:
    """gen-1 is published and answers."""
    shelf = Shelf()
    shelf.holder.check(0.0)
    return shelf


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
    shelf.holder.check(0.0)
    assert (shelf.holder.generation, shelf.holder.refused_generation) == ("gen-2", "gen-3")
    assert "gen-3 is damaged." in caplog.text
    assert shelf.check_at(0.5) == []
    assert shelf.check_at(RETRY_S) == ["gen-3"]
    shelf.current = "gen-2"  # a rollback
    assert shelf.check_at(RETRY_S + 1) == []
    assert not shelf.holder.is_degraded


def test_at_the_start_nothing_replaces_a_generation_but_a_whole_one_of_a_damaged_one() -> None:
    shelf = Shelf("gen-3")
    shelf.earlier = lambda: TinyEngine(generation="gen-2")
    shelf.wrong["gen-3"] = StorageError("database serendip.db does not exist.")
    with pytest.raises(StorageError, match="does not exist"):
        shelf.holder.check(0.0)
    assert not shelf.holder.generation

    shelf = Shelf("gen-3")
    shelf.wrong["gen-3"] = ArtefactError("gen-3 is damaged.")
    with pytest.raises(ArtefactError, match="gen-3 is damaged"):
        shelf.holder.check(0.0)


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
    record = TrainingRecord("refused", message="worse", failures=2, ended=12.5)
    client.holder._published = PublishedGenerations(last_training=lambda: record)
    client.holder.check(1.0)
    text = client.get("/metrics").text
    for result, value in (("refused", 1.0), ("failed", 0.0), ("published", 0.0)):
        assert f'serendip_last_training{{result="{result}"}} {value}' in text
    assert "serendip_failed_trainings 2.0" in text
    assert "serendip_last_training_end_seconds 12.5" in text


def test_a_pointer_that_takes_long_delays_no_foreign_write() -> None:
    asked, answer, looked = threading.Event(), threading.Event(), threading.Event()

    class Watched(TinyEngine):
        def read_items(self) -> None:
            looked.set()

    def current() -> str:
        asked.set()
        answer.wait(20)
        return "gen-1"

    holder = EngineHolder(PublishedGenerations(current=current))
    holder.swap(Watched(generation="gen-1"))
    with holder.watching(every_s=0.001):
        assert asked.wait(10)
        looked.clear()
        assert looked.wait(10)
        answer.set()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"workspace-watch", "item-watch"}


def test_what_was_opened_is_closed_where_the_rest_cannot_be_opened() -> None:
    engine = TinyEngine()

    def open_keys() -> ApiKeys:
        raise StorageError("the keys cannot be read.")

    published = PublishedGenerations(lambda: engine)
    opened = open_application(published, replace(LOCAL, open_keys=open_keys))
    with pytest.raises(StorageError), opened:
        raise AssertionError("it was opened")
    assert engine.is_closed
