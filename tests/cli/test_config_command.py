from pathlib import Path

import pytest
from commands import invoke, serendip_here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "serendip.toml").write_text('[train]\nbudget = "10m"\n')
    return tmp_path


def test_it_shows_every_setting_with_its_origin(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("SERENDIP_GATE__MARGIN", "0.2")
    lines = serendip_here("config", "show", "-w", folder).stdout.splitlines()
    assert f'train.budget = "10m"   ({folder}/serendip.toml)' in lines
    assert "gate.margin = 0.2   (SERENDIP_GATE__MARGIN)" in lines
    assert "queries.min_users = 3   (default)" in lines
    code, document = invoke("config", "show", "-w", str(folder))
    assert code == 0
    shown = {one["key"]: one for one in document["settings"]}
    assert shown["gate.margin"]["origin"] == "environment"
    assert len(shown) == len(lines)


def test_a_wrong_variable_ends_every_command(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("SERENDIP_SERVE__ALLOWED_HOSTS", "[")
    for command in (("config", "show"), ("serve",), ("doctor",)):
        done = serendip_here(*command, "-w", folder)
        assert (done.returncode, "SERENDIP_SERVE__ALLOWED_HOSTS" in done.stderr) == (2, True)
