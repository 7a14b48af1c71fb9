"""What `serendip serve` tells Ray Serve."""

import re
from pathlib import Path

import pytest


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_each_workspace_of_a_cluster_has_a_plain_name_of_its_own() -> None:
    pytest.importorskip("ray.serve", reason="the extra ray-serve is not installed")
    from serendip.serve.ray_app import name_application

    shops = [Path("/a/shop"), Path("/b/shop"), Path("/a/Möbel & mehr")]
    names = list(map(name_application, shops))
    assert len(set(names)) == 3
    assert names == list(map(name_application, shops))
    assert all(re.fullmatch(r"serendip-[\w-]+-[0-9a-f]{8}", name, re.ASCII) for name in names)
