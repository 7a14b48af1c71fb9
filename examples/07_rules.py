"""Rules of a merchandiser: seen before they count, counted at once, and gone again.

Usage: python examples/07_rules.py WORKSPACE
The workspace is changed: two rules, which are removed again.
"""

from __future__ import annotations

import sys

from serendip import Engine, Request, Rule


def main(workspace: str) -> None:
    """Preview, put, look, remove."""
    engine = Engine.open(workspace)
    request = Request("home", k=5)
    first, *_, last = [item.item_id for item in engine.recommend(request).items]
    rules = [
        Rule("last-first", "pin", items=(last,)),
        Rule("without-it", "hide", items=(first,), surfaces=("home",)),
    ]
    after, before = engine.preview(request, rules)
    for name, answer in (("without", before), ("with", after)):
        print(f"{name:<8}{[item.item_id for item in answer.items]}")
    engine.put_rules(rules)
    print(f"stored  {[item.item_id for item in engine.recommend(request).items]}")
    absence = engine.explain(request, first).absence
    print(f"{first}: {absence.text if absence else 'is shown'}")
    engine.put_rules((), removed=[rule.rule_id for rule in rules])
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1])
