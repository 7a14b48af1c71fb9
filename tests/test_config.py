from pathlib import Path

import pytest

from serendip.config import read_toml
from serendip.errors import ConfigError


@pytest.mark.parametrize("text", ["a=" + "[" * 20_000, "a=" + "{a=" * 20_000])
def test_a_deeply_nested_file_is_a_config_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "serendip.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"serendip\.toml is nested too deeply"):
        read_toml(path)


@pytest.mark.parametrize("data", [b"a = ", b"\xff", b"[a]\n[a]"])
def test_what_is_no_toml_is_a_config_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "serendip.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is not valid TOML"):
        read_toml(path)
