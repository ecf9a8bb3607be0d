"""Resolution without a person: a single small issue, by one of these rules, and never what is escalated.

A rule is a condition over the engine's table ``found``; its figures come from the settings. Every one fires in a test.
"""

from dataclasses import dataclass

import duckdb


@dataclass(frozen=True, slots=True)
class Rule:
    """``name`` goes into the record, ``why`` into its reason; ``condition`` is SQL over a row of ``found``."""

    name: str
    why: str
    condition: str


RULES = (
    Rule(
        "near_in_time",
        "both sides agree but for a time difference within the limit",
        "issues[1] IN ('time', 'late_posting') AND on_its_day AND apart_ms <= getvariable('auto_time_ms')",
    ),
    Rule(
        "rounding",
        "the amounts differ by no more than rounding does",
        "issues[1] = 'amount' AND own_id IS NOT NULL AND amount_drift <= getvariable('auto_rounding')",
    ),
    Rule(
        "small_commission",
        "the commission differs by no more than the limit",
        "issues[1] = 'commission' AND commission_drift <= getvariable('auto_commission')",
    ),
)


def apply_rules(engine: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Note in ``found.rule`` which rule resolves a break, if one does; returns how many each resolved.

    Only a break with a single issue that is not escalated comes before a rule, and the first that fits has it.
    """
    engine.execute("ALTER TABLE found ADD COLUMN rule VARCHAR")
    for rule in RULES:
        engine.execute(
            f"UPDATE found SET rule = '{rule.name}' "
            f"WHERE rule IS NULL AND len(issues) = 1 AND NOT escalated AND {rule.condition}"
        )
    query = "SELECT rule, count(*) FROM found WHERE rule IS NOT NULL GROUP BY rule ORDER BY rule"
    return dict(engine.execute(query).fetchall())
