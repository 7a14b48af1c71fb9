"""Which of two rankings placed each item of an interleaved list, as part of the id of its answer.

Events bring the id and the position back, so that neither the log nor its senders need a column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WITH_TEAMS = re.compile(r"[0-9a-f]{32}-([0-9a-f]+)")


def mark_teams(request_id: str, teams: Sequence[int]) -> str:
    """The id of an answer, 32 hexadecimal digits, with the team, 0 or 1, of its first places."""
    bits = "1" + "".join(map(str, teams))  # the first one keeps zeros that follow
    return f"{request_id}-{int(bits, 2):x}"


def read_teams(request_id: str) -> list[int]:
    """The teams of the first places of an answer; none if it was not interleaved."""
    found = _WITH_TEAMS.fullmatch(request_id)
    return [int(bit) for bit in f"{int(found[1], 16):b}"[1:]] if found else []
