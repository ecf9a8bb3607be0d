"""Witnesses: the protocol answer by answer, over HTTP; a fork is refused and remembered; the log asks its policy's."""

import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from config import Settings
from ledger.errors import ConfigError
from ledger.merkle import EMPTY_ROOT
from ledger.merkle_proofs import consistency_path
from ledger.transparency import base64
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import Signature, join_note, open_note, sign_note, split_note
from ledger.transparency.policies import LogPolicy, format_policy
from ledger.transparency.tiles import Tree
from ledger.transparency.verifier_keys import VerifierKey
from tasks.health import HealthState
from tasks.transparency.keys import KeySigner
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.transparency.witness import WitnessService, origin_hash
from tasks.transparency.witness_server import known_logs, witness_app, witness_signers
from tests.ledger.transparency.test_notes import KEYS, ORIGIN, SIGNERS, TIME_S
from tests.tasks.archiving.ledger import PROJECT
from tests.tasks.transparency.installation import Installation
from tests.tasks.transparency.test_hooks import check

NAME = "witness.example/w1"
TREE = Tree([f"entry {number}".encode() for number in range(40)])
OTHER = Tree([f"other {number}".encode() for number in range(40)])


def signed(size: int, tree: Tree = TREE) -> bytes:
    """A checkpoint as the log signs it."""
    return sign_note(Checkpoint(ORIGIN, size, tree.root(size)).text, SIGNERS, TIME_S)


def request(old: int, size: int, tree: Tree = TREE, note: bytes | None = None) -> bytes:
    """A request of add-checkpoint."""
    hashes = consistency_path(old, size, tree.root_of)
    return "\n".join([f"old {old}", *map(base64.encode, hashes), "", ""]).encode() + (note or signed(size, tree))


class Served:
    """A witness at its address."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.keys = [signer.key for signer in witness_signers(folder, NAME)]

    def add(self, body: bytes) -> httpx.Response:
        return httpx.post(f"{self.url}/add-checkpoint", content=body)


@contextmanager
def served(folder: Path, policy: bytes) -> Iterator[Served]:
    """A witness over HTTP, on a port of its own."""
    signers = witness_signers(folder, NAME)
    (folder / "policy").write_bytes(policy)
    app = witness_app(WitnessService(folder / "witness.sqlite", signers, known_logs(folder / "policy")))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Served(folder, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.should_exit = True
        thread.join()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Served]:
    """A witness of the log of `test_notes`."""
    with served(tmp_path / "witness", format_policy(list(KEYS))) as found:
        yield found


def test_a_checkpoint_that_continues_the_last_one_is_cosigned_with_both_keys(witness: Served) -> None:
    for old, size in ((0, 5), (5, 5), (5, 40)):
        answer = witness.add(request(old, size))
        assert answer.status_code == 200
        text, _ = split_note(signed(size))
        note = open_note(f"{text}\n{answer.text}".encode(), witness.keys)
        assert note.keys == set(witness.keys)
        assert all(key.time_s(signature.signature) > TIME_S for key, signature in note.signed_by)


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"old 0\n", 400),
        (b"old x\n\n" + signed(5), 400),
        (b"old 00\n\n" + signed(5), 400),
        (b"old 6\n\n" + signed(5), 400),
        (b"old 0\nAAAA\n\n" + signed(5), 400),
        (b"old 0\n" + base64.encode(bytes(32)).encode() * 1 + b"\n\n" + signed(5), 422),
        (b"old 0\n" + (base64.encode(bytes(32)) + "\n").encode() * 64 + b"\n" + signed(5), 400),
        (b"old 0\n\n" + signed(5).replace(b"treasury/test\n5", b"treasury/other\n5"), 404),
        (b"old 0\n\n" + signed(5).replace(b"\n5\n", b"\n6\n"), 403),
        (b"old 0\n\n" + sign_note("treasury/test\n5\n" + base64.encode(bytes(32)) + "\n", SIGNERS, 1)[:90], 403),
        (b"old 5\n\n" + signed(5), 409),
        (b"old 0\n\n" + sign_note(Checkpoint(ORIGIN, 0, bytes(32)).text, SIGNERS, TIME_S), 422),
        (b"old 0\n\n" + b"x" * 300_000, 413),
    ],
)
def test_a_request_that_is_wrong_gets_the_status_of_the_specification(
    witness: Served, body: bytes, status: int
) -> None:
    assert witness.add(body).status_code == status
    assert httpx.get(f"{witness.url}/{origin_hash(ORIGIN)}/checkpoint").status_code == 404


def test_an_unknown_key_alone_is_not_signed(witness: Served, tmp_path: Path) -> None:
    stranger = witness_signers(tmp_path / "stranger", ORIGIN)
    note = sign_note(Checkpoint(ORIGIN, 5, TREE.root(5)).text, stranger, TIME_S)
    assert witness.add(b"old 0\n\n" + note).status_code == 403


@pytest.mark.parametrize("signer", SIGNERS)
def test_one_of_two_kinds_of_keys_alone_is_not_cosigned(witness: Served, signer: KeySigner) -> None:
    note = sign_note(Checkpoint(ORIGIN, 5, TREE.root(5)).text, [signer], TIME_S)
    answer = witness.add(b"old 0\n\n" + note)
    assert answer.status_code == 403
    assert "lacks the signature of treasury/test" in answer.text


def test_an_old_size_that_is_not_the_last_one_gets_the_last_one(witness: Served) -> None:
    assert witness.add(request(0, 5)).status_code == 200
    answer = witness.add(request(3, 40))
    assert (answer.status_code, answer.text) == (409, "5\n")
    assert answer.headers["content-type"] == "text/x.tlog.size"


@pytest.mark.parametrize("size", [5, 40])
def test_a_fork_is_refused_and_kept_as_evidence(witness: Served, size: int) -> None:
    assert witness.add(request(0, 5)).status_code == 200
    assert witness.add(request(5, size, OTHER)).status_code == 422
    assert witness.add(request(5, size)).status_code == 200
    with sqlite3.connect(witness.folder / "witness.sqlite") as database:
        ((origin, note),) = database.execute("SELECT origin, note FROM refused").fetchall()
    assert (origin, note) == (ORIGIN, signed_text(note))
    database.close()


def signed_text(note: bytes) -> bytes:
    """The note, when the log's keys signed it."""
    assert open_note(note, KEYS).keys == set(KEYS)
    return note


def test_the_empty_log_is_cosigned_once_it_has_the_root_of_an_empty_tree(witness: Served) -> None:
    empty = sign_note(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text, SIGNERS, TIME_S)
    assert witness.add(b"old 0\n\n" + empty).status_code == 200
    assert witness.add(request(0, 5)).status_code == 200


def test_the_newest_checkpoint_is_served_with_the_signatures_that_count(witness: Served, tmp_path: Path) -> None:
    stranger = witness_signers(tmp_path / "stranger", "stranger")
    text, signatures = split_note(signed(5))
    _, unknown = split_note(sign_note(text, stranger, TIME_S))
    witness.add(request(0, 5, note=join_note(text, [*unknown, *signatures])))
    content = httpx.get(f"{witness.url}/{origin_hash(ORIGIN)}/checkpoint").content
    assert open_note(content, [*KEYS, *witness.keys]).keys == {*KEYS, *witness.keys}
    assert len(split_note(content)[1]) == 4


def test_what_was_cosigned_is_remembered_after_a_restart(witness: Served) -> None:
    witness.add(request(0, 5))
    with served(witness.folder, format_policy(list(KEYS))) as again:
        assert again.keys == witness.keys
        assert again.add(request(0, 7)).status_code == 409
        assert again.add(request(5, 7)).status_code == 200


def test_requests_at_once_never_roll_the_witness_back(witness: Served) -> None:
    """The race of the specification: every answer of 200 is about a size that is larger than the one before."""
    witness.add(request(0, 5))

    def ask(size: int) -> tuple[int, int]:
        return size, witness.add(request(5, size)).status_code

    with ThreadPoolExecutor(8) as pool:
        cosigned = [size for size, status in pool.map(ask, range(6, 30)) if status == 200]
    assert len(cosigned) == 1
    answer = witness.add(request(5, 40))
    assert (answer.status_code, answer.text) == (409, f"{cosigned[0]}\n")


def test_a_witness_without_a_log_or_with_a_bad_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("quorum none\n")
    with pytest.raises(ConfigError, match="names no log"):
        known_logs(tmp_path / "policy")
    with pytest.raises(ConfigError, match="--name"):
        witness_signers(tmp_path / "keys", "two words")
    witness_signers(tmp_path / "keys", "one")
    (tmp_path / "keys" / "witness-ed25519.pem").chmod(0o644)
    with pytest.raises(ConfigError, match=r"witness-ed25519.pem: others than its owner"):
        witness_signers(tmp_path / "keys", "one")


# --- the log's side


def _policy(witness: Served, url: str | None = None, extra: str = "") -> bytes:
    key = witness.keys[1].text
    return f"witness w1 {key} {url or witness.url}\n{extra}quorum w1\n".encode()


def _set(installation: Installation, tmp_path: Path, policy: bytes) -> Settings:
    file = tmp_path / "log-policy"
    file.write_bytes(policy)
    installation.settings = installation.settings.model_copy(update={"log_policy": file, "witness_timeout_s": 2.0})
    return installation.settings


@pytest.fixture
def published(settings: Settings) -> Installation:
    """An installation with a published log."""
    with Installation.begun(settings) as installation:
        installation.record("one")
        publish_log(settings)
        return installation


@pytest.fixture
def own_witness(published: Installation, tmp_path: Path) -> Iterator[Served]:
    """A witness of that log."""
    with served(tmp_path / "own-witness", policy_text(published.settings).encode()) as found:
        yield found


def test_the_log_asks_the_witnesses_of_its_policy(published: Installation, own_witness: Served, tmp_path: Path) -> None:
    settings = _set(published, tmp_path, _policy(own_witness))
    for size in (3, 4, 5):
        publish_log(settings)
        log = published.log()
        assert log.checkpoint.size == size
        keys = [VerifierKey.parse(text) for text in published.row.keys]
        policy = LogPolicy.parse(format_policy(keys)[: -len(b"quorum none\n")] + _policy(own_witness))
        _, note = policy.check(log.note)
        assert own_witness.keys[1] in note.keys
        assert published.row.witnessed == "1 of 1 witnesses cosigned"
        assert check(settings).state is HealthState.HEALTHY
        published.record(f"more-{size}")


def test_a_missed_quorum_stops_nothing_is_reported_and_made_up_for(
    published: Installation, own_witness: Served, tmp_path: Path
) -> None:
    settings = _set(published, tmp_path, _policy(own_witness, "http://127.0.0.1:9"))
    published.record("two")
    done = publish_log(settings)
    assert done is not None
    assert "the quorum w1 of witnesses is missed; witness w1: does not answer: ConnectError" in done.shortfall
    assert published.log().checkpoint.size == 4
    result = check(settings)
    assert (result.state, "0 of 1 witnesses cosigned" in result.line) == (HealthState.WARNING, True)

    settings = _set(published, tmp_path, _policy(own_witness))
    publish_log(settings)
    note = published.log().note
    assert open_note(note, own_witness.keys).keys == {own_witness.keys[1]}
    assert check(settings).state is HealthState.HEALTHY


@pytest.mark.parametrize("change", ["lost", "garbage"])
def test_cosignatures_in_the_bucket_are_taken_over_where_they_verify_and_none_is_lost(
    published: Installation, own_witness: Served, tmp_path: Path, change: str
) -> None:
    alone = published.objects()["log/checkpoint"]
    text, signatures = split_note(alone)
    _, answered = split_note(alone + own_witness.add(b"old 0\n\n" + alone).content)
    settings = _set(published, tmp_path, _policy(own_witness))
    (cosignature,) = (one for one in answered if one.is_of(own_witness.keys[1]))
    cosigned = join_note(
        text, [*signatures, cosignature]
    )  # as a publisher leaves it that is killed before it records the cosignatures
    published.store.replace_bytes(cosigned, "log/checkpoint")
    publish_log(settings)
    assert published.row.checkpoint == published.objects()["log/checkpoint"] == cosigned
    assert published.sql("SELECT rule FROM alerts") == []

    wrong = Signature(own_witness.keys[1].name, own_witness.keys[1].key_id, bytes(2428))
    changed = {"lost": alone, "garbage": join_note(text, [*signatures, wrong])}[change]
    published.store.replace_bytes(changed, "log/checkpoint")
    publish_log(settings)
    assert published.row.checkpoint == published.objects()["log/checkpoint"] == cosigned
    assert published.sql("SELECT rule FROM alerts") == [("log-set-back",)]


def test_a_witness_that_remembers_another_history_raises_an_alert(
    published: Installation, own_witness: Served, tmp_path: Path
) -> None:
    from tasks.transparency.keys import load_signers

    signers = load_signers(published.settings, published.origin)
    other = sign_note(Checkpoint(published.origin, 9, OTHER.root(9)).text, signers, TIME_S)
    assert own_witness.add(b"old 0\n\n" + other).status_code == 200
    settings = _set(published, tmp_path, _policy(own_witness))
    done = publish_log(settings)
    assert done is not None
    assert "witness w1: has cosigned 9 entries, and this log has 3" in done.shortfall
    assert published.sql("SELECT rule FROM alerts") == [("log-forked",)]


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (b"quorum w9\n", "policy, line 1: w9 is not a witness or group"),
        (b"", "the quorum line is missing"),
        (f"log {KEYS[0].text}\nquorum none\n".encode(), "names other logs, but no key of this one, treasury/"),
    ],
)
def test_a_wrong_policy_is_refused_by_name_and_nothing_is_published(
    published: Installation, tmp_path: Path, policy: bytes, told: str
) -> None:
    settings = _set(published, tmp_path, policy)
    published.record("two")
    with pytest.raises(ConfigError, match=f"TREASURY_LOG_POLICY: .*{told}"):
        publish_log(settings)
    assert published.log().checkpoint.size == 3


def test_the_command_serves_a_witness_and_prints_its_keys(tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(format_policy(list(KEYS)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cli.main", "witness"]
    named = ["--name", NAME, "--folder", str(tmp_path / "witness")]
    serve = [*command, "serve", *named, "--policy", str(tmp_path / "policy"), "--port", str(port)]
    with subprocess.Popen(serve, cwd=PROJECT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.readline()  # it names the log before it listens
        answer = _answer(port, request(0, 5))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert answer.status_code == 200
    printed = subprocess.run([*command, "keys", *named], cwd=PROJECT, capture_output=True, text=True, check=True)
    policy = LogPolicy.parse(f"{printed.stdout}quorum mldsa44\n".encode())
    text, _ = split_note(signed(5))
    policy.check_quorum(open_note(f"{text}\n{answer.text}".encode(), policy.witness_keys))


def _answer(port: int, body: bytes) -> httpx.Response:
    """The witness's answer, once it listens."""
    while True:
        try:
            return httpx.post(f"http://127.0.0.1:{port}/add-checkpoint", content=body)
        except httpx.ConnectError:
            time.sleep(0.1)
