"""Data-parallel training of the retriever: several processes, each with a part of a batch. Torch.

The process of the training draws batches and candidates, validates and keeps checkpoints, as it
does alone. At each step it sends the batch to its helpers. Every process computes the gradients of
its rows of the batch, among the same candidates; the gradients are added up, and every process
makes the same step of the optimiser. So a step is that of one process, up to the order of sums and
to which numbers dropout draws. At the beginning of an epoch helpers get the parameters and moments
of the training, also those of a checkpoint.

Processes talk by gloo, the backend of torch.distributed for CPUs, and are started by the executor.

Shapes: B rows, R rows of the ID table that a step reads, E row size, C candidates, P parameters.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.dataset import QueryExamples
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.data.packed_rows import PackedRows
from serendip.data.strings import Strings, open_arrays, save_arrays
from serendip.errors import SerendipError
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.loss import LossCandidates, RetrieverNetwork
from serendip.models.row_adam import RowAdamW
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.threads import num_threads

_distributed: Any = torch.distributed  # whose types leave out what is used here

_START_S, _STEP_S = 600, 1_800
"""Seconds that processes wait for one another: to start, which may need a free core, and between
two steps, while the first one validates."""

_EPOCH, _STEP, _END = 1, 2, 3
"""What comes next."""

_COLUMNS = ("items", "liked", "gaps", "places", "prefix", "task", "source", "query", "target")
_HEAD = 7
"""Numbers before what is sent: what it is, B, T, M, C, and whether weights and countries come."""


@dataclass(frozen=True, slots=True)
class HelperTask:
    """What a helper is told.

    Args:
        folder: has the features of the items, and the file by which processes find one another.
        config: of the retriever.
        number: of the process, from 1 on.
        count: number of processes, that of the training included.
        seed: of the training.
        is_local: whether all processes are on this machine, and listen on the loopback interface.
    """

    folder: str
    config: RetrieverConfig
    number: int
    count: int
    seed: int
    is_local: bool

    def __str__(self) -> str:
        return f"helper {self.number} of the retriever's training"


class Steps(Protocol):
    """How the steps of a training are made."""

    def begin(self, module: RetrieverNetwork, optimiser: RowAdamW) -> None:
        """An epoch begins."""
        ...

    def add_gradients(
        self,
        module: RetrieverNetwork,
        optimiser: RowAdamW,
        batch: TrainingBatch,
        candidates: LossCandidates,
    ) -> None:
        """Compute the gradients of a batch."""
        ...


class OneProcess:
    """Steps of a training without helpers."""

    def begin(self, module: RetrieverNetwork, optimiser: RowAdamW) -> None:
        """Nothing to do."""

    def add_gradients(
        self,
        module: RetrieverNetwork,
        optimiser: RowAdamW,
        batch: TrainingBatch,
        candidates: LossCandidates,
    ) -> None:
        """Compute the gradients of the whole batch."""
        module.loss(batch, candidates).backward()  # type: ignore[no-untyped-call]


class ProcessGroup:
    """Processes that train together; this is one of them.

    Args:
        folder: has the file by which they find one another.
        number: of this process, 0 = that of the training.
        count: number of processes.
        is_local: whether to listen on the loopback interface alone.
    """

    def __init__(self, folder: Path, number: int, count: int, is_local: bool) -> None:
        self.number, self.count = number, count
        gloo = _distributed.ProcessGroupGloo
        options = gloo._Options()
        options._devices, options._timeout = [_listen(is_local)], timedelta(seconds=_STEP_S)
        store = _distributed.FileStore(str(folder / "processes"), count)
        store.set_timeout(timedelta(seconds=_START_S))
        self._group = gloo(store, number, count, options)
        self._group.barrier().wait(timedelta(seconds=_START_S))

    def broadcast(self, tensor: Tensor) -> Tensor:
        """The values of the first process, in place."""
        self._group.broadcast(tensor, 0).wait(timedelta(seconds=_STEP_S))
        return tensor

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sums over all processes, in place."""
        self._group.allreduce([tensor]).wait(timedelta(seconds=_STEP_S))
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, which may have different lengths."""
        lengths = torch.zeros(self.count, dtype=torch.int64)
        lengths[self.number] = len(tensor)
        longest = int(self.add_up(lengths).max())
        padded = torch.zeros((longest, *tensor.shape[1:]), dtype=tensor.dtype)
        padded[: len(tensor)] = tensor
        found = [torch.zeros_like(padded) for _ in range(self.count)]
        self._group.allgather([found], [padded]).wait(timedelta(seconds=_STEP_S))
        return [part[:length] for part, length in zip(found, lengths.tolist(), strict=True)]


def _listen(is_local: bool) -> Any:
    """Where gloo listens: the loopback interface, the one that is named, or that of the host."""
    gloo, name = _distributed.ProcessGroupGloo, os.environ.get("GLOO_SOCKET_IFNAME", "")
    if is_local:
        return gloo.create_device(hostname="127.0.0.1")
    return gloo.create_device(interface=name) if name else gloo.create_default_device()


class ManyProcesses:
    """Steps of a training with helpers, in the process of the training."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group

    def begin(self, module: RetrieverNetwork, optimiser: RowAdamW) -> None:
        """Send parameters and moments."""
        self._group.broadcast(_head(_EPOCH))
        _share_state(self._group, optimiser)

    def end(self) -> None:
        """Let the helpers end."""
        self._group.broadcast(_head(_END))

    def add_gradients(
        self,
        module: RetrieverNetwork,
        optimiser: RowAdamW,
        batch: TrainingBatch,
        candidates: LossCandidates,
    ) -> None:
        """Send the batch, and compute its gradients together."""
        rates = [group["lr"] for group in optimiser.param_groups]
        head, numbers, values = _pack(batch, candidates, rates)
        for part in (head, numbers, values):
            self._group.broadcast(part)
        _add_gradients(self._group, module, optimiser, batch, candidates)


@contextmanager
def open_steps(
    features: ItemFeatures,
    queries: QueryExamples | None,
    module: RetrieverNetwork,
    config: RetrieverConfig,
    num_countries: int,
    options: TrainOptions,
) -> Iterator[Steps]:
    """Start the helpers of a training, as many as the options say; they end with the block.

    Args:
        features: of the items.
        queries: of the search task.
        module: the network.
        config: of the retriever.
        num_countries: countries of users.
        options: seed, executor, its shared folder and the number of processes.

    Raises:
        SerendipError: a process was killed, or did not start in time.
    """
    count, executor = options.train_processes, options.executor
    if count == 1 or executor.workers == 1 or options.shared is None:
        yield OneProcess()
        return
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(options.shared))
        save_arrays(folder / "items", _to_arrays(features, queries, module, num_countries))
        is_local = executor.name == "local"
        for number in range(1, count):
            task = HelperTask(str(folder), config, number, count, options.seed, is_local)
            next(stack.enter_context(executor.stream(help_train, task)))
        try:
            steps = ManyProcesses(ProcessGroup(folder, 0, count, is_local))
            yield steps
            steps.end()
        except RuntimeError as error:
            raise SerendipError(
                f"the processes that train the retriever lost one another: {error}.",
                "Run the command again; `train_processes` in [engine] needs as many free cores.",
            ) from None


def help_train(task: HelperTask) -> Generator[bool]:
    """Make the steps of a training beside it until it ends; yields once, when it is ready."""
    folder = Path(task.folder)
    torch.set_num_threads(num_threads())
    torch.manual_seed(task.seed + task.number)
    module, optimiser = _open_module(folder / "items", task.config)
    yield True
    group = ProcessGroup(folder, task.number, task.count, task.is_local)
    head = torch.zeros(_HEAD, dtype=torch.int64)
    while (kind := int(group.broadcast(head)[0])) != _END:
        if kind == _EPOCH:
            optimiser.flush()
            _share_state(group, optimiser)
            module.train()
            continue
        batch, candidates, rates = _receive(group, head)
        for part, rate in zip(optimiser.param_groups, rates, strict=True):
            part["lr"] = rate
        optimiser.zero_grad()
        _add_gradients(group, module, optimiser, batch, candidates)
        optimiser.clip_gradients(MOST_GRADIENT)
        optimiser.step()


MOST_GRADIENT = 1.0
"""Gradient norm clip."""


def build_optimiser(module: RetrieverNetwork, config: RetrieverConfig) -> RowAdamW:
    """AdamW with a learning rate of its own for ID embeddings, whose rows it reads."""
    tower = module.tower
    optimiser = RowAdamW(
        tower.ids,
        config.id_learning_rate,
        (parameter for parameter in module.parameters() if parameter is not tower.ids),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.reg,
    )
    tower.read_ids = optimiser.read
    return optimiser


def _add_gradients(
    group: ProcessGroup,
    module: RetrieverNetwork,
    optimiser: RowAdamW,
    batch: TrainingBatch,
    candidates: LossCandidates,
) -> None:
    """Gradients of the whole batch, of which this process computes those of its rows."""
    part = _take_rows(batch, slice(group.number, None, group.count))
    share = _weight_of(part) / _weight_of(batch)
    if share:
        loss = share * module.loss(part, candidates)
        loss.backward()  # type: ignore[no-untyped-call]
    _add_others(group, optimiser.others)
    _add_rows(group, optimiser)


def _add_others(group: ProcessGroup, others: Sequence[torch.nn.Parameter]) -> None:
    """Add up the gradients of all parameters but the table; none where no process has one."""
    has_one = torch.tensor([float(parameter.grad is not None) for parameter in others])  # (P,)
    parts = [
        torch.zeros(parameter.numel()) if parameter.grad is None else parameter.grad.flatten()
        for parameter in others
    ]
    flat = group.add_up(torch.cat([has_one, *parts]))
    sums = torch.split(flat[len(others) :], [parameter.numel() for parameter in others])
    for parameter, found, values in zip(others, flat[: len(others)], sums, strict=True):
        parameter.grad = values.view_as(parameter).clone() if found else None


def _add_rows(group: ProcessGroup, optimiser: RowAdamW) -> None:
    """Add up the gradients of the rows (R, E) of the table that any process has read."""
    rows, size = optimiser.rows, optimiser.table.shape[1] if optimiser.table.dim() > 1 else 0
    gradient = None if rows is None else rows.values.grad
    if rows is None or gradient is None:
        numbers, gradient = torch.zeros(0, dtype=torch.int64), torch.zeros((0, size))
    else:
        numbers = rows.numbers
    gathered, gradients = group.gather(numbers), group.gather(gradient)
    union, places = torch.unique(torch.cat(gathered), return_inverse=True)  # (R,)
    if not len(union):
        optimiser.rows = None
        return
    values = optimiser.read(union)
    values.grad = torch.zeros_like(values).index_add_(0, places, torch.cat(gradients))


def _weight_of(batch: TrainingBatch) -> float:
    """Sum of the weights of all requests."""
    has_target = batch.target >= 0  # (B, M)
    if batch.weight is None:
        return float(has_target.sum())
    return float(batch.weight[has_target].sum(dtype=np.float64))


def _take_rows(batch: TrainingBatch, rows: slice) -> TrainingBatch:
    """Some rows of a batch."""
    columns = {name: getattr(batch, name) for name in (*_COLUMNS, "weight", "country")}
    parts: dict[str, Any] = {
        name: np.ascontiguousarray(values[rows])
        for name, values in columns.items()
        if values is not None
    }
    return replace(batch, **parts)


def _head(kind: int, *sizes: int) -> Tensor:
    head = torch.zeros(_HEAD, dtype=torch.int64)
    head[: 1 + len(sizes)] = torch.tensor([kind, *sizes])
    return head


def _pack(
    batch: TrainingBatch, candidates: LossCandidates, rates: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """A step as three tensors: its sizes, whole numbers, and others in double precision."""
    (rows, steps), requests = batch.items.shape, batch.target.shape[1]
    has = [int(batch.weight is not None), int(batch.country is not None)]
    head = _head(_STEP, rows, steps, requests, len(candidates.items), *has)
    columns: list[NDArray[Any]] = [getattr(batch, name) for name in _COLUMNS]
    columns += [] if batch.country is None else [batch.country]
    flat = [torch.from_numpy(np.ascontiguousarray(column)).flatten() for column in columns]
    numbers = torch.cat([*flat, candidates.items])
    values = [torch.tensor(rates, dtype=torch.float64), candidates.correction.double()]
    if batch.weight is not None:
        values.append(torch.from_numpy(np.ascontiguousarray(batch.weight)).flatten().double())
    return head, numbers, torch.cat(values)


def _receive(
    group: ProcessGroup, head: Tensor
) -> tuple[TrainingBatch, LossCandidates, list[float]]:
    """The step that ``_pack`` packed, with the learning rates of the optimiser."""
    rows, steps, requests, size, has_weight, has_country = head[1:].tolist()
    history, asked = rows * steps, rows * requests
    sizes = [history] * 4 + [asked] * (5 + has_country) + [size]
    numbers = group.broadcast(torch.zeros(sum(sizes), dtype=torch.int64))
    values = group.broadcast(torch.zeros(2 + size + has_weight * asked, dtype=torch.float64))
    *columns, items = torch.split(numbers, sizes)
    widths = [steps] * 4 + [requests] * (5 + has_country)
    shaped = [
        column.view(rows, width).numpy() for column, width in zip(columns, widths, strict=True)
    ]
    found: dict[str, Any] = dict(zip((*_COLUMNS, "country"), shaped, strict=False))
    if has_weight:
        found["weight"] = values[2 + size :].float().view(rows, requests).numpy()
    batch = TrainingBatch(**found)
    correction = values[2 : 2 + size].float()
    return batch, LossCandidates(items, correction), values[:2].tolist()


@torch.no_grad()
def _share_state(group: ProcessGroup, optimiser: RowAdamW) -> None:
    """Parameters and moments of the training, in all processes; its optimiser is flushed."""
    for parameter in (*optimiser.others, optimiser.table):
        group.broadcast(parameter.data)
        state = optimiser.state[parameter]
        if not group.broadcast(torch.tensor([len(state)])).item():
            state.clear()
            continue
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        for name in ("step", "exp_avg", "exp_avg_sq"):
            values = state[name].reshape(-1).contiguous()
            state[name].copy_(group.broadcast(values).view_as(state[name]))


def _to_arrays(
    features: ItemFeatures,
    queries: QueryExamples | None,
    module: RetrieverNetwork,
    num_countries: int,
) -> dict[str, NDArray[Any]]:
    """What a helper builds its network from."""
    content: Any = features.content
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(content, PackedRows):
        arrays |= {"values": content.values, "scales": content.scales}
    else:
        arrays |= {"values": np.asarray(content, np.float32)}
    arrays |= {"codes": features.codes, "seen": module.seen.numpy() > 0}
    arrays["sizes"] = np.array([features.codebook_size, num_countries])
    if features.tokens is not None:
        arrays |= {"hashes": features.tokens.hashes, "starts": features.tokens.starts}
    if queries is not None:
        arrays |= {"query_vectors": queries.vectors, **Strings.of(queries.texts).arrays("texts")}
    if module.tower.id_donors is not None:
        donors, shares = module.tower.id_donors
        arrays |= {"donors": donors.numpy(), "donor_weights": shares.numpy()}
    return arrays


def _open_module(folder: Path, config: RetrieverConfig) -> tuple[RetrieverNetwork, RowAdamW]:
    """A network like that of the training, and its optimiser."""
    # Copies, as tensors cannot be made of what is mapped read-only.
    arrays = {name: np.array(values) for name, values in open_arrays(folder).items()}
    content: FloatArray = arrays["values"]
    if "scales" in arrays:
        content = cast("FloatArray", PackedRows(arrays["values"], arrays["scales"]))
    tokens = Tokens(arrays["hashes"], arrays["starts"]) if "hashes" in arrays else None
    codebook_size, num_countries = arrays["sizes"].tolist()
    features = ItemFeatures(content, arrays["codes"], codebook_size, tokens=tokens)
    queries = None
    if "query_vectors" in arrays:
        vectors = arrays["query_vectors"]
        texts = Strings.of_arrays("texts", arrays)
        queries = QueryExamples(texts, vectors, np.zeros(len(vectors), np.int32))
    seen: BoolArray = arrays["seen"]
    without_donors = config.model_copy(update={"num_id_donors": 0})
    module = RetrieverNetwork(features, queries, seen, without_donors, None, num_countries)
    if "donors" in arrays:
        donors, shares = arrays["donors"], arrays["donor_weights"]
        module.tower.id_donors = (torch.from_numpy(donors), torch.from_numpy(shares))
    return module, build_optimiser(module, config)
