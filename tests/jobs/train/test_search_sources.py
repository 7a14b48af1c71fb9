from pathlib import Path

import numpy as np
import pytest
from generated_rows import use_queries
from small_shop import add_settings, import_shop

from serendip.content.fusion import TEXT_ONLY
from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.jobs.train.fit import Fitter

LABELS = """
[ranker.searches]
labels = ["labels.csv"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = import_shop(tmp_path / "shop")
    add_settings(folder, LABELS)
    return folder


def test_queries_by_an_llm_come_before_those_from_fields(shop: Path, tmp_path: Path) -> None:
    context = JobContext.open(shop)
    fitter, catalogue = Fitter(context, tmp_path), context.dataset.catalogue
    counts = context.dataset.item_counts()
    plain = fitter.written_searches(catalogue, counts, TEXT_ONLY, 20)
    use_queries(context.workspace, {"a quiet evening": "i5", "gone": "no-such-item"})
    written = fitter.written_searches(catalogue, counts, TEXT_ONLY, 20)
    assert len(plain) == len(written) == 20
    assert "a quiet evening" not in plain.texts
    assert written.texts[-1] == "a quiet evening"
    assert catalogue[int(written.items[-1])].item_id == "i5"
    np.testing.assert_allclose(
        written.vectors[-1], fitter.encode_texts(["a quiet evening"], TEXT_ONLY)[0]
    )
    few = fitter.written_searches(catalogue, counts, TEXT_ONLY, 1)
    assert list(few.texts) == ["a quiet evening"]


def test_labels_of_the_settings_are_searches_and_count_for_the_fingerprint(
    shop: Path, tmp_path: Path
) -> None:
    context = JobContext.open(shop)
    fitter, vocabulary = Fitter(context, tmp_path), context.dataset.catalogue.vocabulary
    with pytest.raises(DataError, match=r"labels\.csv"):
        fitter.labelled_searches(vocabulary, TEXT_ONLY)
    before = compute_fingerprint(context.workspace, 0)
    (shop / "labels.csv").write_text(
        "query,item_id,label,source,model\nquiet,i5,good,llm,m\nquiet,i7,bad,llm,m\n"
    )
    assert compute_fingerprint(context.workspace, 0) != before
    (one,) = fitter.labelled_searches(vocabulary, TEXT_ONLY)
    assert (one.query.text, one.source) == ("quiet", "labelled")
    assert one.by_llm and not one.can_decide
    assert vocabulary.ids_of(one.items) == ["i5"]
    assert vocabulary.ids_of(one.irrelevant) == ["i7"]
    assert one.query.text_vector is not None
    (shop / "labels.csv").write_text("query,item_id,label,source,name\nquiet,i5,good,people,ann\n")
    (one,) = fitter.labelled_searches(vocabulary, TEXT_ONLY)
    assert one.can_decide
