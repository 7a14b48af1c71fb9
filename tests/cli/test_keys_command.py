from pathlib import Path
from typing import Any

import pytest
from commands import invoke, serendip_here
from small_shop import add_settings, import_shop


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    import_shop(tmp_path / "shop")
    return tmp_path / "shop"


def keys(shop: Path, *arguments: str) -> dict[str, Any]:
    code, document = invoke("keys", *arguments, "-w", str(shop))
    assert code == 0
    return document


def test_a_key_is_shown_once_and_listed_without_its_text(shop: Path) -> None:
    new = keys(shop, "create", "--name", "web", "--scope", "read", "--scope", "write")
    assert new["key"].startswith(f"serendip_{new['key_id']}_")
    assert (new["scopes"], new["state"], new["expires"]) == (["read", "write"], "active", None)
    listed = serendip_here("keys", "list", "-w", shop)
    assert listed.stdout == f"{new['key_id']} 'web': active, read write\n"
    assert "key" not in keys(shop, "list")["keys"][0]


def test_scopes_and_expiry_are_kept_until_it_is_revoked(shop: Path) -> None:
    key = keys(shop, "create", "--expires", "90d", "--scope", "admin")
    assert key["expires"] - key["created"] == pytest.approx(90 * 86_400)
    assert key["scopes"] == ["admin"]
    assert keys(shop, "revoke", key["key_id"])["state"] == "revoked"
    assert [one["state"] for one in keys(shop, "list")["keys"]] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("create", "--scope", "root"), 3, "'root' is unknown"),
        (("create", "--expires", "soon"), 2, "'soon' is not a duration"),
        (("revoke", "zz"), 3, "no key 'zz'"),
    ],
)
def test_wrong_options_name_the_value(shop: Path, arguments, code, message) -> None:
    done = serendip_here("keys", *arguments, "-w", shop)
    assert done.returncode == code
    assert message in done.stderr


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ("", ("--host", "0.0.0.0"), "host 0.0.0.0;"),
        ('allowed_hosts = ["a.example"]', (), "of [serve]: a.example"),
        ('allowed_hosts = ["*"]', (), "[serve]: `allowed_hosts.0` = '*'"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_key_the_service_starts_for_nobody_else(
    shop: Path, settings: str, options: tuple[str, ...], message: str, workers: str
) -> None:
    add_settings(shop, f"\n[serve]\n{settings}\n")
    done = serendip_here("serve", "-w", shop, "--port", "0", "--workers", workers, *options)
    assert done.returncode == 2
    assert message in done.stderr
