"""The one place that sets thread counts.

Numeric libraries start one spinning thread per core each; on two busy cores that costs up to 40x,
and the small matrices here gain nothing from a second thread: training the retriever takes twice
the CPU seconds for the same wall time. So the default is one thread, processes are the parallel
unit, and whoever knows better sets ``OMP_NUM_THREADS``.
``limit_threads`` must run before numpy is first imported (the CLI does it first thing); later
calls only affect torch and the values that sessions read through ``num_threads``.
"""

from __future__ import annotations

import os
import sys

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def limit_threads(count: int | None = None) -> int:
    """Limit every numeric library to ``count`` threads (default: ``OMP_NUM_THREADS``, else 1).

    Returns:
        the number in force.
    """
    threads = count or num_threads()
    for name in _VARIABLES:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return threads


def num_threads() -> int:
    """Threads that a session or an index may use; 1 unless ``limit_threads`` said otherwise."""
    return int(os.environ.get("OMP_NUM_THREADS", "1") or "1")
