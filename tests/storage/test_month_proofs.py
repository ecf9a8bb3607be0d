"""Everything that can be asked of an archived month is proved, and no proof holds after any change to it."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config import Settings
from ledger.canonical import NULL_MARK
from ledger.errors import DataError, NotFoundError, VerificationError
from ledger.month_proofs import (
    MonthProof,
    Proved,
    RowAbsenceProof,
    RowProof,
    StatementProof,
    check_month_proof,
    parse_month_proof,
)
from ledger.month_tree import CHUNK_LEAVES, Layout, TreeHead, leaf_texts
from ledger.months import Month
from storage.engine import engine
from storage.manifest import Manifest, ManifestFile, ManifestRowGroup, ManifestTree, describe_month
from storage.month_proofs import MonthProver
from storage.month_tree import ReadFile, read_file
from storage.parquet import write_parquet
from storage.row_texts import MonthTexts
from storage.store import ObjectStore, StoredFile, describe_file
from tests.storage.archived_rows import COLUMNS, TABLE, Row, batch_of, make_month

MONTH = Month(2026, 2)
NULLABLE = tuple(replace(column, nullable=True) if column.name == "wallet_id" else column for column in COLUMNS)
FILE_KEY = f"transactions/month={MONTH}/0123-1.parquet"


def rows_of(wallets: Sequence[str | None], seed: int = 1) -> list[Row]:
    """Rows of a month, in the file's order, one for each entry of ``wallets``."""
    chance = random.Random(seed)  # noqa: S311  # no secrets
    rows = make_month(chance, MONTH, max(2, len(wallets)))[: len(wallets)]
    filled = [{**row, "wallet_id": wallet} for row, wallet in zip(rows, wallets, strict=True)]
    return sorted(
        filled,
        key=lambda row: (
            row["wallet_id"] is None,
            (row["wallet_id"] or "").encode(),
            row["created_at"],
            row["id"].bytes,
        ),
    )


class Archive:
    """One archived month in a folder."""

    def __init__(self, settings: Settings, rows: Sequence[Row], in_row_group: int, spool: Path) -> None:
        self.settings = settings
        self.store = ObjectStore(settings)
        self.rows = rows
        file = spool / "month.parquet"
        write_parquet([batch_of(rows, NULLABLE)], NULLABLE, TABLE, file, group_rows=in_row_group)
        self.read: ReadFile = read_file(settings, TABLE, NULLABLE, MONTH, file, spool)
        self.store.put(file, FILE_KEY)
        self.store.put_bytes(self.read.tree.chunk_roots, "_treasury/trees/x.tree")
        self.manifest = self._describe(describe_file(file))
        self.layout: Layout = self.manifest.layout
        self.head: TreeHead = self.manifest.head

    def _describe(self, content: StoredFile) -> Manifest:
        tree, head = StoredFile.of(self.read.tree.chunk_roots), self.read.tree.head
        groups = (ManifestRowGroup(rows=one.rows, first_leaf=one.first_leaf) for one in self.read.tree.row_groups)
        file = ManifestFile(
            key=FILE_KEY,
            size_bytes=content.size_bytes,
            sha256=content.sha256.hex(),
            rows=len(self.rows),
            row_groups=tuple(groups),
        )
        described = ManifestTree(
            key="_treasury/trees/x.tree",
            size_bytes=tree.size_bytes,
            sha256=tree.sha256.hex(),
            leaves=head.leaves,
            root=head.root.hex(),
        )
        return describe_month(UUID(int=1), TABLE, str(MONTH), 1, NULLABLE, self.read.content, described, (file,))

    @contextmanager
    def prover(self) -> Iterator[MonthProver]:
        """What makes proofs about it."""
        with engine(self.settings) as duck:
            yield MonthProver(self.settings, self.store, duck, self.manifest)

    def check(self, proof: MonthProof) -> Proved:
        """Check a proof as somebody else reads it: from JSON."""
        return check_month_proof(
            parse_month_proof(msgspec.json.decode(msgspec.json.encode(proof))), self.head, self.layout
        )


@pytest.fixture
def archive(in_folder: Settings, tmp_path: Path) -> Archive:
    """600 rows of 60 wallets in row groups of 100: a wallet with 200 rows, one of NULL, and chunks over row groups."""
    wallets: list[str | None] = [f"wallet-{number % 59:02d}" for number in range(380)]
    wallets += ["wallet-30x"] * 200 + [None] * 20
    return Archive(in_folder, rows_of(wallets), 100, tmp_path)


def test_the_tree_is_that_of_the_definition(archive: Archive) -> None:
    with archive.prover() as prover:
        texts = [prover.row(row["id"]).text for row in archive.rows[::50]]
    everything = leaf_texts(archive.layout, texts)
    assert len(archive.rows) + len({row["wallet_id"] for row in archive.rows}) == archive.head.leaves
    assert set(texts) <= set(everything)


def test_every_row_is_proved(archive: Archive) -> None:
    with archive.prover() as prover:
        for row in archive.rows[::7]:
            proof = prover.row(row["id"])
            (fields,) = archive.check(proof).rows
            assert fields["id"] == str(row["id"])
            assert fields["amount"] == str(row["amount"])
            assert len(proof.path) <= 10


def test_a_proof_reads_the_file_three_times_however_many_groups_are_around_its_row(
    in_folder: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(in_folder, rows_of([f"wallet-{number:04d}" for number in range(600)]), 600, tmp_path)
    queries: list[str] = []
    fetch = MonthTexts._fetch

    def counted(texts: MonthTexts, query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        queries.append(query)
        return fetch(texts, query, parameters)

    monkeypatch.setattr(MonthTexts, "_fetch", counted)
    with archive.prover() as prover:
        archive.check(prover.row(archive.rows[300]["id"]))
    assert len(queries) == 3


def test_a_proof_reads_one_row_group_of_a_file_with_many(in_folder: Settings, tmp_path: Path) -> None:
    """The pages of all others are zeros: whoever reads one of them fails. A row is searched in the key's column."""
    archive = Archive(in_folder, rows_of([f"wallet-{number // 4:04d}" for number in range(6000)]), 1000, tmp_path)
    path = Path(in_folder.archive_location.removeprefix("file://")) / FILE_KEY
    whole, metadata = path.read_bytes(), pq.read_metadata(path)
    assert metadata.num_row_groups == 6
    chunks = [_chunks(metadata.row_group(number)) for number in range(6)]
    for number, mine in enumerate(chunks):
        row, others = archive.rows[1000 * number + 502], [one for one in chunks if one != mine]
        path.write_bytes(_blanked(whole, [span for one in others for span in one.values()]))
        with archive.prover() as prover:
            assert len(archive.check(prover.statement(row["wallet_id"])).rows) == 4
        path.write_bytes(_blanked(whole, [span for one in others for name, span in one.items() if name != "id"]))
        with archive.prover() as prover:
            (fields,) = archive.check(prover.row(row["id"])).rows
        assert fields["id"] == str(row["id"])
        path.write_bytes(_blanked(whole, list(mine.values())))
        with archive.prover() as prover, pytest.raises(DataError):
            prover.statement(row["wallet_id"])


def _chunks(group: Any) -> dict[str, tuple[int, int]]:
    """Where the pages of each column of a row group lie in the file: begin and end, in bytes."""
    columns = [group.column(number) for number in range(group.num_columns)]
    begins = [min(filter(None, (one.dictionary_page_offset, one.data_page_offset))) for one in columns]
    return {
        one.path_in_schema: (begin, begin + one.total_compressed_size)
        for begin, one in zip(begins, columns, strict=True)
    }


def _blanked(content: bytes, spans: list[tuple[int, int]]) -> bytes:
    """The file with zeros where these pages were: whoever reads them finds no pages there."""
    changed = bytearray(content)
    for begin, end in spans:
        changed[begin:end] = bytes(end - begin)
    return bytes(changed)


@pytest.mark.parametrize("wallet", ["wallet-00", "wallet-17", "wallet-30x", "wallet-58", NULL_MARK])
def test_a_statement_has_all_rows_of_a_wallet_and_its_totals(archive: Archive, wallet: str) -> None:
    wanted = [row for row in archive.rows if (row["wallet_id"] or NULL_MARK) == wallet]
    with archive.prover() as prover:
        proved = archive.check(prover.statement(wallet))
    assert [fields["id"] for fields in proved.rows] == [str(row["id"]) for row in wanted]
    assert f"these {len(wanted)} rows are all rows of" in proved.sentence
    assert proved.totals is not None


@pytest.mark.parametrize("wallet", ["", "wallet-", "wallet-30", "wallet-30w", "wallet-30y", "wallet-99", "\U0001f600"])
def test_a_wallet_without_rows_is_proved_absent(archive: Archive, wallet: str) -> None:
    with archive.prover() as prover:
        if wallet == "wallet-30":
            with pytest.raises(NotFoundError, match="their absence cannot be proved"):
                prover.absence_of_group(wallet)
        else:
            assert (
                archive.check(prover.absence_of_group(wallet)).sentence == f"there is no row of {wallet!r} in the month"
            )
            with pytest.raises(NotFoundError, match="has no row of"):
                prover.statement(wallet)


def test_a_row_is_proved_absent_wherever_its_place_is(archive: Archive) -> None:
    def place(wallet: str, at_us: int, key: UUID) -> tuple[str, str, str]:
        return wallet, str(at_us), str(key)

    with archive.prover() as prover:
        for row in archive.rows[::23]:
            wallet, at = row["wallet_id"] or NULL_MARK, int(row["created_at"].timestamp() * 1000) * 1000
            with pytest.raises(DataError, match="there is a row at the place"):
                prover.absence_of_row(place(wallet, at, row["id"]))
            for key in (UUID(int=0), UUID(int=2**128 - 1)):
                assert (
                    "there is no row with wallet_id"
                    in archive.check(prover.absence_of_row(place(wallet, at, key))).sentence
                )
        for wallet in ("", "wallet-30y", "zzz", NULL_MARK):
            for at in (-(10**15), 10**18):
                archive.check(prover.absence_of_row(place(wallet, at, UUID(int=5))))


@pytest.mark.parametrize(
    "spelled", [str.upper, lambda key: key.replace("-", ""), lambda key: f"{{{key}}}", lambda _: "0"]
)
def test_a_row_is_not_proved_absent_by_another_spelling_of_its_id(
    archive: Archive, spelled: Callable[[str], str]
) -> None:
    """As text `018E22E3-...` lies before `018e22e3-...`, and as an id it is the same (RFC 9562, section 4)."""
    row = archive.rows[301]
    place = (row["wallet_id"], str(int(row["created_at"].timestamp() * 1000) * 1000), str(row["id"]))
    with archive.prover() as prover:
        before = prover.absence_of_row((*place[:2], str(UUID(int=row["id"].int - 1))))
    assert str(row["id"]) in before.leaves[-1]
    forged = msgspec.structs.replace(before, place=(*place[:2], spelled(place[2])))
    with pytest.raises(VerificationError, match=r"id: .* is not of the kind uuid"):
        archive.check(forged)


def test_what_the_month_does_not_have_is_said(archive: Archive) -> None:
    with archive.prover() as prover, pytest.raises(NotFoundError, match="transactions 2026-02 has no row with id 0000"):
        prover.row(UUID(int=7))


def test_objects_that_are_not_the_manifests_make_no_proof(archive: Archive) -> None:
    archive.store.remove("_treasury/trees/x.tree")
    archive.store.put_bytes(bytes(len(archive.read.tree.chunk_roots)), "_treasury/trees/x.tree")
    with (
        pytest.raises(VerificationError, match=r"x.tree: its SHA-256 is not the one in the manifest"),
        archive.prover(),
    ):
        pass


def test_a_file_that_is_missing_is_named(archive: Archive) -> None:
    archive.store.remove(FILE_KEY)
    with pytest.raises(VerificationError, match=f"^{FILE_KEY}: is missing from the archive$"), archive.prover():
        pass


def test_a_file_with_one_other_row_makes_no_proof_of_its_chunk(archive: Archive, tmp_path: Path) -> None:
    changed = [{**row, "reference": "forged"} if number == 3 else row for number, row in enumerate(archive.rows)]
    file = tmp_path / "forged.parquet"
    write_parquet([batch_of(changed, NULLABLE)], NULLABLE, TABLE, file, group_rows=100)
    archive.store.remove(FILE_KEY)
    archive.store.put(file, FILE_KEY)
    with archive.prover() as prover:
        with pytest.raises(VerificationError, match="are not those of the month's tree"):
            prover.row(archive.rows[10]["id"])
        archive.check(prover.row(archive.rows[599]["id"]))


wallets = st.lists(st.sampled_from(["a", "b", "bb", "\u00e9", "\U0001f600", None]), min_size=1, max_size=60)


@pytest.mark.heavy("one month is proved and attacked beside it")
@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wallets, st.integers(1, 25), st.integers(0, 10**6))
def test_months_of_every_shape_are_proved(
    in_folder: Settings, tmp_path_factory: pytest.TempPathFactory, wallets: list[str | None], in_group: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("shape")
    settings = in_folder.model_copy(update={"archive_url": f"file://{folder}/archive"})
    archive = Archive(settings, rows_of(wallets, seed), in_group, folder)
    with archive.prover() as prover:
        texts = []
        for row in archive.rows:
            proof = prover.row(row["id"])
            archive.check(proof)
            texts.append(proof.text)
        for wallet in ("a", "b", "bb", "\u00e9", "\U0001f600", NULL_MARK, "", "c"):
            is_there = any((row["wallet_id"] or NULL_MARK) == wallet for row in archive.rows)
            archive.check(prover.statement(wallet) if is_there else prover.absence_of_group(wallet))
        everything = leaf_texts(archive.layout, texts)
        assert len(everything) == archive.head.leaves


@given(st.data())
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_change_to_a_proof_is_taken(archive: Archive, proofs: list[MonthProof], data: st.DataObject) -> None:
    proof = data.draw(st.sampled_from(proofs))
    content = msgspec.json.decode(msgspec.json.encode(proof))
    names = [name for name in content if name != "kind" and content[name] is not None]
    name = data.draw(st.sampled_from(names))
    changed = {**content, name: data.draw(st.sampled_from(list(_changes(content[name]))))}
    with pytest.raises(VerificationError):
        archive.check(parse_month_proof(changed))


def _changes(value: object) -> Iterator[object]:
    """Values beside ``value``: another number, a character more or less, an item less, twice, or changed."""
    match value:
        case int():
            yield from (value + 1, value - 1, value + CHUNK_LEAVES)
        case str():
            yield from (value[:-1], value[:-1] + ("A" if value[-1:] != "A" else "B"), f"{value}x")
        case list():
            yield from (value[:-1], value[1:], [*value, *value[-1:]], value[::-1] if value != value[::-1] else [])
            for place, item in enumerate(value[:3]):
                for other in _changes(item):
                    yield [*value[:place], other, *value[place + 1 :]]
        case dict():
            for name, item in value.items():
                for other in _changes(item):
                    yield {**value, name: other}


@pytest.fixture
def proofs(archive: Archive) -> list[MonthProof]:
    """One proof of each kind that has rows; an absence may be asked with another place, so it is not among them."""
    with archive.prover() as prover:
        return [prover.row(archive.rows[300]["id"]), prover.statement("wallet-17"), prover.statement(NULL_MARK)]


def test_a_statement_without_one_of_its_rows_is_refused(archive: Archive) -> None:
    with archive.prover() as prover:
        proof = prover.statement("wallet-17")
    for number in range(len(proof.leaves)):
        leaves = [*proof.leaves[:number], *proof.leaves[number + 1 :]]
        with pytest.raises(VerificationError):
            archive.check(StatementProof(index=proof.index, leaves=tuple(leaves), path=proof.path))


def test_a_proof_of_another_month_or_layout_is_refused(archive: Archive) -> None:
    with archive.prover() as prover:
        proof: RowProof = prover.row(archive.rows[0]["id"])
        absence: RowAbsenceProof = prover.absence_of_row(("w", "0", str(UUID(int=0))))
    with pytest.raises(VerificationError):
        check_month_proof(proof, TreeHead(archive.head.leaves, bytes(32)), archive.layout)
    fewer = replace(archive.layout, columns=archive.layout.columns[1:])
    with pytest.raises(VerificationError):
        check_month_proof(proof, archive.head, fewer)
    moved = msgspec.structs.replace(absence, place=("wallet-17", "0", str(UUID(int=0))))
    with pytest.raises(VerificationError, match="not between the leaves"):
        archive.check(moved)


@pytest.mark.parametrize("content", [None, [], "row", {"kind": "other"}, {"kind": "row"}, {"kind": "row", "index": -1}])
def test_what_is_no_proof_is_said(content: object) -> None:
    with pytest.raises(VerificationError, match="the proof cannot be read"):
        parse_month_proof(content)
