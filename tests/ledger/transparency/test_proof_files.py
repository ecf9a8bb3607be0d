"""Proof files: read and written alike, and refused when anything in them was changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import leaf_hash
from ledger.merkle_proofs import inclusion_path
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import sign_note
from ledger.transparency.policies import LogPolicy, format_policy
from ledger.transparency.proof_files import TlogProof
from ledger.transparency.tiles import Tree
from tests.ledger.transparency.test_notes import KEYS, ORIGIN, SIGNERS, TIME_S

ENTRIES = [f"entry {number}".encode() for number in range(300)]
TREE = Tree(ENTRIES)
NOTE = sign_note(Checkpoint(ORIGIN, 300, TREE.root(300)).text, SIGNERS, TIME_S)
POLICY = LogPolicy.parse(format_policy(list(KEYS)))


def proof(index: int, extra: bytes | None = None) -> TlogProof:
    return TlogProof(index, tuple(inclusion_path(index, 300, TREE.root_of)), NOTE, extra)


@given(st.integers(0, 299), st.none() | st.binary(max_size=100))
def test_a_proof_is_read_as_it_was_written_and_proves_its_entry(index: int, extra: bytes | None) -> None:
    read = TlogProof.from_bytes(proof(index, extra).to_bytes())
    assert read == proof(index, extra)
    assert read.check(leaf_hash(ENTRIES[index]), POLICY).size == 300
    with pytest.raises(VerificationError, match=f"does not lead from the entry {index}"):
        read.check(leaf_hash(b"another"), POLICY)


def test_a_proof_has_the_lines_of_the_specification() -> None:
    lines = proof(7, b"more").to_bytes().decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra bW9yZQ==", "index 7"]
    assert lines[3 + 9] == ""
    assert lines[3 + 10] == ORIGIN
    assert proof(7).to_bytes().decode().split("\n")[1] == "index 7"


@given(st.integers(0, 299), st.data())
def test_a_proof_with_a_changed_byte_proves_nothing(index: int, data: st.DataObject) -> None:
    content = bytearray(proof(index).to_bytes())
    place = data.draw(st.integers(0, content.index(b"\n\n") + 1 + len(ORIGIN)))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VerificationError):
        TlogProof.from_bytes(bytes(content)).check(leaf_hash(ENTRIES[index]), POLICY)


def test_the_extra_data_are_not_authenticated() -> None:
    changed = TlogProof(7, proof(7).path, NOTE, b"changed")
    assert changed.check(leaf_hash(ENTRIES[7]), POLICY).size == 300


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA\n\n",
        b"c2sp.org/tlog-proof@v1\nextra A\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 63 + b"\n",
        b"c2sp.org/tlog-proof@v1\nindex 0",
    ],
)
def test_what_is_no_proof_is_refused(content: bytes) -> None:
    with pytest.raises(VerificationError):
        TlogProof.from_bytes(content)


def test_a_proof_for_another_log_is_refused() -> None:
    other = LogPolicy.parse(b"quorum none\n")
    with pytest.raises(VerificationError, match="the policy has no key of the log"):
        proof(0).check(leaf_hash(ENTRIES[0]), other)
