"""What can be proved of an archived month to somebody who knows its tree head and layout, and nothing else.

Three kinds, each JSON inside a proof file (`docs/proofs.md`):

* a **row**: the text of a row, the number of its leaf, its inclusion path;
* a **statement**: all rows of one group (a wallet) in the month, and that there are no others. It has the header of the
  group, which gives the number of its rows, these rows, and the range path of these leaves;
* an **absence**: that a group has no rows, by the headers before and behind its place. Or that a group has no row of a
  key, by the two leaves around its place.

What a proof says of order holds where the leaves of the month are in the file's order. The archiver checks it before a
month leaves PostgreSQL, and so does every verification of all rows; a proof of one place cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ledger.canonical import NULL_MARK, readable
from ledger.columns import Column
from ledger.errors import VerificationError
from ledger.merkle import leaf_hash
from ledger.merkle_proofs import root_from_path, root_from_range
from ledger.month_tree import HEADER_MARK, Header, Layout, TreeHead, sort_value, totals_hash, totals_text
from ledger.transparency import base64

Index = Annotated[int, Meta(ge=0)]
Path = Annotated[tuple[str, ...], Meta(max_length=64)]
RangePath = Annotated[tuple[str, ...], Meta(max_length=128)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A part of a proof file. Its values are checked where JSON is read, not when one is made."""


class RowProof(_Part, frozen=True, kw_only=True, tag="row"):
    """A row: the number of its leaf, its text, its inclusion path (base64, from the leaf up)."""

    index: Index
    text: str
    path: Path


class StatementProof(_Part, frozen=True, kw_only=True, tag="statement"):
    """All rows of a group: ``leaves`` are its header and its rows."""

    index: Index
    leaves: Annotated[tuple[str, ...], Meta(min_length=2)]
    path: RangePath


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leaf and its inclusion path."""

    index: Index
    text: str
    path: Path


class GroupAbsenceProof(_Part, frozen=True, kw_only=True, tag="absence-of-group"):
    """No rows of a group: the header ``before`` its place, None at the beginning, and the one ``behind``, None at the
    end of the month.
    """

    group: str
    before: Place | None
    behind: Place | None


class RowAbsenceProof(_Part, frozen=True, kw_only=True, tag="absence-of-row"):
    """No row of a key: two neighbouring leaves around its place; one leaf at either end of the month.

    ``place`` are the fields of the columns that the file is sorted by.
    """

    place: tuple[str, ...]
    index: Index
    leaves: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)]
    path: RangePath


MonthProof = RowProof | StatementProof | GroupAbsenceProof | RowAbsenceProof


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof shows. ``rows`` are the fields of each row by column, ``totals`` those of a statement's header."""

    sentence: str
    rows: tuple[Mapping[str, str], ...] = ()
    totals: str | None = None


def parse_month_proof(content: Any) -> MonthProof:
    """Read a proof from JSON values. Raises VerificationError for anything else; nothing is verified yet."""
    try:
        proof: MonthProof = msgspec.convert(content, MonthProof)
    except msgspec.ValidationError as error:
        raise VerificationError(f"the proof cannot be read: {error}") from None
    return proof


def check_month_proof(proof: MonthProof, head: TreeHead, layout: Layout, where: str = "the month") -> Proved:
    """What ``proof`` shows of the tree with this head. Raises VerificationError for a proof that does not hold.

    ``where`` names what the tree is of, in words: what is not in one part of a month may be in another part.
    """
    match proof:
        case RowProof():
            return _check_row(proof, head, layout)
        case StatementProof():
            return _check_statement(proof, head, layout, where)
        case GroupAbsenceProof():
            return _check_group_absence(proof, head, layout, where)
        case RowAbsenceProof():
            return _check_row_absence(proof, head, layout, where)


def encoded(path: Sequence[bytes]) -> tuple[str, ...]:
    """A path as a proof carries it."""
    return tuple(base64.encode(hash_) for hash_ in path)


def _decoded(path: Sequence[str]) -> list[bytes]:
    return [base64.decode(hash_, "a hash of the proof") for hash_ in path]


def _check_row(proof: RowProof, head: TreeHead, layout: Layout) -> Proved:
    _require_leaf(Place(index=proof.index, text=proof.text, path=proof.path), head)
    return Proved("the row is in the month", (_row_fields(layout, proof.text),))


def _check_statement(proof: StatementProof, head: TreeHead, layout: Layout, where: str) -> Proved:
    _require_range(proof.leaves, proof.index, proof.path, head)
    header = Header.parse(proof.leaves[0])
    rows = proof.leaves[1:]
    if len(rows) != header.rows or not rows:
        raise VerificationError(f"the header says {header.rows} rows, and the proof has {len(rows)}")
    fields = tuple(_row_fields(layout, row) for row in rows)
    if any(row[_group_column(layout)] != header.group for row in fields):
        raise VerificationError("a row of the proof is not of the header's group")
    totals = totals_text(layout, fields)
    if totals_hash(leaf_hash(rows[0].encode()), totals) != header.totals:
        raise VerificationError("the totals of the rows are not those of the header")
    return Proved(f"{_all_rows(header.rows)} of {_named(header.group)} in {where}", fields, totals)


def _check_group_absence(proof: GroupAbsenceProof, head: TreeHead, layout: Layout, where: str) -> Proved:
    next_index = 0
    if proof.before is not None:
        _require_leaf(proof.before, head)
        before = Header.parse(proof.before.text)
        _require_after(layout, proof.group, before.group)
        next_index = proof.before.index + 1 + before.rows
    if proof.behind is None:
        if next_index != head.leaves:
            raise VerificationError("the proof does not reach the end of the month")
    else:
        _require_leaf(proof.behind, head)
        if proof.behind.index != next_index:
            raise VerificationError("there are leaves between the two headers of the proof")
        _require_after(layout, Header.parse(proof.behind.text).group, proof.group)
    return Proved(f"there is no row of {_named(proof.group)} in {where}")


def _check_row_absence(proof: RowAbsenceProof, head: TreeHead, layout: Layout, where: str) -> Proved:
    if len(proof.place) != len(layout.sorted_by):
        raise VerificationError(f"the place of the proof has {len(proof.place)} fields, not {len(layout.sorted_by)}")
    if head.leaves == 0:
        raise VerificationError("a month without rows is proved by its head alone")
    _require_range(proof.leaves, proof.index, proof.path, head)
    places = [_place(layout, text) for text in proof.leaves]
    wanted = _values(layout, proof.place)
    is_first, is_last = proof.index == 0, proof.index + len(proof.leaves) == head.leaves
    if len(places) == 1:
        is_outside = (is_first and wanted < places[0]) or (is_last and wanted > places[0])
    else:
        is_outside = places[0] < wanted < places[1]
    if not is_outside:
        raise VerificationError("the place of the row is not between the leaves of the proof")
    fields = zip(layout.sorted_by, proof.place, strict=True)
    named = ", ".join(f"{name} {_shown(layout.column(name), field)}" for name, field in fields)
    return Proved(f"there is no row with {named} in {where}")


def _require_leaf(place: Place, head: TreeHead) -> None:
    leaf = leaf_hash(_utf8(place.text))
    if root_from_path(leaf, place.index, head.leaves, _decoded(place.path)) != head.root:
        raise VerificationError(f"the path of leaf {place.index} does not lead to the root of the month")


def _require_range(leaves: Sequence[str], index: int, path: Sequence[str], head: TreeHead) -> None:
    hashes = [leaf_hash(_utf8(text)) for text in leaves]
    if root_from_range(hashes, index, head.leaves, _decoded(path)) != head.root:
        raise VerificationError(f"the path of leaf {index} and following does not lead to the root of the month")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise VerificationError("a text of the proof is not Unicode") from None


def _row_fields(layout: Layout, text: str) -> dict[str, str]:
    if text.startswith(HEADER_MARK):
        raise VerificationError("a leaf that must be a row is a group header")
    return layout.fields(text)


def _group_column(layout: Layout) -> str:
    if layout.group_column is None:
        raise VerificationError("the rows of this table have no groups")
    return layout.group_column


def _require_after(layout: Layout, group: str, other: str) -> None:
    column = layout.column(_group_column(layout))
    if sort_value(column, group) <= sort_value(column, other):
        raise VerificationError("the groups of the proof are not in the order of the file")


def _place(layout: Layout, text: str) -> tuple[Any, ...]:
    """The place of a leaf: a header before everything of its group."""
    if text.startswith(HEADER_MARK):
        return (sort_value(layout.column(_group_column(layout)), Header.parse(text).group),)
    return layout.place(layout.fields(text))


def _values(layout: Layout, fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(sort_value(layout.column(name), field) for name, field in zip(layout.sorted_by, fields, strict=True))


def _named(group: str) -> str:
    return "the group NULL" if group == NULL_MARK else repr(group)


def _all_rows(count: int) -> str:
    return "this row is the only row" if count == 1 else f"these {count} rows are all rows"


def _shown(column: Column, field: str) -> str:
    text = readable(column, field)
    return "NULL" if text is None else text
