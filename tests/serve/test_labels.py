"""Names of numbers and stages in the words of the page."""

from __future__ import annotations

import pytest

from serendip.engine.feature_names import FEATURES
from serendip.engine.surfaces import DEFAULT_SURFACES
from serendip.serve.labels import number_label, stage_label


def test_every_number_of_the_ranker_has_words_of_its_own():
    labels = {number_label(name) for name in FEATURES}
    assert len(labels) == len(FEATURES)
    assert not labels & set(FEATURES)


@pytest.mark.parametrize(
    "source", sorted({s for c in DEFAULT_SURFACES.values() for s in c.sources})
)
def test_every_source_has_words_of_its_own(source):
    assert stage_label(f"from {source}").startswith("From ")


def test_a_label_says_what_the_number_measures():
    assert number_label("transitions") == "Chosen next (score)"
    assert number_label("retriever relative") == "Unified model, distance to its best"
    assert stage_label("after seen") == "Not seen yet"
    assert stage_label("after genres has Comedy") == "Where genres has Comedy"


@pytest.mark.parametrize("name", ["margin", "from nowhere", "", "<b>"])
def test_an_unknown_name_stands_for_itself(name):
    assert number_label(name) == name
    assert stage_label(name) == name
