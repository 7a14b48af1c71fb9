"""Evaluation protocol of a benchmark, for its results file."""

from __future__ import annotations

from typing import Any

from serendip.data.dataset import Dataset
from serendip_bench.splits import COLD_SHARE

PROTOCOL_VERSION = 1
"""Increases whenever the same model would get other numbers."""

_SEQUENTIAL = (
    "Leave the last two out: models are trained on all but the last two items of each user. The "
    "last but one item is the validation target (early stopping, weight of aligned content); "
    "at test time it is input, and models are not retrained with it. The "
    "last item is the test target. All items are ranked, also those without an event in training; "
    "items of the history are excluded. Users with fewer than three items, or with the target in "
    "their history, are not evaluated."
)
_COLD = (
    " Per seed a random 5 % of all items is held out of training and of all histories, and then "
    "ranked among all items. Cold users are those whose test item is held out, warm users all "
    "others; held-out validation targets are dropped. Models receive the held-out items after "
    "training, by their content alone; modes of the retriever that read content or codes add its "
    "new_item_bonus to their scores."
)
_UNIFIED = (
    " The target is the last item in all tasks. home: input is the history. search: input is the "
    "history and a query, which is the text of the target's category path (the log has no queries; "
    "neither title nor brand is used). similar: input is the last but one item, which alone is "
    "excluded. In training the query of an item is the text of its category path."
)
_RANKS = (
    "rank = 1 + items scored higher + (other items scored equal) / 2; R@k = 1 if rank <= k; "
    "N@k = 1 / log2(rank + 1) if rank <= k, also if a tie makes the rank end in .5; means over "
    "users; ci95 = 95 % bootstrap interval over users."
)


def build_protocol(kind: str, dataset: Dataset, data: str, split: str = "") -> dict[str, Any]:
    """The protocol and the sizes of the data set.

    Args:
        kind: ``sequential``, ``cold`` or ``unified``.
        dataset: unsplit.
        data: digest of the data files.
        split: description of split and tasks; empty = leave the last two out.
    """
    return {
        "name": kind,
        "version": PROTOCOL_VERSION,
        "data": data,
        "split": split or _SEQUENTIAL + {"cold": _COLD, "unified": _UNIFIED}.get(kind, ""),
        "ranks": _RANKS,
        "costs": (
            "Every row is computed in a process of its own with one thread. train_cpu_s and "
            "train_wall_s: training including codebooks, without text vectors (encode_cpu_s, once "
            "for all rows). score_cpu_s: scoring and ranking all test users. peak_mb: peak "
            "resident memory of the row's process, data included."
        ),
        "users": dataset.num_users,
        "items": dataset.num_items,
        "events": len(dataset.events),
        **({"cold_share": COLD_SHARE} if kind == "cold" else {}),
    }
