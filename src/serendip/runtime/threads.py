"""How a process begins: thread limits of numeric libraries, and how often garbage is looked for.

Each numeric library starts one spinning thread per core; on two busy cores this is up to 40 times
slower, and the small matrices here gain nothing from a second thread: training the retriever takes
twice the CPU seconds for the same wall time. So the default is one thread, and work is parallel by
processes; ``OMP_NUM_THREADS`` overrides it.

``limit_threads`` must run before numpy is imported, as in the CLI, and warns where that is too
late: threads that spin beside every product of matrices double the CPU time of a request. Later
calls only affect torch and ``num_threads``, which sessions and indexes read.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_OF_NUMPY = _VARIABLES[:-1]  # those that its linear algebra reads when it is loaded


def limit_threads(count: int | None = None) -> int:
    """Limit every numeric library to ``count`` threads (default: ``OMP_NUM_THREADS``, else 1)."""
    threads = count or num_threads()
    if "numpy" in sys.modules and not any(os.environ.get(name) for name in _OF_NUMPY):
        warnings.warn(
            "numpy was imported before limit_threads() and keeps one thread per core. "
            "Call it first, or set OMP_NUM_THREADS=1.",
            RuntimeWarning,
            stacklevel=2,
        )
    for name in _VARIABLES:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return threads


def num_threads() -> int:
    """Number of threads for a session or an index; 1 unless ``limit_threads`` changed it."""
    return int(os.environ.get("OMP_NUM_THREADS", "1") or "1")


def collect_seldom() -> None:
    """Look for cycles after 50,000 new objects, not after 700, as a process of Serendip begins.

    Imports, events and items are millions of objects and hardly a cycle: looking for them took a
    twelfth of a short command.
    """
    gc.set_threshold(50_000, 20, 20)
