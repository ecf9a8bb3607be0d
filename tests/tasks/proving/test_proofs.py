"""Proof files are made from the archive and its log, and checked by somebody who has neither."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner

from cli.main import app
from ledger.errors import ConfigError, DataError, NotFoundError, NotYetError, VerificationError
from ledger.identifiers import new_id
from ledger.months import Month
from ledger.proof_files import CheckedProof, check_proof, pack, unpack
from ledger.transparency.notes import join_note, split_note
from ledger.transparency.policies import LogPolicy
from ledger.transparency.proof_files import TlogProof
from sql.connection import connect
from storage.manifest import Manifest
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.proving.proofs import ProofFile, Prover
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.transparency.rotation import rotate_keys
from tests.archives import Archives, two_cold_months
from tests.tasks.archiving.ledger import COLD, HOT, TODAY, Ledger, make_row, moment

NEXT = COLD.plus(1)
MOST_BYTES = 8192


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    """Two cold months, published, and a hot one."""
    archives.begin(ledger.settings, two_cold_months)
    ledger.fill(HOT, rows=3)
    return ledger


def policy(ledger: Ledger) -> LogPolicy:
    """What an auditor was given once: the log's keys."""
    return LogPolicy.parse(policy_text(ledger.settings).encode())


def as_api(moment: object) -> str:
    """A time as the API shows it."""
    assert isinstance(moment, datetime)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def checked(ledger: Ledger, files: Sequence[ProofFile]) -> list[CheckedProof]:
    return [check_proof(file.content, policy(ledger)) for file in files]


def rows_of(ledger: Ledger, month: Month) -> list[dict[str, object]]:
    """The rows that `Ledger.fill` puts into a month."""
    return [make_row(ledger.table, month, number) for number in range(40)]


def test_a_row_is_proved_in_less_than_8_kb_with_both_signatures(archived: Ledger) -> None:
    row = rows_of(archived, COLD)[7]
    with Prover(archived.settings) as prover:
        file = prover.row(archived.table, UUID(str(row["id"])))
    (proof,) = checked(archived, [file])
    (fields,) = proof.proved.rows
    assert (fields["id"], fields["amount"], fields["wallet_id"]) == (
        str(row["id"]),
        str(row["amount"]),
        row["wallet_id"],
    )
    assert (proof.archived.table, proof.archived.month, proof.archived.part) == ("transactions", str(COLD), 1)
    assert len(file.content) < MOST_BYTES
    signatures = [line for line in file.content.decode().splitlines() if line.startswith("\N{EM DASH} treasury/")]
    assert len(signatures) == 2


def test_a_statement_has_every_row_of_the_wallet_in_the_month(archived: Ledger) -> None:
    wanted = [row for row in rows_of(archived, COLD) if row["wallet_id"] == "wallet-3"]
    with Prover(archived.settings) as prover:
        (proof,) = checked(archived, prover.statement(archived.table, "wallet-3", COLD))
    assert {fields["id"] for fields in proof.proved.rows} == {str(row["id"]) for row in wanted}
    assert proof.proved.sentence == f"these {len(wanted)} rows are all rows of 'wallet-3' in part 1 of the month"


def test_absence_is_proved_of_a_wallet_and_of_an_id(archived: Ledger) -> None:
    at = moment(COLD)
    with Prover(archived.settings) as prover:
        (of_wallet,) = checked(archived, prover.absence(archived.table, "wallet-77", COLD))
        nobody = new_id(at, lambda bits: (1 << bits) - 1)
        (of_row,) = checked(archived, prover.absence_of_row(archived.table, "wallet-3", nobody))
        (of_both,) = checked(archived, prover.absence_of_row(archived.table, "wallet-77", nobody))
        with pytest.raises(DataError, match="has rows of 'wallet-3': prove them with `treasury prove statement`"):
            prover.absence(archived.table, "wallet-3", COLD)
        with pytest.raises(NotFoundError, match="its absence can be proved: `treasury prove absence`"):
            prover.statement(archived.table, "wallet-77", COLD)
    assert (
        of_wallet.proved.sentence == of_both.proved.sentence == "there is no row of 'wallet-77' in part 1 of the month"
    )
    assert f"id {nobody} in part 1 of the month" in of_row.proved.sentence


def test_a_month_with_late_rows_has_a_proof_for_each_part(archived: Ledger) -> None:
    settings, table = archived.settings, archived.table
    open_late_rows(settings, table, COLD)
    late = make_row(table, COLD, 1000) | {"wallet_id": "wallet-late"}
    with connect(settings.database_dsn, "tests") as connection:
        archived.insert(connection, table, [late])
    warm_month(settings, table, COLD)
    archive_month(settings, table, COLD)
    publish_log(settings)
    with Prover(settings) as prover:
        files = prover.statement(table, "wallet-late", COLD)
        first, second = checked(archived, files)
        row = checked(archived, [prover.row(table, UUID(str(late["id"])))])[0]
    assert [file.part for file in files] == [1, 2]
    assert first.proved.sentence == "there is no row of 'wallet-late' in part 1 of the month"
    assert second.proved.sentence == "this row is the only row of 'wallet-late' in part 2 of the month"
    assert row.archived.part == 2


@pytest.mark.parametrize("tier", ["hot", "warm"])
def test_a_month_of_which_a_part_is_in_postgresql_is_not_proved_as_a_whole(archived: Ledger, tier: str) -> None:
    settings, table = archived.settings, archived.table
    open_late_rows(settings, table, COLD)
    late = make_row(table, COLD, 1000) | {"wallet_id": "wallet-late"}
    with connect(settings.database_dsn, "tests") as connection:
        archived.insert(connection, table, [late])
    if tier == "warm":
        warm_month(settings, table, COLD)
    said = f"transactions {COLD}, part 2, is {tier}: provable once it is archived, by the next nightly run"
    early = rows_of(archived, COLD)[7]
    with Prover(settings) as prover:
        refused: list[Callable[[], object]] = [
            lambda: prover.absence(table, "wallet-late", COLD),
            lambda: prover.statement(table, "wallet-3", COLD),
            lambda: prover.absence_of_row(table, "wallet-late", UUID(str(late["id"]))),
            lambda: prover.row(table, UUID(str(late["id"]))),
        ]
        for proof in refused:
            with pytest.raises(NotYetError, match=said):
                proof()
        (row,) = checked(archived, [prover.row(table, UUID(str(early["id"])))])
    assert row.archived.part == 1


def test_a_month_with_rows_in_a_partition_of_others_is_not_proved_as_a_whole(archived: Ledger) -> None:
    settings, table = archived.settings, archived.table
    late = make_row(table, COLD, 1000) | {"wallet_id": "wallet-late"}
    archived.sql(f"CREATE TABLE overflow PARTITION OF {table.hot_parent} DEFAULT")
    with connect(settings.database_dsn, "tests") as connection:
        archived.insert(connection, table, [late])
    with Prover(settings) as prover:
        refused: list[Callable[[], object]] = [
            lambda: prover.absence(table, "wallet-late", COLD),
            lambda: prover.statement(table, "wallet-3", COLD),
            lambda: prover.absence_of_row(table, "wallet-late", UUID(str(late["id"]))),
        ]
        for proof in refused:
            with pytest.raises(NotYetError, match="PostgreSQL has rows of it in overflow, which the catalogue"):
                proof()
        assert prover.absence(table, "wallet-late", NEXT)


def test_a_row_whose_time_is_not_the_one_in_its_id_is_not_proved_absent(ledger: Ledger) -> None:
    """The place of its id is empty, and the row is elsewhere: milliseconds or a day later, or in another month."""
    table, settings = ledger.table, ledger.settings
    ledger.fill(COLD)
    ledger.fill(NEXT)
    ledger.sql(f"ALTER TABLE {table.partition(NEXT)} DROP CONSTRAINT {table.partition(NEXT)}_bounds")
    rows = [make_row(table, COLD, number) | {"wallet_id": "wallet-3"} for number in (1001, 1002, 1003)]
    rows[0]["created_at"] += timedelta(milliseconds=3)
    rows[1]["created_at"] = moment(COLD, 31)
    rows[2]["created_at"] = moment(NEXT)
    with connect(settings.database_dsn, "tests") as connection:
        ledger.insert(connection, table, rows)
    for month in (COLD, NEXT):
        warm_month(settings, table, month)
        archive_month(settings, table, month)
    publish_log(settings)
    assert ledger.catalogue(NEXT)["keys_tell_month"] is False
    with Prover(settings) as prover:
        for row, month in zip(rows, (COLD, COLD, NEXT), strict=True):
            key, at = UUID(str(row["id"])), as_api(row["created_at"])
            said = f"transactions {month} has a row of 'wallet-3' with id {key}, at {at}: .*treasury prove row"
            with pytest.raises(DataError, match=said):
                prover.absence_of_row(table, "wallet-3", key)
            (other,) = checked(ledger, prover.absence_of_row(table, "wallet-77", key))
            assert other.proved.sentence == "there is no row of 'wallet-77' in part 1 of the month"
            (of_wallet,) = checked(ledger, prover.absence_of_row(table, "wallet-2", key))
            assert f"id {key} in part 1 of the month" in of_wallet.proved.sentence


@pytest.mark.heavy("a hot row is tested beside it")
def test_a_month_that_is_still_hot_says_when_it_can_be_proved(
    archived: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.proving.logged_months.utc_today", lambda: TODAY)
    row = make_row(archived.table, HOT, 1)
    with Prover(archived.settings) as prover:
        with pytest.raises(DataError, match=f"transactions {HOT} is hot: provable once .* from 2027-11-01 on"):
            prover.row(archived.table, UUID(str(row["id"])))
        with pytest.raises(DataError, match="is hot"):
            prover.statement(archived.table, "wallet-3", HOT)
        with pytest.raises(NotFoundError, match="transactions has no month 2001-01"):
            prover.statement(archived.table, "wallet-3", Month(2001, 1))
        with pytest.raises(NotFoundError, match="no archived row with id"):
            prover.row(archived.table, new_id(moment(COLD), lambda bits: 5))


def test_a_hot_row_says_when_it_can_be_proved_also_where_archived_months_have_ids_of_other_kinds(
    archived: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.proving.logged_months.utc_today", lambda: TODAY)
    with connect(archived.settings.database_dsn, "tests") as connection:
        connection.execute("UPDATE archive_months SET keys_tell_month = false WHERE month = %s", [NEXT.first_day])
    row = make_row(archived.table, HOT, 1)
    with Prover(archived.settings) as prover:
        with pytest.raises(NotYetError, match=f"transactions {HOT} is hot: provable once .* from 2027-11-01 on"):
            prover.row(archived.table, UUID(str(row["id"])))
        with pytest.raises(NotFoundError, match="transactions has no month 2001-01"):
            prover.row(archived.table, new_id(moment(Month(2001, 1)), lambda bits: 5))
        with pytest.raises(NotFoundError, match="no archived row with id"):
            prover.row(archived.table, UUID(int=7))


@pytest.mark.heavy("a hot month is named beside it")
def test_a_month_whose_event_waits_and_a_log_that_is_not_there_are_named(ledger: Ledger) -> None:
    ledger.warm(COLD, NEXT)
    row = UUID(str(rows_of(ledger, COLD)[3]["id"]))
    with Prover(ledger.settings) as prover:
        for proof in (
            lambda: prover.row(ledger.table, row),
            lambda: prover.statement(ledger.table, "wallet-3", COLD),
            lambda: prover.absence_of_row(ledger.table, "wallet-3", row),
        ):
            with pytest.raises(NotYetError, match=f"{COLD} is warm: provable once it is archived"):
                proof()
    archive_month(ledger.settings, ledger.table, COLD)
    with Prover(ledger.settings) as prover, pytest.raises(NotFoundError, match="no log was published yet"):
        prover.statement(ledger.table, "wallet-3", COLD)
    publish_log(ledger.settings)
    archive_month(ledger.settings, ledger.table, NEXT)
    with Prover(ledger.settings) as prover, pytest.raises(DataError, match="its event is not published yet"):
        prover.statement(ledger.table, "wallet-3", NEXT)


@pytest.mark.heavy("forged proofs are tested in tests/ledger")
def test_a_manifest_that_is_not_the_logs_makes_no_proof(archived: Ledger) -> None:
    key = archived.catalogue(COLD)["manifest_key"]
    path = archived.store / key
    manifest = Manifest.from_bytes(path.read_bytes(), key)
    path.write_bytes(manifest.model_copy(update={"rows": 39}).to_bytes())
    with (
        Prover(archived.settings) as prover,
        pytest.raises(VerificationError, match="SHA-256 is not the one in the log"),
    ):
        prover.statement(archived.table, "wallet-3", COLD)


@pytest.mark.heavy("a file with any part exchanged is refused beside it")
def test_a_proof_of_old_keys_holds_after_a_rotation_and_one_of_another_log_does_not(archived: Ledger) -> None:
    with Prover(archived.settings) as prover:
        (before,) = prover.statement(archived.table, "wallet-3", COLD)
    old = policy(archived)
    rotate_keys(archived.settings)
    with Prover(archived.settings) as prover:
        (after,) = prover.statement(archived.table, "wallet-3", COLD)
    assert check_proof(before.content, old).proved == check_proof(after.content, policy(archived)).proved
    with pytest.raises(VerificationError, match="the policy has no key of the log treasury/"):
        check_proof(after.content, LogPolicy(()))


def test_a_proof_with_one_of_the_two_signatures_is_refused(archived: Ledger) -> None:
    """Whoever has one kind of key could make it. A policy that names one kind asks for that one."""
    with Prover(archived.settings) as prover:
        file = TlogProof.from_bytes(prover.row(archived.table, UUID(str(rows_of(archived, COLD)[7]["id"]))).content)
    text, signatures = split_note(file.checkpoint)
    known = policy(archived)
    for signature in signatures:
        forged = replace(file, checkpoint=join_note(text, [signature])).to_bytes()
        (other,) = (log for log in known.logs if not signature.is_of(log.key))
        with pytest.raises(VerificationError, match=rf"lacks the signature of .* \({other.key.type.algorithm}\)"):
            check_proof(forged, known)
        assert check_proof(forged, replace(known, logs=tuple(log for log in known.logs if log != other)))


def test_a_proof_file_with_any_part_exchanged_is_refused(archived: Ledger) -> None:
    with Prover(archived.settings) as prover:
        (march,) = prover.statement(archived.table, "wallet-3", COLD)
        (april,) = prover.statement(archived.table, "wallet-3", NEXT)
    one, other = (TlogProof.from_bytes(file.content) for file in (march, april))
    assert one.extra is not None
    assert other.extra is not None
    mine, theirs = json.loads(unpack(one.extra)), json.loads(unpack(other.extra))
    exchanged = [
        TlogProof(other.index, one.path, one.checkpoint, one.extra),
        TlogProof(one.index, other.path, one.checkpoint, one.extra),
        TlogProof(one.index, one.path, one.checkpoint, _packed({**mine, "entry": theirs["entry"]})),
        TlogProof(one.index, one.path, one.checkpoint, _packed({**mine, "proof": theirs["proof"]})),
        TlogProof(one.index, one.path, one.checkpoint, _packed({**mine, "more": 1})),
        TlogProof(one.index, one.path, one.checkpoint, one.extra + b" "),
        TlogProof(one.index, one.path, one.checkpoint, one.extra[:-1]),
        TlogProof(one.index, one.path, one.checkpoint, unpack(one.extra)),
        TlogProof(one.index, one.path, one.checkpoint, pack(unpack(one.extra) + b" ")),
        TlogProof(one.index, one.path, one.checkpoint, pack(b"[]")),
        TlogProof(one.index, one.path, one.checkpoint, pack(b"\xff")),
        TlogProof(one.index, one.path, one.checkpoint, pack(b"[" * 100_000)),
        TlogProof(one.index, one.path, one.checkpoint, None),
    ]
    for file in exchanged:
        with pytest.raises(VerificationError):
            check_proof(file.to_bytes(), policy(archived))


def test_a_proof_of_another_table_is_refused(archived: Ledger) -> None:
    """Also one of the same wallet in the same month, whose parts are exchanged."""
    vas = archived.settings.table("vas_transactions")
    archived.fill(COLD, table=vas)
    assert warm_month(archived.settings, vas, COLD)
    archive_month(archived.settings, vas, COLD)
    publish_log(archived.settings)
    row, of_vas = rows_of(archived, COLD)[7], make_row(vas, COLD, 7)
    with Prover(archived.settings) as prover:
        for table, key in ((vas, row["id"]), (archived.table, of_vas["id"])):
            with pytest.raises(NotFoundError, match=f"{table.name} has no archived row with id {key}"):
                prover.row(table, UUID(str(key)))
        (mine,) = prover.statement(archived.table, "wallet-3", COLD)
        (theirs,) = prover.statement(vas, "wallet-3", COLD)
    known = policy(archived)
    named = [check_proof(file.content, known).archived for file in (mine, theirs)]
    assert [(one.table, one.month) for one in named] == [("transactions", str(COLD)), ("vas_transactions", str(COLD))]
    one, other = (TlogProof.from_bytes(file.content) for file in (mine, theirs))
    assert one.extra is not None
    assert other.extra is not None
    ours, others = json.loads(unpack(one.extra)), json.loads(unpack(other.extra))
    for exchanged in (
        TlogProof(other.index, other.path, one.checkpoint, one.extra),
        TlogProof(one.index, one.path, other.checkpoint, other.extra),
        TlogProof(one.index, one.path, one.checkpoint, _packed({**ours, "entry": others["entry"]})),
        TlogProof(one.index, one.path, one.checkpoint, _packed({**ours, "proof": others["proof"]})),
        TlogProof(other.index, other.path, other.checkpoint, _packed({**others, "proof": ours["proof"]})),
    ):
        with pytest.raises(VerificationError):
            check_proof(exchanged.to_bytes(), known)


def _packed(content: dict[str, object]) -> bytes:
    return pack(json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())


def test_no_flipped_bit_and_no_cut_of_a_proof_file_is_taken(archived: Ledger) -> None:
    with Prover(archived.settings) as prover:
        content = prover.row(archived.table, UUID(str(rows_of(archived, COLD)[0]["id"]))).content
    mine = policy(archived)
    assert check_proof(content, mine)
    signatures = content.index("\N{EM DASH}".encode())
    end = content.index(b"\nindex ")  # the byte before the checksum of a zlib stream has bits that mean nothing
    for place in [*range(0, end - 12, 41), *range(end, signatures, 41), signatures - 1]:
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(VerificationError):
            check_proof(bytes(changed), mine)
        with pytest.raises(VerificationError):
            check_proof(content[:place], mine)


@pytest.mark.heavy("the demo makes and checks a proof; the functions are tested beside it")
def test_the_commands_make_and_check_files(archived: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in archived.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    row = rows_of(archived, COLD)[3]
    run = CliRunner().invoke
    Path("policy").write_text(run(app, ["log", "keys"]).stdout)
    made = run(app, ["prove", "row", str(row["id"])])
    name = f"transactions-{COLD}-row-{row['id']}.tlog-proof"
    assert (made.exit_code, made.stdout) == (0, f"{name}\n")
    assert run(app, ["prove", "statement", "wallet-3", str(COLD), "-o", "s.proof"]).exit_code == 0
    assert run(app, ["prove", "absence", "wallet/77", str(COLD)]).stdout == (
        f"transactions-{COLD}-absence-wallet_77.tlog-proof\n"
    )
    for name_, value in archived.settings.environment().items():
        monkeypatch.delenv(name_) if value else None
    shown = run(app, ["check-proof", name, "--policy", "policy"])
    assert shown.exit_code == 0
    assert "proved: the row is in the month (transactions 2024-03, part 1)" in shown.stdout
    answer = json.loads(run(app, ["check-proof", "s.proof", "--policy", "policy", "--json"]).stdout)
    assert answer["month"] == str(COLD)
    wanted = [one for one in rows_of(archived, COLD) if one["wallet_id"] == "wallet-3"]
    assert {(one["id"], one["created_at"], one["counterparty_wallet_id"]) for one in answer["rows"]} == {
        (str(one["id"]), as_api(one["created_at"]), one.get("counterparty_wallet_id")) for one in wanted
    }
    Path("cut").write_bytes(Path(name).read_bytes()[:-40])
    refused = run(app, ["check-proof", "cut", "--policy", "policy"])
    assert refused.exit_code != 0
    assert isinstance(refused.exception, VerificationError) or "error" in refused.output
    with pytest.raises(ConfigError):
        run(app, ["prove", "absence", "wallet-1"], catch_exceptions=False, standalone_mode=False)
