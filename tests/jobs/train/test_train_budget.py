"""The fit on all data continues from the one on its older part, within the time of a budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_shop import WITHOUT_SEARCHES, import_shop

from serendip.data.splits import temporal
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, GateError
from serendip.jobs.context import JobContext
from serendip.jobs.train.continuation import OlderFit
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.ranker.labels import INNER_FRACTION
from serendip.jobs.train.train import train_workspace
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions


def vectors_of(model: object) -> np.ndarray:
    assert isinstance(model, Retriever)
    return model.item_vectors


def test_a_fit_continues_from_the_fit_on_the_older_part(tmp_path: Path) -> None:
    settings = import_shop(tmp_path / "shop", num_users=20) / "serendip.toml"
    settings.write_text(settings.read_text() + WITHOUT_SEARCHES)
    context = JobContext.open(settings.parent)
    dataset, options = context.dataset, TrainOptions()
    fitter = Fitter(context, tmp_path)
    fitted = fit_engine(fitter, dataset, "all", options).state
    split = temporal(dataset, INNER_FRACTION)
    past = fitter.fit_sources(split.train, "past", options)
    continued = fitter.fit_sources(dataset, "by-hand", options, OlderFit.of(past))
    nothing = fitter.fit_sources(dataset, "nothing", options)
    names = ("retriever", "item-knn")
    (found, knn), (expected, expected_knn), (afresh, knn_afresh) = (
        (vectors_of(state.models[names[0]]), state.models[names[1]])
        for state in (fitted, continued, nothing)
    )
    assert np.array_equal(found, expected)
    assert not np.allclose(found, afresh, atol=1e-3)
    assert type(knn) is type(expected_knn) is type(knn_afresh)
    assert fitted.ranker is not None


def test_a_training_says_what_its_budget_cut_short(fresh: Path) -> None:
    context = JobContext.open(fresh, budget="0.001s")
    with pytest.raises(
        GateError, match=r"every model has learned \(a budget of 0.001 s .*retriever"
    ) as error:
        train_workspace(context)
    assert "--budget" in str(error.value) and "--force" in error.value.hint
    assert not list(context.workspace.generation_folder.glob("gen-*"))
    context = JobContext.open(fresh, budget="0.001s")
    budget = train_workspace(context, force=True).manifest["budget"]
    assert budget["seconds"] == 0.001
    cuts = {cut["name"]: cut["done"] for cut in budget["cut_short"]}
    assert cuts["retriever (all-older)"] == cuts["retriever (all)"] == 0.0
    assert 0 < cuts["ranker"] < 1


def test_a_training_without_a_budget_cuts_nothing_short(trained_folder: Path) -> None:
    context = JobContext.open(trained_folder)
    assert context.budget.as_dict() == {"seconds": None, "cut_short": []}


def test_the_budget_is_a_setting_and_the_option_goes_before_it(fresh: Path) -> None:
    settings = fresh / "serendip.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(f'{text}\n[train]\nbudget = "10m"\n', encoding="utf-8")
    assert JobContext.open(fresh).budget.seconds == 600
    assert JobContext.open(fresh, budget="2h").budget.seconds == 7_200
    with pytest.raises(ConfigError, match="is not a duration"):
        JobContext.open(fresh, budget="soon")
    settings.write_text(f'{text}\n[train]\nbudget = "soon"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.budget.*soon"):
        Workspace.open(fresh)
