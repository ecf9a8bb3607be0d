"""Columns of a canonical table as text, for the writers of the suppliers' folders. Each writes its statement as the
supplier would, for simulators, tests and benchmarks.

What the parsers drop is written empty, and accounts as they are. Set-based, a million lines in seconds.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc


def column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    return table[name].combine_chunks()


def text(table: pa.Table, name: str) -> pa.Array:
    """A column as text, empty where NULL."""
    return pc.coalesce(column(table, name).cast(pa.string()), pa.scalar(""))


def empty(table: pa.Table) -> pa.Array:
    """A column of empty texts."""
    return pa.repeat("", table.num_rows)


def words(ours: pa.Array, theirs: Mapping[str, str]) -> pa.Array:
    """The supplier's word for each of ours."""
    return pa.array(list(theirs.values()), pa.string()).take(pc.index_in(ours, pa.array(list(theirs), pa.string())))


def decimals(table: pa.Table, name: str) -> pa.Array:
    """Amounts with four places; 0 where NULL."""
    return pc.coalesce(column(table, name).cast(pa.decimal128(18, 4)).cast(pa.string()), pa.scalar("0.0000"))


def cents(amount: pa.Array) -> pa.Array:
    """Amounts as signed whole cents."""
    return pc.multiply(amount, pa.scalar(100, pa.decimal128(3, 0))).cast(pa.decimal128(38, 0)).cast(pa.string())


def quoted(values: pa.Array, special: str) -> pa.Array:
    """CSV fields, in quotes where they hold one of the ``special`` characters of a regular expression's set."""
    doubled = pc.binary_join_element_wise('"', pc.replace_substring(values, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(values, f"[{special}]"), doubled, values)


def joined(fields: Sequence[pa.Array | str], delimiter: str) -> list[str]:
    """Lines of ``fields``."""
    lines: list[str] = pc.binary_join_element_wise(*fields, delimiter).to_pylist()
    return lines


def file(lines: Sequence[str]) -> bytes:
    """The lines as a file's content."""
    return ("\n".join(lines) + "\n").encode()
