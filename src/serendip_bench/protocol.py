"""What the numbers of a benchmark mean, in words and numbers, for the results file."""

from __future__ import annotations

from typing import Any

from serendip.data.dataset import Dataset
from serendip_bench.splits import COLD_SHARE

PROTOCOL_VERSION = 1
"""Changes whenever the same model would get other numbers."""

_SEQUENTIAL = (
    "Leave the last two out: everything is fitted on all but the last two items of each user. The "
    "last but one is the validation target (early stopping, weight of aligned content, weights of "
    "the blend) and is only "
    "input at test time; nothing is fitted again with it. The last one is the test target. All "
    "items are ranked, also those without an event in training; items of the history are left "
    "out. Users with fewer than three items, or whose target is in their history, are not asked."
)
_COLD = (
    " Per seed a random 5 % of all items is taken out of training and of all histories, and then "
    "ranked among all items. Cold users are those whose test item was taken out, warm users all "
    "others; a validation target that was taken out is dropped. Models get to know the items "
    "that were taken out by their content alone, after training; modes of the retriever that read "
    "content or codes add its new_item_bonus to their scores."
)
_UNIFIED = (
    " Tasks: home, the history asks for the last item; search, the words of the category path of "
    "the last item and the history ask for it (the log holds no queries: everybody who chose an "
    "item of a category is taken to have typed the same words; no title, no brand); similar, the "
    "last but one item alone asks for the last one, and only that item is left out of the answer. "
    "In training every item has the words of its own category path for its query."
)
_RANKS = (
    "rank = 1 + items scored higher + (other items scored equal) / 2; R@k = 1 where rank <= k; "
    "N@k = 1 / log2(rank + 1) where rank <= k, also where a tie makes the rank end in .5; means "
    "over users; ci95 = 95 % interval of a bootstrap over users."
)


def protocol(kind: str, dataset: Dataset, data: str, split: str = "") -> dict[str, Any]:
    """Name, version, words, and the sizes of the data set.

    Args:
        kind: ``sequential``, ``cold`` or ``unified``.
        dataset: everything, not split.
        data: digest of the data files.
        split: how the data is split and asked, in words; empty = as sequences are.
    """
    return {
        "name": kind,
        "version": PROTOCOL_VERSION,
        "data": data,
        "split": split or _SEQUENTIAL + {"cold": _COLD, "unified": _UNIFIED}.get(kind, ""),
        "ranks": _RANKS,
        "costs": (
            "Every row is made in a process of its own with one thread. train_cpu_s and "
            "train_wall_s: training with everything it needs, codebooks included, text vectors "
            "not (encode_cpu_s, once for all). score_cpu_s: scoring and ranking all test users. "
            "peak_mb: highest resident memory of the row's process, data included."
        ),
        "users": dataset.num_users,
        "items": dataset.num_items,
        "events": len(dataset.events),
        **({"cold_share": COLD_SHARE} if kind == "cold" else {}),
    }
