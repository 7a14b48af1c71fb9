"""The rules of one database: every change is a row that stays, so that it is known what was in
force when.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from serendip.data.rules import NO_RULES, Rule, RuleSet
from serendip.data.store.schema import RULES

if TYPE_CHECKING:
    from serendip.data.store.base import Database

_REMOVED = "null"
_LAST_CHANGES = select(func.max(RULES.c.version)).group_by(RULES.c.rule_id)
_PRESENT = select(RULES).where(RULES.c.version.in_(_LAST_CHANGES))


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One change of a rule.

    Args:
        version: of all rules from then on.
        changed: when, in Unix seconds.
        rule_id: of the rule.
        rule: as it was from then on; None = it was removed.
    """

    version: int
    changed: float
    rule_id: str
    rule: Rule | None


class RuleTable:
    """The table of rules of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self) -> list[RuleChange]:
        """All changes, oldest first."""
        rows = self._database.rows(select(RULES).order_by(RULES.c.version))
        return [RuleChange(row.version, row.changed, row.rule_id, _read(row.rule)) for row in rows]

    def read(self, known: RuleSet = NO_RULES) -> RuleSet:
        """The rules in force; only what changed since the ``known`` ones is read."""
        rows = self._database.rows(_PRESENT.where(RULES.c.version > known.version))
        version = max((row.version for row in rows), default=known.version)
        return known.changed({row.rule_id: _read(row.rule) for row in rows}, version)

    def put(self, rules: Mapping[str, Rule | None]) -> list[str]:
        """Replace the rules of some ids, None = remove; ids of those that are not as they were."""
        new = {
            name: json.dumps(rule.as_dict(), sort_keys=True) if rule else _REMOVED
            for name, rule in rules.items()
        }
        with self._database.write() as connection:
            present = {row.rule_id: row.rule for row in connection.execute(_PRESENT)}
            changed = [name for name in new if present.get(name, _REMOVED) != new[name]]
            last = connection.scalar(select(func.max(RULES.c.version))) or 0
            rows = [
                {"version": version, "changed": time.time(), "rule_id": name, "rule": new[name]}
                for version, name in enumerate(changed, last + 1)
            ]
            if rows:
                connection.execute(RULES.insert(), rows)
        return changed


def _read(text: str) -> Rule | None:
    return None if text == _REMOVED else Rule.of(json.loads(text))
