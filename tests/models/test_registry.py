from pathlib import Path

import pytest
from added_model import added_package, page_blocks

from serendip.config import validate
from serendip.engine.config.models import DEFAULT_MODELS, ModelsConfig
from serendip.engine.config.settings import Settings
from serendip.errors import ConfigError
from serendip.models import model_class, model_names
from serendip.models.retriever.config import UnifiedConfig


def read(models: dict[str, object], **tables: object) -> Settings:
    return validate(Settings, {"models": models, **tables}, "serendip.toml")


@pytest.mark.parametrize("key", ["item_knn", "item-knn"])
def test_names_with_underscore_and_hyphen_are_the_same(key: str) -> None:
    model = read({key: {"shrinkage": 3.0}}).models.build(UnifiedConfig())["item-knn"]
    assert (model.name, model.config.model_dump()["shrinkage"]) == ("item-knn", 3.0)


def test_a_table_keeps_what_it_leaves_out_or_says_another_class() -> None:
    model = read({"item_knn": {"shrinkage": 3.0}}).models.tables["item-knn"]
    assert model.config.model_dump() == {"num_neighbours": 200, "decay": 0.5, "shrinkage": 3.0}

    settings = read({"retriever": {"class": "sasrec", "epochs": 3}})
    model = settings.models.build(settings.unified)["retriever"]
    assert (model.name, model.config.model_dump()["epochs"]) == ("sasrec", 3)
    assert settings.models.retriever.epochs == Settings().models.retriever.epochs


def test_models_of_any_class_can_be_added() -> None:
    added = {"sasrec": {"epochs": 2}, "long_memory": {"class": "gru4rec", "max_len": 200}}
    settings = read(added, surfaces={"home": {"sources": {"long-memory": 5}, "scorer": "sasrec"}})
    built = settings.models.build(settings.unified)
    assert list(built) == [*DEFAULT_MODELS, "sasrec", "long-memory"]
    assert built["long-memory"].name == "gru4rec"


def test_settings_survive_json() -> None:
    settings = read({"sasrec": {"epochs": 2}, "two": {"class": "ease", "l2": 2.0}})
    written = settings.model_dump(mode="json")
    assert written["models"]["two"] == {
        "class": "ease", "num_neighbours": 200, "decay": 0.5, "l2": 2.0,
        "max_items": 30_000,
    }  # fmt: skip
    assert "class" not in written["models"]["item_knn"]
    assert validate(Settings, written, "again") == settings


WRONG = {
    "unknown key `models.sasrec.epoch`. Valid keys: b.*epochs, ": {"sasrec": {"epoch": 2}},
    "unknown key `models.item-knn.shrink`. Valid keys: ": {"item-knn": {"shrink": 2}},
    "`models.long.epochs` = 'many': ": {"long": {"class": "gru4rec", "epochs": "many"}},
    "the class of 'mine' must be one of .*, not 'nope'": {"mine": {"class": "nope"}},
    "the class of 'mine' must be one of popularity, .*, not ''": {"mine": {}},
    "the class of 'mine' must be one of .*, not 3": {"mine": {"class": 3}},
    "'words' cannot be the name of a model: use up to 40": {"words": {"class": "ease"}},
    "'../up' cannot be the name of a model: use up to 40": {"../up": {"class": "ease"}},
    "'item-knn': another table configures the model 'item-knn'": {
        "item_knn": {},
        "item-knn": {},
    },
    "`models.ease` = 3: ": {"ease": 3},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_a_model_is_refused(message: str) -> None:
    with pytest.raises(ConfigError, match=f"^serendip.toml: .*{message}"):
        read(WRONG[message])


@pytest.mark.parametrize(
    ("surface", "message"),
    [
        ({"scorer": "nobody"}, "home.scorer names 'nobody'; use one of ranker, popularity, "),
        ({"sources": {"sasrec": 5}}, "home.sources names 'sasrec'; use one of popularity, "),
        ({"scorer": "content", "sponsored": {}}, "positions are sold by the ranker's predictions"),
    ],
)
def test_a_surface_names_models_that_there_are(surface: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read({}, surfaces={"home": surface})


def test_a_model_of_another_package_can_be_configured(tmp_path: Path) -> None:
    with added_package(tmp_path):
        assert "alphabet" in model_names()
        table = read({"a-to-z": {"class": "alphabet", "backwards": True}}).models.tables["a-to-z"]
        assert type(table.build()) is model_class("alphabet")
        with pytest.raises(ConfigError, match=r"`models.alphabet.back`\. Valid keys: backwards\."):
            read({"alphabet": {"back": True}})


def test_a_package_cannot_replace_a_model(tmp_path: Path) -> None:
    own = model_class("ease")
    with added_package(tmp_path, "ease = my_package.alphabet:Alphabet"):
        assert model_class("ease") is own


def test_without_its_package_a_model_is_unknown() -> None:
    assert "alphabet" not in model_names()
    with pytest.raises(ConfigError, match=r"no model is called 'alphabet'.*Known: popularity, "):
        model_class("alphabet")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("other = my_package.alphabet:Alphabet", "has the name 'alphabet'"),
        ("alphabet = my_package.alphabet:Nothing", "cannot be loaded"),
        ("alphabet = my_package.nothing:Alphabet", "cannot be loaded"),
        ("alphabet = my_package.alphabet:AlphabetConfig", "is not a Recommender"),
    ],
)
def test_a_wrong_entry_point_is_named(tmp_path: Path, entry: str, message: str) -> None:
    name = entry.split(" ")[0]
    with added_package(tmp_path, entry), pytest.raises(ConfigError, match=message):
        model_class(name)


def test_the_tables_of_the_page_are_settings() -> None:
    import tomllib

    served = next(code for code in page_blocks("toml") if "[models.popularity_recent]" in code)
    settings = validate(Settings, tomllib.loads(served), "page")
    assert set(ModelsConfig().tables) < set(settings.models.tables)
    assert settings.models.tables["long-memory"].class_name == "gru4rec"
