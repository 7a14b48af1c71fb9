import subprocess
import sys
from dataclasses import fields

import pytest

import serendip
from serendip.engine.request import Request
from serendip.serve.api.requests import (
    ExplainParams,
    RecommendParams,
    SearchParams,
    SimilarParams,
    SuggestParams,
)

FIELDS = {field.name for field in fields(Request)}
PAGE = {
    **{"user_id": "u", "limit": 3, "cursor": "c", "country": "KR", "device": "tv"},
    **{"session_id": "s", "language": "ko", "fields": "price, image", "parts": True},
    **{"filter": ["year>=1990"], "facet": ["genres"], "sort": "-price", "items": ["i"]},
}
CONTEXT = {
    **{"device": "tv", "session_id": "s", "language": "ko"},
    **{"filters": ("year>=1990",), "facets": ("genres",), "sort": "-price", "items": ("i",)},
    **{"fields": ("price", "image"), "parts": True},
}


def test_the_api_sends_every_parameter() -> None:
    recommend = RecommendParams(surface="cart", item_id=["a", "b"], q="t", literal=True, **PAGE)
    assert recommend.build_request() == Request(
        "cart", "u", "t", ("a", "b"), "KR", True, 3, "c", **CONTEXT
    )
    suggest = SuggestParams(user_id="u", q="t", after="words", limit=3)
    assert suggest.build_request() == Request(user_id="u", text="t", k=3, after="words")
    sent = {name for name in FIELDS if getattr(recommend.build_request(), name)}
    assert sent | {name for name in FIELDS if getattr(suggest.build_request(), name)} == FIELDS


def test_searches_similar_items_and_explanations_are_requests_of_a_surface() -> None:
    search = SearchParams(q="t", literal=True, **PAGE).build_request(surface="search")
    assert search == Request("search", "u", "t", (), "KR", True, 3, "c", **CONTEXT)
    assert SimilarParams(**PAGE).build_request(surface="similar", item_ids=("i",)) == Request(
        "similar", "u", "", ("i",), "KR", k=3, cursor="c", **CONTEXT
    )
    explain = ExplainParams(
        item_id="i", surface="cart", q="t", source_item_id=["a"], session_id="s"
    )
    assert explain.build_request() == Request("cart", text="t", item_ids=("a",), session_id="s")


def test_the_package_has_every_public_name_and_imports_none_itself() -> None:
    assert serendip.Request is Request
    assert all(getattr(serendip, name) is not None for name in serendip.__all__)
    assert set(serendip.__all__) <= set(dir(serendip))
    with pytest.raises(AttributeError, match="has no attribute 'Motor'"):
        serendip.Motor  # noqa: B018
    code = "import sys, serendip; print([name for name in sys.modules if 'serendip.' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
