"""A query and a text read together by MiniLM: what a cross-encoder starts from. Training only.

The pair is one input, ``[CLS] query [SEP] text [SEP]``. Its lower layers stay as they are, so what
they make of a pair is found once, whatever is learned above them.

Shapes: P pairs, T tokens of a pair, C = 384.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.content.encoders.text import BATCH, open_minilm
from serendip.runtime.progress import Progress


class PairReader:
    """Lower layers of MiniLM.

    Args:
        lower: how many of its six layers.
        tokens: of a pair at most; the text is cut.

    Raises:
        ExtraMissing: transformers or the package with the weights is not installed.
        ArtefactError: the installed weights are not those of ``models.lock``.
    """

    def __init__(self, lower: int, tokens: int) -> None:
        self._tokens = tokens
        self._tokenizer, model = open_minilm()
        self._embeddings, layers = model.embeddings, list(model.encoder.layer)
        self._lower, self._upper = layers[:lower], layers[lower:]

    def upper(self) -> Any:
        """The other layers, as torch's module list; they are the caller's to change."""
        from copy import deepcopy

        from torch import nn

        return deepcopy(nn.ModuleList(self._upper))

    def read(
        self, queries: Sequence[str], texts: Sequence[str], progress: Progress
    ) -> list[NDArray[np.float16]]:
        """P pairs -> P times (T, C), each of its own length."""
        clean = [
            [text.encode("utf-8", "replace").decode("utf-8") for text in side]
            for side in (queries, texts)
        ]
        found = self._tokenizer(*clean, truncation="longest_first", max_length=self._tokens)
        # Neighbours in length share a batch, so that little of it is padding.
        order = np.argsort([len(one) for one in found["input_ids"]], kind="stable")
        states: list[NDArray[np.float16]] = [np.empty((0, 0), np.float16)] * len(order)
        starts = range(0, len(order), BATCH)
        for begin in progress.track(starts, "Reading pairs", len(starts)):
            rows = order[begin : begin + BATCH].tolist()
            for row, own in zip(rows, self._read_batch(found, rows), strict=True):
                states[row] = own
        return states

    def _read_batch(self, found: Any, rows: list[int]) -> list[NDArray[np.float16]]:
        import torch

        part = {name: [found[name][row] for row in rows] for name in found}
        batch = self._tokenizer.pad(part, return_tensors="pt")
        mask = batch["attention_mask"][:, None, None, :].bool()
        with torch.inference_mode():
            hidden = self._embeddings(batch["input_ids"], batch["token_type_ids"])
            for layer in self._lower:
                hidden = layer(hidden, mask)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        lengths = batch["attention_mask"].sum(1).tolist()
        whole = hidden.numpy().astype(np.float16)
        return [own[:length].copy() for own, length in zip(whole, lengths, strict=True)]
