"""``serendip consume``: processes that are killed lose and double nothing; Kafka's client has a
broker inside that speaks the protocol."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from processes import wait_until

from serendip.data import Event
from serendip.engine.workspace import Workspace

COMMAND = [sys.executable, "-m", "serendip", "consume"]


def begin(folder: Path, source: str, *options: str, command: list[str] = COMMAND) -> Any:
    pipe = subprocess.PIPE
    arguments = [*command, source, "--workspace", os.fspath(folder), "--json", *options]
    return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def consume(folder: Path, lines: Iterable[str], *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and messages of a run over lines."""
    with begin(folder, "stdin", *options) as process:
        out, told = process.communicate("".join(f"{line}\n" for line in lines), timeout=120)
    return process.returncode, json.loads(out), told


def count(folder: Path) -> int:
    with closing(Workspace.open(folder).open_store()) as store:
        return store.log.count()


def history(folder: Path, user_id: str) -> list[Event]:
    with closing(Workspace.open(folder).open_store()) as store:
        return list(store.log.history(user_id, 10_000))


def row(number: int, **more: object) -> str:
    event = {"user_id": "streamed", "item_id": f"i{number % 60}", "event_id": f"e{number}"}
    return json.dumps(event | more)


def test_what_a_killed_process_was_given_is_stored_once_when_it_is_given_again(shop: Path) -> None:
    lines = [row(number) for number in range(6_000)]
    with begin(shop, "stdin") as process:
        process.stdin.write("\n".join(lines[:3_000]))
        process.stdin.flush()
        wait_until(lambda: history(shop, "streamed"), "the first batch", every_s=0.0)
        process.kill()
    stored = len(history(shop, "streamed"))
    assert 0 < stored <= 3_000
    code, summary, _ = consume(shop, lines)
    assert (code, summary) == (0, {"rows": 6_000, "new": 6_000 - stored, "left_out": 0})
    ids = [event.event_id for event in history(shop, "streamed")]
    assert len(ids) == len(set(ids)) == 6_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_batch_in_hand(shop: Path, number: signal.Signals) -> None:
    with begin(shop, "stdin") as process:
        process.stdin.write(f"{row(1)}\n{row(2)}\n")
        process.stdin.flush()
        wait_until(lambda: len(history(shop, "streamed")) == 2, "both rows", every_s=0.0)
        process.send_signal(number)
        assert json.loads(process.stdout.read())["rows"] == 2
    assert process.returncode == 0


WRONG = [
    row(1),
    '{"user_id": "streamed"}',
    "no JSON",
    "",
    row(2, timestamp="1 May"),
    row(3, surface="shelf"),
    row(4, colour="red"),
    f"[{row(5)}, {row(6)}]",
]


def test_a_wrong_row_is_named_and_left_out_and_strict_stops_at_it(shop: Path) -> None:
    code, summary, told = consume(shop, WRONG)
    assert (code, summary) == (0, {"rows": 3, "new": 3, "left_out": 5})
    assert {event.event_id for event in history(shop, "streamed")} == {"e1", "e5", "e6"}
    for line, why in {
        2: "neither item_id nor query",
        3: "the body is not JSON",
        5: "a time is a number of Unix seconds",
        6: "surface 'shelf' is not configured. Use one of: home",
        7: "colour is not known here. Known names: user_id",
    }.items():
        (message,) = (one for one in told.splitlines() if f"line {line}: " in one)
        assert why in message
    code, document, _ = consume(shop, [row(7), *WRONG[1:]], "--strict")
    assert (code, document["error"]["type"]) == (3, "data")
    assert document["error"]["message"].startswith("line 2: ")
    assert history(shop, "streamed")[-1].event_id == "e7"


def test_items_are_stored_as_posted_ones(shop: Path) -> None:
    items = [{"item_id": "n1", "title": "The lamp"}, {"item_id": "n1", "title": "The lighthouse"}]
    code, summary, told = consume(shop, [*map(json.dumps, items), '{"title": "x"}'], "--items")
    assert (code, summary["rows"], summary["left_out"]) == (0, 2, 1)
    assert "line 3: " in told
    with closing(Workspace.open(shop).open_store()) as store:
        assert store.item("n1").title == "The lighthouse"


def test_an_address_that_is_none_is_refused(shop: Path) -> None:
    for source in ("events.jsonl", "kafka://broker:9092", "kafka:///events?sasl.password=secret"):
        with begin(shop, source) as process:
            document = json.loads(process.communicate()[0])
        assert process.returncode == 2
        assert "Name stdin, or kafka://HOST:PORT/TOPIC" in document["error"]["hint"]
        assert "secret" not in document["error"]["message"]


@dataclass
class Broker:
    """A producer with a broker of its own."""

    producer: Any
    address: str = field(init=False)

    def __post_init__(self) -> None:
        (one,) = self.producer.list_topics(timeout=30).brokers.values()
        self.address = f"{one.host}:{one.port}"

    def send(self, topic: str, rows: Iterable[str]) -> None:
        for one in rows:
            self.producer.produce(topic, one.encode())
        assert self.producer.flush(30) == 0

    def source(self, topic: str) -> str:
        # A dead member of the group keeps its partitions for a session.
        return f"kafka://{self.address}/{topic}?group=shop&session.timeout.ms=6000"

    def committed(self, topic: str) -> int:
        """Messages of all partitions that the group has noted."""
        from confluent_kafka import Consumer, TopicPartition

        with closing(Consumer({"bootstrap.servers": self.address, "group.id": "shop"})) as one:
            partitions = one.list_topics(topic, timeout=30).topics[topic].partitions
            places = one.committed([TopicPartition(topic, n) for n in partitions], timeout=30)
        return sum(max(place.offset, 0) for place in places)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    kafka = pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")
    yield Broker(kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1}))


DIES_AFTER = """
import os, signal, sys
from serendip.serve import streams
store = streams.store
def store_and_die(*arguments):
    store(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
streams.store = store_and_die
from serendip.cli.main import main
main()
"""
"""The command, killed between the commit of the database and that of the offsets."""


def test_offsets_are_noted_after_the_database_has_the_rows_and_none_is_doubled(
    shop: Path, broker: Broker
) -> None:
    def send(number: int) -> str:
        event = {"user_id": "streamed", "item_id": f"i{number % 60}", "action": f"a{number}"}
        return json.dumps(event)

    source = broker.source("events")
    broker.send("events", [*map(send, range(1_500)), "no JSON"])
    with begin(shop, source, command=[sys.executable, "-c", DIES_AFTER, "consume"]) as process:
        process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    stored = len(history(shop, "streamed"))
    assert stored > 0
    assert broker.committed("events") == 0
    with begin(shop, source) as process:
        wait_until(lambda: len(history(shop, "streamed")) == 1_500, "all rows", every_s=0.0)
        wait_until(lambda: broker.committed("events") == 1_501, "the offsets", every_s=0.0)
        process.terminate()
        out, told = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(out) == {"rows": 1_500, "new": 1_500 - stored, "left_out": 1}
    assert "left out: events/" in told
    events = history(shop, "streamed")
    assert len({event.action for event in events}) == len(events) == 1_500
    assert len({event.event_id for event in events}) == 1_500


def test_a_row_has_the_time_of_its_message_and_the_id_of_its_sender(
    shop: Path, broker: Broker
) -> None:
    sent = 1_700_000_000.25
    rows = [row(1), row(1), json.dumps([{"user_id": "streamed", "query": "a"}] * 2)]
    for one in rows:
        broker.producer.produce("timed", one.encode(), timestamp=round(sent * 1000))
    broker.send("timed", [])
    with begin(shop, broker.source("timed")) as process:
        wait_until(lambda: broker.committed("timed") == 3, "the offsets", every_s=0.0)
        process.terminate()
    events = history(shop, "streamed")
    assert [event.timestamp for event in events] == [sent] * 3
    assert {event.event_id for event in events} > {"e1"}
    assert len({event.event_id for event in events}) == 3


def test_a_topic_that_is_not_there_is_an_error(shop: Path, broker: Broker) -> None:
    with begin(shop, broker.source("nothing")) as process:
        document = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 2
    assert "Unknown topic" in document["error"]["message"]
