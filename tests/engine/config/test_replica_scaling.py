"""How many replicas a service has, by its settings."""

from __future__ import annotations

import pytest

from serendip.engine.config.serve import ServeConfig
from serendip.errors import ConfigError
from serendip.runtime.executor_config import ReplicaScaling


def test_replicas_follow_the_load_only_where_the_settings_say_so() -> None:
    fixed = ServeConfig().scale(3)
    assert (fixed.least, fixed.most) == (3, 3)
    config = ServeConfig(most_replicas=8, replica_requests=2.5, replica_patience="90s")
    assert config.scale(2) == ReplicaScaling(2, 8, 2.5, 90.0)
    with pytest.raises(ConfigError, match="most_replicas is 8, and --replicas 9"):
        config.scale(9)
