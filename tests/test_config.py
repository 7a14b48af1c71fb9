from pathlib import Path

import pytest

from serendip.config import read_toml
from serendip.errors import ConfigError

NESTED = [b"a=" + b"[" * 20_000, b"a=" + b"{a=" * 20_000]


@pytest.mark.parametrize("data", [b"a = ", b"\xff", b"[a]\n[a]", *NESTED])
def test_what_is_no_toml_or_nested_too_deeply_is_a_config_error(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "serendip.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"serendip\.toml is (not valid TOML|nested too deeply)"):
        read_toml(path)
