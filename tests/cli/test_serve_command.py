"""What `serendip serve` tells Ray Serve."""

from __future__ import annotations

import re
from pathlib import Path

from serendip.cli.serve import name_application


def test_each_workspace_of_a_cluster_has_a_plain_name_of_its_own() -> None:
    shops = [Path("/a/shop"), Path("/b/shop"), Path("/a/Möbel & mehr")]
    names = list(map(name_application, shops))
    assert len(set(names)) == 3
    assert names == list(map(name_application, shops))
    assert all(re.fullmatch(r"serendip-[\w-]+-[0-9a-f]{8}", name, re.ASCII) for name in names)
