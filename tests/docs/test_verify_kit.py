"""An auditor's machine: one file that shares no code with the project verifies the kit, in a process of its own."""

import base64
import json
import runpy
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from config import Settings
from ledger.identifiers import new_id
from ledger.transparency.notes import join_note, split_note
from ledger.transparency.policies import LogPolicy
from ledger.transparency.proof_files import TlogProof
from sql.connection import connect
from sql.restored import Request
from tasks.archiving.to_cold import archive_month
from tasks.proving.audit_kit import write_kit
from tasks.proving.proofs import Prover
from tasks.restoring.back_to_warm import return_month
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.transparency.rotation import rotate_keys
from tasks.verifying.verification import VerificationScope
from tests.ledger.test_month_tree import SPELLINGS
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger, make_row, moment

NEXT = COLD.plus(1)
LATER = COLD.plus(2)
VERIFIER = Path(__file__).resolve().parents[2] / "examples" / "verify_kit.py"


@pytest.fixture
def ledger(settings: Settings, tmp_path: Path) -> Ledger:
    """Two cold months in a folder, published under a second generation of keys."""
    folder = tmp_path / "archive"
    folder.mkdir()
    ledger = Ledger(settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)
    ledger.warm(COLD, NEXT)
    archive_month(ledger.settings, ledger.table, COLD)
    publish_log(ledger.settings)
    rotate_keys(ledger.settings)
    archive_month(ledger.settings, ledger.table, NEXT)
    publish_log(ledger.settings)
    return ledger


@pytest.fixture
def kit(ledger: Ledger, tmp_path: Path) -> Path:
    """The unpacked kit."""
    return made_kit(ledger, tmp_path / "kit", VerificationScope())


def made_kit(ledger: Ledger, folder: Path, scope: VerificationScope) -> Path:
    content = policy_text(ledger.settings).encode()
    packed = folder.with_suffix(".zip")
    with connect(ledger.settings.database_dsn, "tests") as connection, packed.open("wb") as file:
        write_kit(ledger.settings, file, scope, connection, (LogPolicy.parse(content), content))
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    return folder


def run(kit: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-I", str(kit / "verify_kit.py"), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=120, cwd=kit)


def proofs(ledger: Ledger, folder: Path) -> dict[str, Path]:
    """A proof file of each kind."""
    row = make_row(ledger.table, COLD, 7)
    with Prover(ledger.settings) as prover:
        made = {
            "row": prover.row(ledger.table, row["id"]),
            "statement": prover.statement(ledger.table, str(row["wallet_id"]), COLD)[0],
            "last statement": prover.statement(ledger.table, "wallet-8", COLD)[0],
            "absence": prover.absence(ledger.table, "wallet-55", COLD)[0],
            "first absence": prover.absence(ledger.table, "a", COLD)[0],
            "last absence": prover.absence(ledger.table, "z", COLD)[0],
            "no row": prover.absence_of_row(ledger.table, "wallet-1", new_id(moment(COLD), lambda _: 1))[0],
        }
    for name, file in made.items():
        (folder / f"{name}.tlog-proof").write_bytes(file.content)
    return {name: folder / f"{name}.tlog-proof" for name in made}


def test_a_kit_verifies_log_months_rows_and_proofs_and_needs_none_of_the_project(
    ledger: Ledger, kit: Path, tmp_path: Path
) -> None:
    files = proofs(ledger, tmp_path)
    shown = [word for path in files.values() for word in ("--proof", str(path))]
    answer = run(kit, "--data", str(ledger.store), "--deep", *shown)
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    lines = [line for line in answer.stdout.splitlines() if not line.startswith(" ")]
    assert len(lines) == 2 + 2 + len(files)
    row = make_row(ledger.table, COLD, 7)
    assert f'the row {{"id": "{row["id"]}", ' in answer.stdout
    assert f'"created_at": "{row["created_at"]:%Y-%m-%dT%H:%M:%S.%f}Z"' in answer.stdout
    rows = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith(" ")]
    assert {one["wallet_id"] for one in rows} == {row["wallet_id"], "wallet-8"}
    assert f"ok    transactions {COLD}, part 1: {ROWS} rows, manifest, tree and every row" in lines
    assert any("are all rows of 'wallet-" in line for line in lines)
    assert any("there is no row of 'wallet-55' in part 1 of the month" in line for line in lines)
    imports = [line for line in (kit / "verify_kit.py").read_text().splitlines() if "import " in line]
    assert not any(name in line for line in imports for name in (" ledger", " storage", " tasks", " sql", " config"))


def test_a_cryptography_that_is_too_old_is_no_damage_of_the_archive(kit: Path, tmp_path: Path) -> None:
    """Systems bring one without ML-DSA. Code 1 would say that something is wrong with the archive."""
    old = tmp_path / "cryptography"
    old.mkdir()
    (old / "__init__.py").touch()
    program = [sys.executable, str(kit / "verify_kit.py")]
    environment = {"PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert answer.returncode == 2
    assert "needs `cryptography` 48 or newer" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_month_that_went_back_to_warm_is_not_missed_and_its_proofs_hold(ledger: Ledger, tmp_path: Path) -> None:
    files = proofs(ledger, tmp_path)
    return_month(ledger.settings, ledger.table, COLD, Request("anna", "os anna", "why", timedelta(days=1)))
    publish_log(ledger.settings)
    kit = made_kit(ledger, tmp_path / "later", VerificationScope())
    answer = run(kit, "--proof", str(files["row"]))
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert f"transactions {COLD}, part 1: {ROWS} rows, manifest" not in answer.stdout
    assert f"{files['row'].name}: transactions {COLD}, part 1: the row" in answer.stdout
    assert "by the log, the part is not archived any more" in answer.stdout
    archive_month(ledger.settings, ledger.table, COLD)
    publish_log(ledger.settings)
    kit = made_kit(ledger, tmp_path / "last", VerificationScope())
    answer = run(kit, "--proof", str(files["row"]))
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert "archived it again" in answer.stdout


def test_a_later_kit_continues_a_kept_checkpoint(ledger: Ledger, kit: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copy(kit / "log/checkpoint", kept)
    size = int(kept.read_text().splitlines()[1])
    rotate_keys(ledger.settings)
    ledger.warm(LATER)
    archive_month(ledger.settings, ledger.table, LATER)
    publish_log(ledger.settings)
    later = made_kit(ledger, tmp_path / "later", VerificationScope())
    answer = run(later, "--before", str(kept))
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert f"ok    kept: the log continues this checkpoint of {size} entries" in answer.stdout.splitlines()

    answer = run(kit, "--before", str(later / "log/checkpoint"))
    assert answer.returncode == 1
    assert (
        f"WRONG checkpoint: has {size + 2} entries, and the log of the kit {size}: the log was set back"
        in answer.stdout
    )

    text, signatures = split_note(kept.read_bytes())
    origin, _, root, *rest = text.split("\n")
    smaller = join_note("\n".join((origin, str(size - 1), root, *rest)), signatures)
    of_another = join_note("\n".join(("treasury/other", str(size), root, *rest)), signatures)
    for changed, reason in (
        (join_note(text, signatures[:1]), "lacks a signature of the keys that the log had then"),
        (smaller, "the log's first entries were changed"),
        (of_another, "is a checkpoint of the log treasury/other, and the kit is of treasury/"),
        (b"nothing of the kind", "the note has no signatures"),
    ):
        kept.write_bytes(changed)
        answer = run(later, "--before", str(kept))
        assert (answer.returncode, answer.stderr) == (1, "")
        assert f"WRONG kept: {reason}" in answer.stdout
    later_text, _ = split_note((later / "log/checkpoint").read_bytes())
    kept.write_bytes(join_note(later_text, signatures))  # signed by nobody who signs the log now
    assert "WRONG kept: lacks a signature" in run(later, "--before", str(kept)).stdout


@pytest.mark.parametrize(("options", "reason"), [
    (["--deep"], "--deep decodes the rows in a copy of the bucket: name it with --data"),
    (["--data", "nowhere"], "--data: nowhere is not a folder"),
])  # fmt: skip
def test_options_that_verify_less_than_they_say_are_refused(tmp_path: Path, options: list[str], reason: str) -> None:
    shutil.copy(VERIFIER, tmp_path)
    answer = run(tmp_path, *options)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"error: {reason}\n" in answer.stderr


def test_a_kit_of_some_months_says_so_and_is_whole(ledger: Ledger, tmp_path: Path) -> None:
    answer = run(made_kit(ledger, tmp_path / "part", VerificationScope(first=NEXT, last=NEXT)))
    assert answer.returncode == 0, answer.stdout
    assert [line for line in answer.stdout.splitlines() if line.startswith("ok    transactions")] == [
        f"ok    transactions {NEXT}, part 1: {ROWS} rows, manifest and tree"
    ]


def _flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place if place >= 0 else len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _flip_all(pattern: str) -> Callable[[Path], None]:
    def flip(kit: Path) -> None:
        found = [path for path in sorted(kit.glob(pattern)) if path.is_file()]
        assert found, pattern
        for path in found:
            _flip(path)

    return flip


def _other_keys(kit: Path) -> None:
    """The keys that signed the log before its rotation."""
    lines = (kit / "policy").read_text().splitlines()
    old = [line.split()[2] for line in lines if line.startswith("# log ")]
    assert old
    (kit / "policy").write_text("\n".join([*(f"log {key}" for key in old), "quorum none", ""]))


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "damage",
    [
        _flip_all("log/checkpoint"),
        _flip_all("log/tile/entries/*/*"),
        _flip_all("log/tile/0/*/*"),
        _flip_all("log/index/*"),
        _flip_all("_treasury/manifests/*/*/*"),
        _flip_all("_treasury/trees/*/*/*"),
        _other_keys,
        lambda kit: (kit / "log/checkpoint").unlink(),
        lambda kit: shutil.rmtree(kit / "_treasury/manifests/transactions" / str(NEXT)),
        lambda kit: shutil.rmtree(kit / "log/index"),
    ],
)
def test_what_was_changed_in_a_kit_is_found(kit: Path, damage: Callable[[Path], None]) -> None:
    damage(kit)
    answer = run(kit)
    assert answer.returncode == 1
    assert "WRONG" in answer.stdout
    assert "Traceback" not in answer.stderr


def test_rows_that_were_changed_in_the_copy_are_found(ledger: Ledger, kit: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ledger.store, copy)
    (file,) = (copy / f"transactions/month={COLD}").iterdir()
    _flip(file)
    answer = run(kit, "--data", str(copy))
    assert answer.returncode == 1
    assert f"WRONG transactions {COLD}, part 1: " in answer.stdout
    assert f"ok    transactions {NEXT}, part 1: " in answer.stdout


def _forged(content: bytes, change: Callable[[dict[str, object]], None]) -> bytes:
    proof = TlogProof.from_bytes(content)
    extra = json.loads(zlib.decompress(proof.extra or b""))
    change(extra)
    shown = json.dumps(extra, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return TlogProof(proof.index, proof.path, proof.checkpoint, zlib.compress(shown)).to_bytes()


def test_of_each_kind_of_key_that_a_policy_names_one_must_have_signed(kit: Path, tmp_path: Path) -> None:
    """Also where the log itself names one key only: whoever has one could sign such a log."""
    verifier = runpy.run_path(str(VERIFIER))
    content, lines = (kit / "log/checkpoint").read_bytes(), (kit / "policy").read_text().splitlines()
    text, signatures = split_note(content)
    policy, former = (
        verifier["Policy"]((kit / "policy").read_text()),
        [line.removeprefix("# ").partition("  (")[0] for line in lines if line.startswith("# log ")],
    )
    assert len(policy.logs) == len(former) == len(signatures) == 2
    assert policy.open(content)[1] > 0
    both = verifier["Policy"]("\n".join([*former, *lines]))  # as after a rotation
    assert both.open(content)[1] > 0
    for signature, lacks in zip(signatures, ("ML-DSA-44", "Ed25519"), strict=True):
        alone = join_note(text, [signature])
        for known in (policy, both):
            with pytest.raises(verifier["WrongError"], match=f"lacks the {lacks} signature of treasury/"):
                known.open(alone)
        own = [line for line in lines if line.startswith("log ") and signature.key_id.hex() in line]
        assert verifier["Policy"]("\n".join([*own, "quorum none"])).open(alone)[1] > 0


@pytest.mark.parametrize(("kind", "spelling"), SPELLINGS)
def test_a_second_spelling_of_a_value_has_no_place(kind: str, spelling: str) -> None:
    verifier = runpy.run_path(str(VERIFIER))
    layout = {"columns": [[1, "born", str(kind), *((9, 2) if kind == "decimal" else ())]]}
    with pytest.raises((verifier["WrongError"], ValueError, ArithmeticError)):
        verifier["sort_value"](layout, "born", spelling)


def test_forged_proofs_are_refused(ledger: Ledger, kit: Path, tmp_path: Path) -> None:
    files, row = proofs(ledger, tmp_path), make_row(ledger.table, COLD, 7)
    with Prover(ledger.settings) as prover:
        (before,) = prover.absence_of_row(ledger.table, row["wallet_id"], UUID(int=row["id"].int - 1))
    files["place before a row"] = tmp_path / "place before a row.tlog-proof"
    files["place before a row"].write_bytes(before.content)

    def of(name: str, change: Callable[[dict[str, object]], None]) -> Path:
        path = tmp_path / f"forged {len(list(tmp_path.iterdir()))}.tlog-proof"
        path.write_bytes(_forged(files[name].read_bytes(), change))
        return path

    def text(extra: dict[str, object]) -> None:
        extra["proof"]["text"] = extra["proof"]["text"].replace("acme", "evil")  # type: ignore[index]

    def root(extra: dict[str, object]) -> None:
        extra["entry"]["body"]["tree"]["root"] = "00" * 32  # type: ignore[index]

    def fewer(extra: dict[str, object]) -> None:
        del extra["proof"]["leaves"][1]  # type: ignore[index]

    def group(extra: dict[str, object]) -> None:
        extra["proof"]["group"] = "wallet-1"  # type: ignore[index]

    def spelling(extra: dict[str, object]) -> None:
        extra["proof"]["place"][2] = str(row["id"]).upper()  # type: ignore[index]

    forged = [of("row", text), of("row", root), of("statement", fewer), of("absence", group)]
    forged += [of("place before a row", spelling)]
    proof = TlogProof.from_bytes(files["row"].read_bytes())
    text_of_note, signatures = split_note(proof.checkpoint)
    for number, signature in enumerate(signatures):  # by whoever has one of the two keys alone
        forged.append(tmp_path / f"signed by one {number}.tlog-proof")
        forged[-1].write_bytes(replace(proof, checkpoint=join_note(text_of_note, [signature])).to_bytes())
    cut = tmp_path / "cut.tlog-proof"
    cut.write_bytes(base64.b64encode(files["row"].read_bytes()))
    for path in (*forged, cut):
        answer = run(kit, "--proof", str(path))
        assert answer.returncode == 1, path
        assert f"WRONG {path.name}: " in answer.stdout
        assert "Traceback" not in answer.stderr
