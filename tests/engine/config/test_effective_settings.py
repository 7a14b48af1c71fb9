from pathlib import Path

import pytest

from serendip.config import Overrides
from serendip.engine.workspace import (
    EffectiveSetting,
    read_effective_settings,
)
from serendip.errors import ConfigError

FILE = """
[train]
budget = "10m"
[models.popularity-recent]
window_days = 3
[surfaces.home.sources]
popularity = 50
[llm]
base_url = "https://me:secret@host/v1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "serendip.toml").write_text(FILE)
    return tmp_path


def read(folder: Path, **environment: str) -> dict[str, EffectiveSetting]:
    return {one.key: one for one in read_effective_settings(folder, environment)}


def test_each_value_says_where_it_comes_from(folder):
    found = read(folder, SERENDIP_TRAIN__STALE__NEW_SHARE="0.5", serendip_gate__margin="0.2")
    file = str(folder / "serendip.toml")
    assert found["train.budget"] == EffectiveSetting("train.budget", "10m", "file", file)
    assert found["models.popularity_recent.window_days"].origin == "file"
    assert found["surfaces.home.sources.popularity"].value == 50
    assert (found["train.stale.new_share"].value, found["gate.margin"].value) == (0.5, 0.2)
    assert found["gate.margin"].source == "serendip_gate__margin"
    assert found["train.stale.max_age"].origin == "default"
    rest = {one.origin for key, one in found.items() if key.startswith(("search.", "models.ret"))}
    assert rest == {"default"}


def test_a_variable_counts_more_than_the_file_and_needs_two_underlines(folder):
    found = read(
        folder, SERENDIP_MODELS__POPULARITY_RECENT__WINDOW_DAYS="2", SERENDIP_TRAIN__BUDGET="1h"
    )
    assert (found["models.popularity_recent.window_days"].value, found["train.budget"].value) == (
        2,
        "1h",
    )
    assert found["train.budget"].source == "SERENDIP_TRAIN__BUDGET"
    assert found["surfaces.home.sources.popularity"].origin == "file"
    environment = {"SERENDIP_DATA": "x", "SERENDIP___X": "y", "OTHER_A__B": "z"}
    assert Overrides.of(environment).variables == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SERENDIP_TRAIN__BUDGET", "soon", r"^SERENDIP_TRAIN__BUDGET: `train\.budget` = 'soon'"),
        ("SERENDIP_TRAIN__BUGDET", "1h", r"^SERENDIP_TRAIN__BUGDET: unknown key.*Valid keys: b"),
        ("SERENDIP_TRIAN__BUDGET", "1h", r"^SERENDIP_TRIAN__BUDGET: unknown key `trian`"),
        ("SERENDIP_SERVE__ALLOWED_HOSTS", "[a.b]", r"^SERENDIP_SERVE__ALLOWED_HOSTS = .*no. JSON"),
        ("SERENDIP_SERVE__ALLOWED_HOSTS", '["*"]', r"^SERENDIP_SERVE__ALLOWED_HOSTS: .*host name"),
        ("SERENDIP_TRAIN__BUDGET__X", "1", r"^SERENDIP_TRAIN__BUDGET__X: `budget` is not a table"),
    ],
)
def test_an_error_names_the_variable(folder, name, value, message):
    with pytest.raises(ConfigError, match=message):
        read(folder, **{name: value})


def test_passwords_are_masked_also_with_signs_and_in_queries(folder):
    shown = read(folder, SERENDIP_LLM__API_KEY_ENV="MY_KEY")
    assert shown["llm.base_url"].value == "https://***@host/v1"
    assert shown["llm.api_key_env"].value == "MY_KEY"  # the name of a variable, not its value
    assert not [one for one in shown.values() if "secret" in str(one.value)]
    address = "https://user:p@ss/w@h/v1?a=1&access_token=abc&b=2"
    shown = read(folder, SERENDIP_LLM__BASE_URL=address)
    assert shown["llm.base_url"].value == "https://***@h/v1?a=1&access_token=***&b=2"
