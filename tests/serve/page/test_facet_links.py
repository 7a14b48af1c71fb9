"""What a search on the page offers to filter by: words that results share, and no ids."""

from __future__ import annotations

from serendip.engine.listing import Facet
from serendip.serve.page.facets import FilteredSearch, build_facets

SEARCH = FilteredSearch("shirt", "u1", ())


def test_ids_that_results_share_are_not_offered() -> None:
    ids = Facet({f"P{number:05}": 4 for number in range(40)})
    sizes = Facet({"M8": 4, "M10": 3})
    words = Facet({f"brand {chr(97 + number)}": 3 for number in range(24)})
    groups = build_facets({"parent_sku": ids, "size": sizes, "brand": words}, SEARCH)
    assert [group.name for group in groups] == ["size", "brand"]
