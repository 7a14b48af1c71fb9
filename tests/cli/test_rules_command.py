from pathlib import Path
from typing import Any

import pytest
from commands import invoke, serendip_here

CAMPAIGN = """
[[rules]]
rule_id = "no-horror"
action = "hide"
where = "genre=horror"
queries = ["tale"]

[[rules]]
rule_id = "sale"
action = "pin"
items = ["i40", "nobody"]
begins = 2099-12-01T00:00:00Z
ends = "2099-12-24"
"""


def rules(shop: Path, *arguments: str) -> dict[str, Any]:
    code, document = invoke("rules", *arguments, "-w", str(shop))
    assert code == 0
    return document


def test_a_file_is_previewed_put_listed_and_its_rules_removed(shop: Path) -> None:
    file = shop / "campaign.toml"
    file.write_text(CAMPAIGN)
    shown = serendip_here("rules", "preview", file, "-w", shop, "--query", "tale", "-k", "3").stdout
    heading, first, *_ = shown.splitlines()
    assert heading.split() == ["without", "with"]
    assert first.endswith("  The comedy tale number 40")
    lists = rules(shop, "preview", str(file), "--query", "tale")
    ids = [item["item_id"] for item in lists["with_rules"]["items"]]
    assert ids[0] == "i40"
    assert lists["without_rules"]["items"][0]["item_id"] != "i40"
    told = rules(shop, "put", str(file))
    assert told == {"rules": 2, "changed": ["no-horror", "sale"], "unknown_items": ["nobody"]}
    assert rules(shop, "put", str(file))["changed"] == []
    listed = rules(shop, "list")
    assert (listed["version"], len(listed["rules"])) == (2, 2)
    assert listed["rules"][1]["ends"] - listed["rules"][1]["begins"] == 23 * 86_400
    text = serendip_here("rules", "list", "-w", shop).stdout
    assert "rule_id: sale, action: pin, begins: 2099-12-01 00:00 UTC" in text
    in_force = rules(shop, "preview", "--query", "tale", "-k", "60")
    assert len(in_force["with_rules"]["items"]) == 40
    assert rules(shop, "remove", "sale") == {"rule_id": "sale"}
    changes = rules(shop, "history")["changes"]
    assert [(one["version"], one["rule_id"]) for one in changes] == [
        *((1, "no-horror"), (2, "sale"), (3, "sale"))
    ]
    assert (changes[1]["rule"]["items"], changes[2]["rule"]) == (["i40", "nobody"], None)
    assert "sale: removed" in serendip_here("rules", "history", "-w", shop).stdout


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[[rule]]", "rules is missing"),
        ("[[rules", "campaign.toml cannot be read"),
        (CAMPAIGN.replace('"pin"', '"pim"'), "rules[1].action = 'pim'"),
        (CAMPAIGN.replace("genre=horror", "gnre=horror"), "rule 'no-horror': no item has"),
    ],
)
def test_a_wrong_file_is_refused_and_nothing_is_stored(shop: Path, written: str, told: str) -> None:
    file = shop / "campaign.toml"
    file.write_text(written)
    done = serendip_here("rules", "put", file, "-w", shop)
    assert done.returncode == 3
    assert told in done.stderr
    assert rules(shop, "list")["rules"] == []
    assert "no rule 'x'" in serendip_here("rules", "remove", "x", "-w", shop).stderr
