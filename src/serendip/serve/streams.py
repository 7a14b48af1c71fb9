"""Rows of a stream, into the store: lines of standard input, or the messages of a Kafka topic.

A source is a generator of batches: it is asked for the next one once the last one is stored, and
notes only then how far it is. So a message comes at least once. What comes again, after a kill or
a rebalance, is known by the ids of its events, or replaces an item by itself: it is stored exactly
once. A message holds what ``POST /v1/events`` or ``POST /v1/items`` accepts, by the same types.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter

from serendip.data import Event, Item
from serendip.errors import ConfigError, DataError, UnsupportedError
from serendip.runtime.extras import of_extra
from serendip.serve.api.requests import EventRows, ItemRows
from serendip.serve.api.strict_route import parse
from serendip.serve.api.types import read

_log = logging.getLogger(__name__)

# A batch is what arrives in so many seconds, or about so many messages.
BATCH_S, BATCH_ROWS = 0.2, 1_000
_DEFAULTS = {"auto.offset.reset": "earliest", "reconnect.backoff.ms": "2000"}  # of librdkafka
_EVENTS, _ITEMS = TypeAdapter(EventRows), TypeAdapter(ItemRows)


class Message(NamedTuple):
    """What a source gives: a body of the API.

    Args:
        place: where it was, for people.
        message_id: the same whenever it comes again; empty = the source has none.
        sent_at: Unix seconds; None = not known.
    """

    place: str
    body: bytes
    message_id: str = ""
    sent_at: float | None = None


Batches = Generator[list[Message], None, None]  # ``close`` ends one


def read_lines(is_stopped: Callable[[], bool], descriptor: int = 0) -> Batches:
    """Batches of the lines of standard input, which cannot be read again."""
    number, rest, chunk = 0, b"", b"\n"
    while chunk and not is_stopped():
        lines, wait_s, end = list[bytes](), BATCH_S, time.monotonic() + BATCH_S
        while chunk and len(lines) < BATCH_ROWS and select.select([descriptor], [], [], wait_s)[0]:
            chunk = os.read(descriptor, 64 * 1024)
            *whole, rest = (rest + (chunk or b"\n")).split(b"\n")
            lines += whole
            wait_s = max(0.0, end - time.monotonic())
        numbers = enumerate(lines, number + 1)
        if messages := [Message(f"line {n}", line) for n, line in numbers if line.strip()]:
            yield messages
        number += len(lines)


def read_topic(url: str, is_stopped: Callable[[], bool]) -> Batches:
    """Batches of a Kafka topic, from where its consumer group has stopped, or the oldest.

    Args:
        url: ``kafka://HOST:PORT,HOST:PORT/TOPIC?group=NAME``; further parameters are properties of
            librdkafka, such as ``security.protocol=SASL_SSL``. ``$NAME`` is a variable of the
            environment: others see the arguments of a process.
        is_stopped: whether to end.

    Raises:
        ConfigError: the address is none, or the topic cannot be read.
        ExtraMissing: the client of Kafka is not installed.
    """
    parts = urlsplit(url)
    topic, hint = (
        parts.path.strip("/"),
        "Name stdin, or kafka://HOST:PORT/TOPIC?group=NAME of a broker.",
    )
    if parts.scheme != "kafka" or not parts.netloc or not topic:
        raise ConfigError(f"{url.partition('?')[0]!r} is no stream.", hint)
    with of_extra("kafka", "the client of Kafka"):
        from confluent_kafka import Consumer, KafkaException
    given = {name: os.path.expandvars(value) for name, value in parse_qsl(parts.query)}
    given["group.id"] = given.pop("group", "serendip")
    given |= {"bootstrap.servers": parts.netloc, "enable.auto.commit": "false"}
    try:
        with closing(Consumer(_DEFAULTS | given)) as consumer:  # which leaves its group at once
            problem = consumer.list_topics(topic, timeout=10.0).topics[topic].error
            consumer.subscribe([topic])
            while not problem and not is_stopped():
                found = consumer.consume(BATCH_ROWS, BATCH_S)
                problem = next((error for one in found if (error := one.error())), None)
                if messages := [_open_message(one) for one in found if not one.error()]:
                    yield messages
                    try:
                        consumer.commit(asynchronous=False)
                    except KafkaException as error:  # as where another consumer reads on now
                        _log.warning("what was read comes again: %s", error.args[0].str())
            if problem:
                raise KafkaException(problem)
    except KafkaException as error:
        raise ConfigError(f"{parts.netloc}/{topic}: {error.args[0].str()}.", hint) from None


def _open_message(message: Any) -> Message:
    at = f"{message.topic()}/{message.partition()}/{message.offset()}"
    sent_ms = message.timestamp()[1]
    # The time tells it from a message of an earlier topic with the same name.
    return Message(at, message.value() or b"", f"{at}@{sent_ms}", max(sent_ms, 0) / 1000 or None)


def read_events(message: Message) -> list[Event]:
    """The events of a message; those without an id or a time have those of the message.

    Raises:
        DataError: it is no body of events.
    """
    rows, now = read(_EVENTS, parse(message.body)).events, time.time()
    events = []
    for number, row in enumerate(rows):
        row.timestamp = message.sent_at if row.timestamp is None else row.timestamp
        event = row.to_event(now)
        if message.message_id and not event.event_id:
            event = replace(event, event_id=f"{message.message_id}/{number}")
        events.append(event)
    return events


def read_items(message: Message) -> list[Item]:
    """The items of a message; a ``DataError`` if it is no body of items."""
    return [row.to_item() for row in read(_ITEMS, parse(message.body)).items]


def store(
    messages: Sequence[Message],
    read_rows: Callable[[Message], Sequence[Any]],
    put: Callable[[Sequence[Any]], int],
    is_strict: bool,
) -> Counter[str]:
    """Store the rows of messages in one transaction, or, where one is refused, of their halves.

    Args:
        messages: one or more.
        read_rows: the rows of a message, or a ``DataError``.
        put: stores rows, all or none; returns how many are new.
        is_strict: whether a wrong message is an error; otherwise it is left out, and the log says
            where it was and what is wrong.

    Returns:
        numbers of ``rows`` that are in the database now, of ``new`` ones among them, and of
        messages ``left_out``.

    Raises:
        DataError: the first wrong message; those before it are stored.
    """
    try:
        rows = [row for message in messages for row in read_rows(message)]
        return Counter(rows=len(rows), new=put(rows))
    except (DataError, UnsupportedError) as error:
        if len(messages) == 1:
            wrong = DataError(f"{messages[0].place}: {error.message}", error.hint)
            if is_strict:
                raise wrong from None
            _log.warning("left out: %s", wrong)
            return Counter(left_out=1)
    halves = messages[: len(messages) // 2], messages[len(messages) // 2 :]
    return sum((store(half, read_rows, put, is_strict) for half in halves), Counter())
