import pytest

from serendip.config import validate
from serendip.engine.config.serve import ServeConfig
from serendip.engine.config.settings import Settings
from serendip.errors import ConfigError


def test_hosts_have_no_case_and_nothing_is_learned_from_them() -> None:
    table = {"allowed_hosts": ["Shop.Example.com"], "trusted_proxies": ["10.0.0.0/8", "::1"]}
    assert ServeConfig(**table).allowed_hosts == ("shop.example.com",)
    shared = validate(Settings, {"serve": {"allowed_hosts": ["a.b"]}}, "file")
    assert shared.learned_from() == Settings().learned_from()


@pytest.mark.parametrize("host", ["*", "*.example.com", "a.b:80", "https://a.b", "a..b", "", "a b"])
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.allowed_hosts\.0"):
        validate(Settings, {"serve": {"allowed_hosts": [host]}}, "file")


@pytest.mark.parametrize("network", ["*", "proxy", "10.0.0.1/8", "10.0.0", ""])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.trusted_proxies\.0"):
        validate(Settings, {"serve": {"trusted_proxies": [network]}}, "file")
