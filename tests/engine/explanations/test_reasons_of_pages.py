from dataclasses import replace

import pytest

from serendip.engine.engine import Engine
from serendip.engine.request import Request


def read_reasons(engine: Engine, request: Request, k: int, count: int) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    cursor = ""
    while len(told) < count:
        answer = engine.recommend(replace(request, k=k, cursor=cursor))
        told += [(item.item_id, item.reason) for item in answer.items]
        cursor = answer.next
        if not cursor:
            break
    return told[:count]


@pytest.mark.parametrize("surface", ["home", "next", "search"])
def test_reasons_do_not_depend_on_the_size_of_the_page(reader: Engine, surface: str) -> None:
    parts = {"next": {"item_ids": ("i3",)}, "search": {"text": "horror tale"}}.get(surface, {})
    kinds = set()
    for user in ("u0", "u1", "u2", "u3"):
        request = Request(surface, user, **parts)
        whole = read_reasons(reader, request, 20, 20)
        assert len(whole) >= 10
        assert read_reasons(reader, request, 3, 20) == whole
        kinds |= {reason for _, reason in whole}
    assert len(kinds) > 1
