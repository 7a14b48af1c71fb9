import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from added_model import added_package
from small_shop import WITHOUT_SEARCHES, add_settings, import_shop

from serendip.data.items.catalogue import Item
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.jobs.context import JobContext
from serendip.jobs.train.train import train_workspace
from serendip.models import model_class
from serendip.runtime.progress import TrainOptions

TABLES = {
    "sasrec": "embedding_size = 8\nepochs = 1\nmax_len = 10\n",
    "gru4rec": "embedding_size = 8\nepochs = 1\nmax_len = 10\n",
    "item2vec": "embedding_size = 8\nepochs = 2\n",
    "ease": "l2 = 5.0\n",
    "alphabet": "backwards = true\n",
    "second-ease": 'class = "ease"\nl2 = 50\n',
}
SERVED = sorted(TABLES)
CLASSES = {name: name.removeprefix("second-") for name in SERVED}


def write_tables(folder: Path) -> None:
    """Every model as a table, and as the only source of two surfaces of its own."""
    tables = [f"\n[models.{name}]\n{table}" for name, table in TABLES.items()]
    for name in TABLES:
        for task in ("home", "similar"):
            tables.append(
                f'\n[surfaces.{task}_{name}]\ntask = "{task}"\nsources = {{{name} = 20}}\n'
            )
    tables.append('\n[surfaces.ordered]\ntask = "home"\nscorer = "sasrec"\n')
    add_settings(folder, "".join(tables))


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with added_package(tmp_path_factory.mktemp("site")) as folder:
        yield folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Path:
    folder = import_shop(tmp_path_factory.mktemp("served") / "shop", more=WITHOUT_SEARCHES)
    write_tables(folder)
    train_workspace(JobContext.open(folder, TrainOptions(seed=0)))
    return folder


@pytest.fixture(scope="module")
def served(trained: Path) -> Iterator[Engine]:
    engine = Engine.open(trained)
    yield engine
    engine.close()


@pytest.mark.parametrize("name", SERVED)
def test_answers_hold_items_that_it_proposed(served: Engine, name: str) -> None:
    home = served.recommend(Request(f"home_{name}", "u0", k=5, parts=True))
    similar = served.recommend(Request(f"similar_{name}", item_ids=("i3",), k=5, parts=True))
    for answer in (home, similar):
        assert answer.items
        assert not answer.degraded
        assert {name, f"{name} relative"} <= set(answer.items[0].parts)
    assert "i3" not in {one.item_id for one in similar.items}


@pytest.mark.parametrize("name", SERVED)
def test_an_explanation_names_it_with_its_label(served: Engine, name: str) -> None:
    request = Request(f"home_{name}", "u0", k=1)
    explanation = served.explain(request, served.recommend(request).items[0].item_id)
    kind, labels = model_class(CLASSES[name]), served.labels
    assert explanation.trace[f"from {name}"] > 0
    assert kind.label in labels.number(name)
    assert kind.label in labels.number(f"{name} relative")
    assert labels.stage(f"from {name}").startswith(f"From {kind().source_label}")
    assert {name, f"{name} relative"} <= set(explanation.parts)
    if kind.evidence is not None:
        opening = kind.evidence.sentence.split("{title}")[0]
        assert any(one.text.startswith(opening) for one in explanation.evidence)


def test_a_posted_item_is_answered_by_all(trained: Path, tmp_path: Path) -> None:
    engine = Engine.open(Path(shutil.copytree(trained, tmp_path / "shop")))
    engine.add_items([Item("new", "The horror tale number 0", "", {"genre": "horror"})])
    for name in SERVED:
        answer = engine.recommend(Request(f"similar_{name}", item_ids=("new", "i3"), k=5))
        assert answer.items and not answer.degraded
        explanation = engine.explain(Request(f"home_{name}", "u0"), "new")
        assert explanation.item_id == "new"
    assert "new" in {one.item_id for one in engine.similar("i0", k=30).items}
    engine.close()


def test_a_model_orders_a_surface_by_its_own_scores(served: Engine) -> None:
    answer = served.recommend(Request("ordered", "u0", k=20, parts=True))
    (query,) = served.queries([Request("ordered", "u0")])
    scores = served.state.models["sasrec"].score_all([query])[0]
    numbers = [served.state.catalogue.vocabulary.number(one.item_id) for one in answer.items]
    assert len(numbers) == 20
    assert [one.score for one in answer.items] == pytest.approx(scores[numbers], rel=1e-3)
    assert (scores[numbers][:-1] >= scores[numbers][1:] - 1e-3).all()
    assert not any(part.startswith("P(") for part in answer.items[0].parts)


def test_a_scorer_that_the_generation_does_not_have_is_named(shop: Path) -> None:
    added = '\n[models.sasrec]\n[surfaces.ordered]\ntask = "home"\nscorer = "sasrec"\n'
    add_settings(shop, added)
    engine = Engine.open(shop)
    ordered, home = (
        engine.recommend(Request("ordered", "u0")),
        engine.recommend(Request("home", "u0")),
    )
    assert ordered.degraded == ("sasrec",)
    assert [one.item_id for one in ordered.items] == [one.item_id for one in home.items]
    engine.close()


def test_serving_them_imports_no_package_of_training(trained: Path, package: Path) -> None:
    code = (
        "import sys; from serendip.engine.engine import Engine; "
        "from serendip.engine.request import Request; "
        f"engine = Engine.open({str(trained)!r}); "
        f"[engine.recommend(Request(f'home_{{name}}', 'u0')) for name in {SERVED!r}]; "
        "print([name for name in ('torch', 'lightgbm', 'sklearn', 'pandas', 'faiss') "
        "if name in sys.modules])"
    )
    paths = os.pathsep.join([str(package), *sys.path])
    command, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
