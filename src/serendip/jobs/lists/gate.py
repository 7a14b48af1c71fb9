"""What people see of a generation before it is published: compared with the one in force."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.evaluate.decision import Decision
from serendip.evaluate.lists import Measured
from serendip.jobs.lists.survey import REJECTED
from serendip.jobs.surface_quality.record import Column, QualityRecord
from serendip.jobs.surface_quality.sample import hash_key

LISTS_FILE = "lists.npz"
_NAMED = 3


def record_lists(measured: Sequence[Measured]) -> QualityRecord:
    """What is compared of the measures: of each that of which more is better."""
    record = {}
    for one in measured:
        asked = [hash_key(one.group, one.name, request) for request in one.requests]
        is_good, keys = one.goal == "more", np.array(asked, np.uint64)
        name = f"{'' if is_good else '1 - share of: '}{one.group}, {one.name}"
        record[name] = Column(keys, keys, one.values if is_good else 1.0 - one.values)
    return record


def check_rejected(measured: Sequence[Measured]) -> list[Decision]:
    """Check that no list of home has a rejected item as new."""
    results = []
    for one in measured:
        if one.name == REJECTED:
            detail = f"{int((one.values > 0).sum())} of {len(one.values)} lists of home have one"
            if one.examples:
                detail += (
                    f", such as {', '.join(one.examples[:_NAMED])}: explore less by "
                    "[surfaces.home.exploration] share"
                )
            results.append(Decision.gate(f"no {REJECTED}", not one.examples, detail))
    return results
