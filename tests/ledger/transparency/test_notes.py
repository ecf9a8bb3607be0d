"""Signed notes, checkpoints and cosignatures: the specifications' own examples, and every bit of a note counts."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import EMPTY_ROOT
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import open_checkpoint, open_note, require_keys, sign_note, split_note
from ledger.transparency.verifier_keys import SignatureType, VerifierKey
from tasks.transparency.keys import KeySigner, verifier_of

# c2sp.org/signed-note, section "Verifier keys", example
FOO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# golang.org/x/mod/sumdb/note, note_test.go: the key "PeterNeumann" and its note
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
# go.sum database, the checkpoint in the documentation of golang.org/x/mod/sumdb/note
SUMDB_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
# c2sp.org/tlog-checkpoint, the example
BEHIND_THE_SOFA = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

ORIGIN = "treasury/test"
TIME_S = 1_700_000_000
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MLDSA44 = MLDSA44PrivateKey.from_seed_bytes(bytes(range(32)))
SIGNERS = (
    KeySigner(verifier_of(ED25519, ORIGIN, SignatureType.ED25519), ED25519),
    KeySigner(verifier_of(MLDSA44, ORIGIN, SignatureType.COSIGNATURE_MLDSA44), MLDSA44),
)
WITNESS = KeySigner(verifier_of(ED25519, "witness.example/w1", SignatureType.COSIGNATURE_ED25519), ED25519)
KEYS = tuple(signer.key for signer in SIGNERS)
CHECKPOINT = Checkpoint(ORIGIN, 7, bytes(range(32)))
SIGNED = sign_note(CHECKPOINT.text, SIGNERS, TIME_S)


@pytest.mark.parametrize(("key", "note"), [(FOO_KEY, FOO_NOTE), (PETER_KEY, PETER_NOTE)])
def test_the_examples_of_the_specification_and_of_go_verify(key: str, note: bytes) -> None:
    verifier = VerifierKey.parse(key)
    assert verifier.text == key
    assert open_note(note, [verifier]).keys == {verifier}


def test_the_key_of_the_go_checksum_database_is_read() -> None:
    assert VerifierKey.parse(SUMDB_KEY).key_id.hex() == "033de0ae"


def test_the_example_checkpoint_is_read_and_written_alike() -> None:
    checkpoint = Checkpoint.parse(BEHIND_THE_SOFA)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == BEHIND_THE_SOFA


def test_an_ed25519_cosignature_signs_the_message_of_the_specification() -> None:
    key = WITNESS.key
    assert key.message(BEHIND_THE_SOFA, 1679315147) == (
        b"cosignature/v1\n"
        b"time 1679315147\n"
        b"example.com/behind-the-sofa\n"
        b"20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    note = sign_note(BEHIND_THE_SOFA, [WITNESS], 1679315147)
    _, (signature,) = split_note(note)
    assert signature.signature[:8] == (1679315147).to_bytes(8, "big")
    assert len(signature.signature) == 8 + 64
    assert open_note(note, [key]).keys == {key}


def test_an_mldsa44_cosignature_signs_the_structure_of_the_specification() -> None:
    """struct cosigned_message of c2sp.org/tlog-cosignature@v1.0.1."""
    key = SIGNERS[1].key
    assert key.message(CHECKPOINT.text, 5) == (
        b"subtree/v1\n\x00"
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + (5).to_bytes(8, "big")
        + bytes([len(ORIGIN)])
        + ORIGIN.encode()
        + (0).to_bytes(8, "big")
        + (7).to_bytes(8, "big")
        + CHECKPOINT.root
    )
    _, signatures = split_note(SIGNED)
    assert len(signatures[1].signature) == 8 + 2420


def test_a_checkpoint_has_both_signatures_and_no_other_log_accepts_it() -> None:
    checkpoint, note = open_checkpoint(SIGNED, KEYS, ORIGIN)
    assert checkpoint == CHECKPOINT
    require_keys(note, KEYS)
    with pytest.raises(VerificationError, match="is of the log treasury/test, not of treasury/other"):
        open_checkpoint(SIGNED, KEYS, "treasury/other")
    only = sign_note(CHECKPOINT.text, SIGNERS[:1], TIME_S)
    with pytest.raises(VerificationError, match=r"lacks the signature of treasury/test \(mldsa44\)"):
        require_keys(open_note(only, KEYS), KEYS)


def test_a_witness_alone_does_not_make_a_checkpoint_the_logs() -> None:
    note = sign_note(CHECKPOINT.text, [WITNESS], TIME_S)
    with pytest.raises(VerificationError, match="not signed by a known key of the log"):
        open_checkpoint(note, [*KEYS, WITNESS.key], ORIGIN)


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_a_note_with_a_flipped_bit_is_refused(bit: int) -> None:
    flipped = bytearray(SIGNED)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        require_keys(open_checkpoint(bytes(flipped), KEYS, ORIGIN)[1], KEYS)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_bytes_that_are_no_note_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(VerificationError):
        open_note(content, KEYS)


def test_a_signature_of_an_unknown_key_is_ignored_also_under_a_known_name() -> None:
    stranger = Ed25519PrivateKey.generate()
    other = KeySigner(verifier_of(stranger, ORIGIN, SignatureType.ED25519), stranger)
    note = sign_note(CHECKPOINT.text, [other, *SIGNERS], TIME_S)
    assert open_note(note, KEYS).keys == set(KEYS)
    with pytest.raises(VerificationError, match="signed by no known key"):
        open_note(sign_note(CHECKPOINT.text, [other], TIME_S), KEYS)


def test_a_known_key_that_fails_refuses_all() -> None:
    text, signatures = split_note(SIGNED)
    broken = text.encode() + b"\n" + signatures[1].line.encode() + SIGNERS[0].key.text.encode()
    with pytest.raises(VerificationError):
        open_note(broken, KEYS)
    wrong = sign_note(Checkpoint(ORIGIN, 8, bytes(32)).text, SIGNERS[:1], TIME_S)
    _, (foreign,) = split_note(wrong)
    mixed = f"{text}\n{signatures[1].line}{foreign.line}".encode()
    with pytest.raises(VerificationError, match="the ed25519 signature of treasury/test is not valid"):
        open_note(mixed, KEYS)


def test_at_least_sixteen_signatures_are_accepted() -> None:
    note = SIGNED + SIGNED[SIGNED.index("—".encode()) :] * 15
    assert open_note(note, KEYS).keys == set(KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n7\n",
        "origin\n07\n" + "A" * 43 + "=\n",
        "origin\n-1\n" + "A" * 43 + "=\n",
        "origin\n7\nAAAA\n",
        "origin\n7\n" + "A" * 42 + "B=\n",
        "\n7\n" + "A" * 43 + "=\n",
        "origin\n7\n" + "A" * 43 + "=",
        "origin\n7\n" + "A" * 43 + "=\n\nmore\n",
        f"origin\n{2**63}\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text)


def test_the_empty_log_has_the_root_of_the_empty_tree() -> None:
    empty = Checkpoint("origin", 0, EMPTY_ROOT)
    assert Checkpoint.parse(empty.text) == empty


def test_extension_lines_are_kept_and_signed_by_ed25519() -> None:
    extended = Checkpoint(ORIGIN, 7, bytes(32), ("more",))
    assert Checkpoint.parse(extended.text) == extended
    note = sign_note(extended.text, SIGNERS, TIME_S)
    with pytest.raises(VerificationError):
        open_note(note.replace(b"more", b"less"), KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        FOO_KEY.replace("530d903a", "530d903b"),
        FOO_KEY.replace("530d903a", "530D903A"),
        FOO_KEY[:-1],
        FOO_KEY.replace("+Aek", "+Bek"),
        FOO_KEY.replace("example.com/foo", "example com"),
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        VerifierKey.parse(text)


def test_one_key_has_another_id_for_each_type() -> None:
    as_log, as_witness = (
        verifier_of(ED25519, "a", kind) for kind in (SignatureType.ED25519, SignatureType.COSIGNATURE_ED25519)
    )
    assert as_log.key_id != as_witness.key_id


@pytest.mark.parametrize("name", ["", "two words", "a+b", "tab\tname", "no\u00a0break", "\udcff"])
def test_a_name_with_spaces_or_plus_signs_is_no_name(name: str) -> None:
    with pytest.raises(VerificationError):
        VerifierKey(name, SignatureType.ED25519, bytes(32))
