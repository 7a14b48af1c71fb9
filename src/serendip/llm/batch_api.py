"""Batch API files: write unanswered questions to a request file, read answers from its output.

Uploading the file is left to the user. Every question in a file has a row in the ledger with its
maximum price, from before the file appears until its answer is read, so that it is not sent again
in the meantime. Questions and answers are matched by ``custom_id``, which differs between prompts
and models; an answer must also repeat the id of the data, as in any other call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from serendip.errors import ConfigError, DataError, StorageError
from serendip.llm.client import LlmAnswer, LlmFailure, LlmRequest
from serendip.llm.ledger import Call, Ending, Ledger
from serendip.llm.openai import EndpointLlm, classify_failure, read_completion
from serendip.llm.runner import QuestionStates, RunOptions
from serendip.llm.tasks import AnswerT, Task, WrongAnswer
from serendip.runtime.atomic_files import flush_folder, write_synced

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""Limits of a file of the batch API."""

_ADDRESS = "/v1/chat/completions"
_NOT_COMPUTED = ("batch_expired", "batch_cancelled")


@dataclass(frozen=True, slots=True)
class BatchWritten:
    """Result of writing a batch file.

    Args:
        written: questions in the file; 0 = no file was written.
        left: questions that exceed the limits of the file or the budget.
        most: maximum price of the file.
    """

    written: int
    left: int
    most: float


@dataclass(frozen=True, slots=True)
class BatchRead:
    """Result of reading an output file of the batch API, in numbers of questions and lines.

    Args:
        answered: questions with a valid answer.
        failed: questions with an invalid answer or an error.
        missing: questions in batch files whose answer is not in this file.
        repeated: answers to questions that are not open: answered before, forgotten or repeated.
        unknown: answers that belong to no question of this run.
        broken: lines that are not answers.
    """

    answered: int
    failed: int
    missing: int
    repeated: int
    unknown: int
    broken: int


def write_batch(
    path: Path,
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    llm: EndpointLlm,
    ledger: Ledger,
    options: RunOptions,
) -> BatchWritten:
    """Write the questions that are neither answered nor in another file, within the limits.

    The file gets its name only after its rows are in the ledger: a file ``<name>.part`` must not be
    uploaded. If the process is killed between the two, the questions wait for a file that does not
    exist, until they are forgotten.

    Raises:
        ConfigError: the file exists already, or cannot be written.
        StorageError: the ledger cannot be written, or another run has spent the budget.
    """
    if path.exists():
        raise ConfigError(
            f"{path} exists already.", "It may have been uploaded: give another file name."
        )
    states = QuestionStates.of(task, questions, llm.model, ledger, options.job)
    part = path.with_name(f"{path.name}.part")
    lines, prices = _build_lines(task, states, llm, options, ledger.spent(options.job))
    if lines:
        _write(part, "".join(lines))
        if not ledger.batch(states.call, prices, options.budget):
            raise StorageError("another run has spent the budget meanwhile.", "Run it again.")
        part.replace(path)
        flush_folder(path.parent)
    return BatchWritten(len(lines), len(states.unasked) - len(lines), sum(prices.values()))


def read_batch(
    path: Path,
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    model: str,
    ledger: Ledger,
    options: RunOptions,
) -> BatchRead:
    """Read the answers of an output file into the ledger, all or none.

    Raises:
        DataError: the file is missing, or not text.
        StorageError: the ledger cannot be written.
    """
    states = QuestionStates.of(task, questions, model, ledger, options.job)
    closed = {_build_custom_id(states.call, key) for key in states.answers}
    closed |= {_build_custom_id(states.call, key) for key in states.unasked}
    waiting = {_build_custom_id(states.call, key): key for key in states.waiting}
    endings: list[Ending] = []
    counts = {"repeated": 0, "unknown": 0, "broken": 0}
    for line in _read_lines(path):
        if line is None:
            counts["broken"] += 1
            continue
        key = waiting.pop(line.custom_id, None)
        if key is None:
            counts["repeated" if line.custom_id in closed else "unknown"] += 1
            continue
        closed.add(line.custom_id)
        request = task.request(states.waiting[key], options.max_tokens)
        ending = _build_ending(line, request, task, states, key, options)
        endings.append(ending)
    ledger.finish(*endings)
    failed = sum(bool(ending.failure) for ending in endings)
    return BatchRead(len(endings) - failed, failed, len(waiting), **counts)


def _build_lines(
    task: Task[AnswerT],
    states: QuestionStates[AnswerT],
    llm: EndpointLlm,
    options: RunOptions,
    spent: float,
) -> tuple[list[str], dict[str, float]]:
    """Lines of a file, and data key -> maximum price, in order, until a limit is reached."""
    lines, prices = list[str](), dict[str, float]()
    size, total = 0, spent
    for key, data in states.unasked.items():
        request = task.request(data, options.max_tokens)
        price, line = options.prices.most(request), _build_line(states.call, key, llm.body(request))
        size, total = size + len(line), total + price
        if total > options.budget or size > MAX_BYTES or len(lines) == MAX_REQUESTS:
            break
        lines.append(line)
        prices[key] = price
    return lines, prices


def _build_custom_id(call: Call, data: str) -> str:
    """Hash of prompt, model and data key: 64 characters, the limit of servers."""
    return hashlib.sha256(f"{call.prompt_digest}\0{call.model}\0{data}".encode()).hexdigest()


def _build_line(call: Call, data: str, body: Mapping[str, Any]) -> str:
    """Line of a request file; ASCII, so that its length is its size in bytes."""
    custom_id = _build_custom_id(call, data)
    document = {"custom_id": custom_id, "method": "POST", "url": _ADDRESS, "body": body}
    return json.dumps(document) + "\n"


def _write(part: Path, text: str) -> None:
    """Write a file and flush it to disk.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        write_synced(part, text)
    except OSError as error:
        raise ConfigError(f"{part} cannot be written: {error}.", "Give another path.") from None


def _read_lines(path: Path) -> Iterator[SimpleNamespace | None]:
    """Yield the lines of an output file as objects; None for lines without a ``custom_id``.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for line in filter(str.strip, stream):
                yield _parse_line(line)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}.", "Give the output file of the batch."
        ) from None


def _parse_line(line: str) -> SimpleNamespace | None:
    """Parse a JSON line into an object; None if it has no ``custom_id``."""
    try:
        document = json.loads(line, object_hook=lambda fields: SimpleNamespace(**fields))
    except (ValueError, RecursionError):
        return None
    has_id = isinstance(document, SimpleNamespace) and isinstance(
        getattr(document, "custom_id", None), str
    )
    return document if has_id else None


def _build_ending(
    line: SimpleNamespace,
    request: LlmRequest,
    task: Task[AnswerT],
    states: QuestionStates[AnswerT],
    key: str,
    options: RunOptions,
) -> Ending:
    """Validate the answer in a line: the end of its call."""
    number, max_price = states.batched[key]
    answer: LlmAnswer | None = None
    failure: LlmFailure | None = None
    text = ""
    try:
        answer = _read_answer(line, request)
        text = task.read(answer.text, states.waiting[key]).model_dump_json()
    except WrongAnswer as error:
        failure = LlmFailure("invalid", str(error), answer=answer)
    except LlmFailure as error:
        failure, answer = error, error.answer
    bill = options.prices.bill(answer, failure, max_price)
    return Ending(number, text, None, bill, str(failure or ""))


def _read_answer(line: SimpleNamespace, request: LlmRequest) -> LlmAnswer:
    """Read the answer of a line.

    Raises:
        LlmFailure: the line has an error, or no answer.
    """
    response, error = getattr(line, "response", None), getattr(line, "error", None)
    status = getattr(response, "status_code", None)
    if status == 200:
        return read_completion(getattr(response, "body", None), request)
    inner = getattr(getattr(response, "body", None), "error", None) or error
    code, message = (getattr(inner, name, None) for name in ("code", "message"))
    text = f"{code}: {message}"
    if isinstance(status, int) and status >= 300:
        raise classify_failure(status, (code, getattr(inner, "type", None)), text)
    raise LlmFailure("rejected" if code in _NOT_COMPUTED else "server", text)
