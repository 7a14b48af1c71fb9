"""Names of numbers and stages in the words of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import serendip.engine
from serendip.engine.engine import Engine
from serendip.engine.feature_names import feature_names
from serendip.engine.labels import Labels
from serendip.engine.models_config import ModelsConfig
from serendip.engine.request import Request
from serendip.engine.stages.attribute_filter import AttributeFilter
from serendip.engine.stages.filters import ALWAYS, filters_of
from serendip.engine.stages.relevance_filter import BAD
from serendip.engine.stages.selection import BID, EXPLORED, ORGANIC, SPONSORED
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.engine.stages.surfaces import DEFAULT_SURFACES
from serendip.models.retriever.config import UnifiedConfig
from serendip.serve.page.views import number_label, part_label, stage_label

MODELS = ModelsConfig().build(UnifiedConfig())
FEATURES = feature_names(MODELS)
LABELS = Labels.of(MODELS)


def test_every_number_of_the_ranker_has_words_of_its_own():
    labels = {number_label(name, LABELS) for name in FEATURES}
    assert len(labels) == len(FEATURES)
    assert not labels & set(FEATURES)


@pytest.mark.parametrize(
    "source", sorted({s for c in DEFAULT_SURFACES.values() for s in c.sources})
)
def test_every_source_has_words_of_its_own(source):
    assert stage_label(f"from {source}", LABELS).startswith("From ")


def stages_in_the_code() -> set[str]:
    """Every stage that a line of the engine writes into a trace, ``{}`` for what is filled in."""
    found: set[str] = set()
    for path in Path(serendip.engine.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found.update(re.findall(r'\btraces?(?:\[\w+\])?\[f?"([^"]+)"\]', text))
        found.update(re.findall(r'dict\[str, int\]\] = \[\{"([^"]+)"', text))
    return {re.sub(r"\{[^}]*\}", "{}", stage) for stage in found}


def stages() -> list[str]:
    """Every stage that can stand in a trace, those of one attribute filter included."""
    genre = AttributeFilter(attribute="genres", has="Comedy")
    surface = DEFAULT_SURFACES["home"].model_copy(update={"filters": ("seen", genre)})
    filters = [one.name for one in (*ALWAYS, *filters_of(surface))]
    written = stages_in_the_code() - {"after {}", "from {}"}
    return sorted(
        {
            *(written | {EXPLORED, SPONSORED}),
            *(f"after {name}" for name in filters),
            *(f"from {name}" for name in (*MODELS, *OWN_SOURCES)),
        }
    )


def test_the_stages_are_found_in_the_code():
    known = {"catalogue", "candidates", "judged", "after bad matches", "good enough", "to be sent"}
    assert stages_in_the_code() == known | {"moved by diversity", "after {}", "from {}"}


@pytest.mark.parametrize("stage", stages())
def test_every_stage_of_a_trace_has_words_of_its_own(stage):
    label = stage_label(stage, LABELS)
    raw = stage.removeprefix("after ").removeprefix("from ")
    assert label[0].isupper()
    assert label.casefold() not in (stage, raw)
    assert label != f"Where {raw}" or " has " in raw


def test_every_stage_of_a_real_trace_has_words_of_its_own(engine: Engine):
    for surface in DEFAULT_SURFACES:
        trace = engine.explain(
            Request(surface, "u0", text="horror tale", item_ids=("i2",)), "i1"
        ).trace
        assert set(trace) <= set(stages())


@pytest.mark.parametrize("mark", [EXPLORED, BID, ORGANIC, BAD])
def test_every_mark_of_an_answer_has_words_of_its_own(mark):
    assert number_label(mark, LABELS).casefold() != mark


@pytest.mark.parametrize("part", sorted({*OWN_SOURCES, "bad matches", "item-knn", "retriever"}))
def test_every_part_that_may_fail_has_words_of_its_own(part):
    assert part_label(part, LABELS) != part


def test_what_a_judge_leaves_out_is_told_in_plain_words():
    assert stage_label("after bad matches", LABELS) == "Left without irrelevant items"
    assert stage_label("judged", LABELS) == "Checked for relevance"


def test_a_label_says_what_the_number_measures():
    assert number_label("transitions", LABELS) == "Chosen next (score)"
    assert number_label("retriever relative", LABELS) == "Unified model, distance to its best"
    assert stage_label("after seen", LABELS) == "Not seen yet"
    assert stage_label("after genres has Comedy", LABELS) == "Where genres has Comedy"


@pytest.mark.parametrize("name", ["margin", "from nowhere", "", "<b>"])
def test_an_unknown_name_stands_for_itself(name):
    assert number_label(name, LABELS) == name
    assert stage_label(name, LABELS) == name
