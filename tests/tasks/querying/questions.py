"""Random questions over the fuzz's two tables: SQL that DuckDB takes, and mostly PostgreSQL in the same words.

A question names the tables ``{q}`` and ``{p}``. The dialects mean the same by what `Question.is_common` is true for.
Left out of that are patterns beyond LIKE, letter case beyond ASCII, the default place of NULLs, division, and functions
that only one of them has. Every LIMIT follows an order that the keys make total, so each question has one answer.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_Choice = TypeVar("_Choice")

WALLETS: Final = ["wallet-1", "wallet-2", "Wallet-1", "WALLET 2", "", "ä", "a\\0b", "it''s", "wallet-1 ", "z%_", "😀"]
REFERENCES: Final = ["R1", "r1", "R 2", "R-10", "R10", "", "é", "zoë", "Zoe", "%", "_", "\\x41", "null", "10", "9"]
METAS: Final = [
    '{"n": 1}',
    '{"n": "2"}',
    '{"n": 10}',
    "{}",
    "[]",
    '[1, "a"]',
    "null",
    '"text"',
    "true",
    '{"a": {"b": null}}',
    '{"n": 1.50, "a": {"b": [0.10, -9999999999999999.99]}}',
    '{"n": 0.10000000000000000000001, "a": 100000000000000000000000}',
]
AMOUNTS: Final = ["0", "0.01", "10", "1.50", "9999999999999999.99", "99.99", "-5"]
RATES: Final = ["0", "0.0000000001", "-1.5", "1234567890123456789012345678.0123456789"]
WHOLES: Final = ["0", "1", "-99999999999999999999", "99999999999999999999", "7"]
SMALLS: Final = ["0", "1", "-32768", "32767", "10"]
NUMS: Final = ["0", "1", "-3", "10", "9", "100"]
BIGS: Final = ["0", "-9223372036854775807", "9223372036854775807", "10", "9"]
DAYS: Final = ["2024-02-29", "2026-01-01", "2026-01-31", "1999-12-31", "0001-01-01", "9999-12-31"]
ATS: Final = [
    "2026-01-01 00:00:00+00", "2026-01-31 23:59:59.999999+00", "2026-02-01 00:00:00+00", "2026-02-15 12:00:00.5+00",
    "1970-01-01 00:00:00+00", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00",
]  # fmt: skip
OTHERS: Final = [f"{digit * 8}-0000-7000-8000-{digit * 12}" for digit in "07af"]
MONTHS: Final = ["2026-01", "2026-02", "2026-03"]

_DOMAINS: Final = {
    "wallet": [f"'{value}'" for value in WALLETS],
    "reference": [f"'{value}'" for value in REFERENCES],
    "meta": [f"'{value}'" for value in METAS],
    "amount": AMOUNTS,
    "rate": RATES,
    "whole": WHOLES,
    "small": SMALLS,
    "num": NUMS,
    "big": BIGS,
    "flag": ["true", "false"],
    "day": [f"DATE '{value}'" for value in DAYS],
    "stamp": [f"TIMESTAMPTZ '{value}'" for value in ATS],
    "created_at": [
        f"TIMESTAMPTZ '2026-0{m}-{d:02d} 0{h}:00:00+00'" for m in (1, 2, 3) for d in (1, 9, 28) for h in (0, 7)
    ],
    "other": [f"UUID '{value}'" for value in OTHERS],
    "month": [f"'{value}'" for value in MONTHS],
}
COLUMNS: Final = ["id", *_DOMAINS]
_TEXTS: Final = ["wallet", "reference", "meta", "month"]
_NUMBERS: Final = ["amount", "rate", "whole", "small", "num", "big"]
_COMPARISONS: Final = ["=", "<>", "<", "<=", ">", ">="]
_PATTERNS: Final = ["'R%'", "'%1'", "'_1'", "'%ë%'", "'wallet-_'", "'%'", "''", "'W%1'", "'%n%'"]


@dataclass(frozen=True)
class Question:
    """``is_common``: PostgreSQL must give the same answer. ``is_ordered``: the order of its rows is part of it."""

    sql: str
    is_common: bool
    is_ordered: bool


class Questioner:
    """Makes questions by chance: the same seed, the same questions. ``ids`` are some of the rows' keys."""

    def __init__(self, seed: str, ids: list[str]) -> None:
        self._chance = random.Random(seed)  # noqa: S311  # no secret
        self._domains = {**_DOMAINS, "id": [f"UUID '{one}'" for one in ids]}
        self._is_common = True

    def question(self) -> Question:
        """The next one."""
        self._is_common = True
        make: Callable[[], tuple[str, bool]] = self._pick(
            [self._rows, self._rows, self._groups, self._total, self._distinct, self._window, self._join, self._set]
        )
        sql, is_ordered = make()
        return Question(sql, self._is_common, is_ordered)

    def _pick(self, choices: Sequence[_Choice]) -> _Choice:
        return self._chance.choice(choices)

    def _is(self, likelihood: float) -> bool:
        return self._chance.random() < likelihood

    def _rare(self, text: str) -> str:
        """``text``, which only DuckDB takes, or takes so."""
        self._is_common = False
        return text

    def _rows(self) -> tuple[str, bool]:
        shown = ", ".join([self._expression() for _ in range(self._chance.randrange(1, 4))])
        if self._is(0.15):
            shown = ", ".join(COLUMNS)
        return self._limited(f"SELECT {shown}, id FROM {{q}}{self._where()}", "id")

    def _limited(self, sql: str, *ties: str) -> tuple[str, bool]:
        if self._is(0.35):
            return sql, False
        # PostgreSQL names a CASE, or a CAST, by a column in it; ORDER BY of the bare name would then mean that value.
        names = [f"{{q}}.{column}" for column in COLUMNS]
        keys = [self._ordering(self._pick([*names, self._expression()])) for _ in range(self._chance.randrange(3))]
        sql += f" ORDER BY {', '.join([*keys, *ties])}"
        if self._is(0.75):
            sql += f" LIMIT {self._chance.randrange(9)}"
            if self._is(0.3):
                sql += f" OFFSET {self._chance.randrange(5)}"
        return sql, True

    def _ordering(self, key: str) -> str:
        place = self._pick([" NULLS FIRST", " NULLS LAST"])
        if self._is(0.04):
            place = self._rare("")
        return f"({key}){self._pick(['', ' ASC', ' DESC'])}{place}"

    def _where(self, likelihood: float = 0.75) -> str:
        return f" WHERE {self._condition()}" if self._is(likelihood) else ""

    def _condition(self, depth: int = 0) -> str:
        if depth < 3 and self._is(0.4):
            one, other = self._condition(depth + 1), self._condition(depth + 1)
            return self._pick([f"({one} AND {other})", f"({one} OR {other})", f"NOT ({one})", f"({one} AND {other})"])
        return self._test("")

    def _test(self, of: str) -> str:
        column = self._pick(list(self._domains))
        values = self._domains[column]
        value, other = self._pick(values), self._pick(values)
        name = of + column
        tests = [
            f"{name} {self._pick(_COMPARISONS)} {value}",
            f"{name} {self._pick(_COMPARISONS)} {value}",
            f"{name} {self._pick(_COMPARISONS)} {value}",
            f"{name} BETWEEN {value} AND {other}",
            f"{name} {self._pick(['IN', 'NOT IN'])} ({value}, {other})",
            f"{name} {self._pick(['IN', 'NOT IN'])} ({value}, NULL)",
            f"{name} IS {self._pick(['', 'NOT '])}NULL",
            f"{name} IS {self._pick(['', 'NOT '])}DISTINCT FROM {value}",
            f"coalesce({name}, {value}) {self._pick(_COMPARISONS)} {other}",
            f"{value} {self._pick(_COMPARISONS)} {name}",
            f"({name} = {value} OR {name} IS NULL)",
        ]
        if column in _TEXTS:
            pattern = self._pick(_PATTERNS)
            tests += [f"{name} {self._pick(['LIKE', 'NOT LIKE'])} {pattern}"] * 3
            tests += [f"length({name}) > {self._chance.randrange(9)}", f"substring({name}, 1, 2) = 'R1'"]
            if self._is(0.15):
                tests = [
                    self._rare(f"{name} ILIKE {pattern}"),
                    f"regexp_matches({name}, '[rR].?1|^$')",
                    f"starts_with(lower({name}), 'w')",
                    f"{name} SIMILAR TO '[a-z]+.*'",
                    f"{name} GLOB 'R*'",
                ]
        if not of and self._is(0.12):
            tests = [
                "EXISTS (SELECT 1 FROM {p} AS s WHERE s.wallet = {q}.wallet)",
                f"wallet IN (SELECT wallet FROM {{p}} WHERE {self._test('')})",
                f"amount > (SELECT min(amount) FROM {{p}} WHERE {self._test('')})",
                f"id NOT IN (SELECT id FROM {{q}} WHERE {self._test('')})",
            ]
        return str(self._pick(tests))

    def _expression(self, of: str = "") -> str:
        column, number, text = self._pick(COLUMNS), self._pick(_NUMBERS), self._pick(_TEXTS)
        choices = [
            f"{of}{column}",
            f"{of}{column}",
            f"coalesce({of}{text}, 'none')",
            f"CASE WHEN {self._test(of)} THEN {of}{number} END",
            f"CASE WHEN {self._test(of)} THEN 'yes' ELSE {of}{text} END",
            f"({of}num + 1) * 2",
            f"{of}amount + {of}num",
            f"-{of}rate",
            f"abs({of}whole)",
            f"nullif({of}num, 1)",
            f"greatest({of}num, {of}small)",
            f"least({of}day, DATE '2026-01-15')",
            f"CAST({of}amount AS BIGINT)" if not self._is(0.5) else f"round({of}amount, 1)",
            f"CAST({of}{self._pick(['num', 'day', 'other', 'flag', 'amount', 'rate'])} AS VARCHAR)",
            f"{of}reference || '-' || {of}wallet",
            f"substring({of}meta, 2, 3)",
            f"json_exact({of}meta, {self._keys()})",
            f"length({of}{text})",
            f"{of}num % 3",
            f"extract(year FROM {of}day)",
            f"date_trunc('day', {of}created_at)",
            f"{of}big > {of}num",
            f"{of}wallet = {of}reference",
        ]
        if self._is(0.06):
            choices = [
                self._rare(f"upper({of}{text})"),
                f"{of}amount / 3",
                f"md5({of}{text})",
                f"epoch_us({of}stamp)",
                f"{of}stamp::VARCHAR",
                f"hash({of}{column})",
                f"typeof({of}{column})",
                f"json_type(TRY_CAST({of}meta AS JSON))",
                f"strftime({of}created_at, '%Y-%m-%dT%H:%M:%S')",
                f"[{of}{text}]",
                f"exact_div({of}amount, 7, 4)",
            ]
        return str(self._pick(choices))

    def _keys(self) -> str:
        return self._pick(["'n'", "'a'", "'a', 'b'", "'a', 'b', '1'", "'1'", "'none'"])

    def _aggregate(self, of: str = "") -> str:
        number = self._pick(_NUMBERS)
        comparable = self._pick([*_NUMBERS, *_TEXTS, "day", "stamp", "created_at"])
        choices = [
            "count(*)",
            f"count({of}{self._pick(COLUMNS)})",
            f"count(DISTINCT {of}{self._pick(COLUMNS)})",
            f"sum({of}{number})",
            f"sum({of}{number}) FILTER (WHERE {self._test(of)})",
            f"min({of}{comparable})",
            f"max({of}{comparable})",
            f"bool_or({of}flag)",
            f"sum(CASE WHEN {self._test(of)} THEN 1 ELSE 0 END)",
        ]
        if self._is(0.05):
            choices = [
                self._rare(f"count_if({self._test(of)})"),
                f"avg_exact({of}amount, 4)",
                f"string_agg({of}reference, ',' ORDER BY {of}id)",
                f"arg_max({of}num, {of}id)",
                f"list({of}wallet ORDER BY {of}id)",
            ]
        return str(self._pick(choices))

    def _groups(self) -> tuple[str, bool]:
        key = self._pick([*COLUMNS, self._expression()])
        shown = f"{key} AS k, {self._aggregate()} AS a, {self._aggregate()} AS b"
        sql = f"SELECT {shown} FROM {{q}}{self._where()} GROUP BY {key}"
        if self._is(0.4):
            tests = ["count(*) > 2", "max(num) > 0", "count(reference) = 0", "sum(amount) IS NOT NULL"]
            sql += f" HAVING {self._pick(tests)}"
        if self._is(0.3):
            return f"{sql} ORDER BY k NULLS FIRST LIMIT 5", True
        return sql, False

    def _total(self) -> tuple[str, bool]:
        return f"SELECT {self._aggregate()} AS a, {self._aggregate()} AS b FROM {{q}}{self._where()}", False

    def _distinct(self) -> tuple[str, bool]:
        key = self._expression()
        sql = f"SELECT DISTINCT {key} AS k FROM {{q}}{self._where()}"
        return (f"{sql} ORDER BY k DESC NULLS LAST LIMIT 6", True) if self._is(0.5) else (sql, False)

    def _window(self) -> tuple[str, bool]:
        over = f"PARTITION BY {self._pick(COLUMNS)} ORDER BY {self._ordering(self._pick(COLUMNS))}, id"
        function = self._pick(
            ["row_number()", "rank()", "lag(num)", "lead(reference)", "first_value(wallet)", "sum(amount)", "count(*)"]
        )
        frame = " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW" if self._is(0.3) and "(" in function else ""
        return self._limited(f"SELECT id, {function} OVER ({over}{frame}) AS w FROM {{q}}{self._where()}", "id")

    def _join(self) -> tuple[str, bool]:
        kind = self._pick(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        other = self._pick(["{p}", "{p}", "{q}"])
        shared = self._pick(["wallet", "num", "other", "day", "id", "created_at"])
        where = f" WHERE {self._test(self._pick(['a.', 'b.']))}" if self._is(0.7) else ""
        source = f"FROM {{q}} AS a {kind} {other} AS b ON a.{shared} = b.{shared}{where}"
        if self._is(0.4):
            return f"SELECT {self._aggregate('a.')} AS x, {self._aggregate('b.')} AS y {source}", False
        sql = f"SELECT a.id AS i, b.id AS j, {self._expression('a.')} AS x {source}"
        if self._is(0.5):
            return f"{sql} ORDER BY i NULLS FIRST, j NULLS LAST LIMIT {self._chance.randrange(1, 12)}", True
        return sql, False

    def _set(self) -> tuple[str, bool]:
        column = self._pick(COLUMNS)
        operator = self._pick(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
        table = self._pick(["{p}", "{q}"])
        one, other = self._where(), self._where().replace("{q}.", f"{table}.")
        return f"SELECT {column} FROM {{q}}{one} {operator} SELECT {column} FROM {table}{other}", False
