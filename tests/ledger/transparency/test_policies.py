"""Trust policies: the example of the specification, its rules line by line, and quorums as they count."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import sign_note
from ledger.transparency.policies import LogPolicy, format_policy
from ledger.transparency.verifier_keys import SignatureType
from tasks.transparency.keys import KeySigner, verifier_of
from tests.ledger.transparency.test_notes import CHECKPOINT, KEYS, ORIGIN, SIGNED, SIGNERS, TIME_S

NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")


def cosigner(name: str, seed: int) -> KeySigner:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return KeySigner(verifier_of(private, name, SignatureType.COSIGNATURE_ED25519), private)


def keys_of(origin: str) -> tuple[KeySigner, KeySigner]:
    """The two new keys of a log."""
    ed25519, mldsa44 = Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()
    return (
        KeySigner(verifier_of(ed25519, origin, SignatureType.ED25519), ed25519),
        KeySigner(verifier_of(mldsa44, origin, SignatureType.COSIGNATURE_MLDSA44), mldsa44),
    )


NEW = keys_of(ORIGIN)  # after a rotation
WITNESSES = {name: cosigner(f"{name}.example", number) for number, name in enumerate(NAMES, 1)}
# c2sp.org/tlog-policy, section "Example policy", with keys of our own
EXAMPLE = "\n".join(
    [
        f"log {KEYS[0].text}",
        "",
        *(f"witness {name} {WITNESSES[name].key.text}" for name in NAMES[:3]),
        "group X-witnesses 2 X1 X2 X3",
        "",
        *(f"witness {name} {WITNESSES[name].key.text}" for name in NAMES[3:]),
        "group Y-witnesses any Y1 Y2 Y3",
        "",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
        "",
    ]
)


@given(st.sets(st.sampled_from(NAMES)))
def test_the_example_counts_two_of_the_one_kind_and_any_of_the_other(signed: set[str]) -> None:
    policy = LogPolicy.parse(EXAMPLE.encode())
    note = sign_note(CHECKPOINT.text, [*SIGNERS, *(WITNESSES[name] for name in sorted(signed))], TIME_S)
    kinds = [name[0] for name in signed]
    if kinds.count("X") >= 2 and "Y" in kinds:
        assert policy.check(note)[0] == CHECKPOINT
    else:
        with pytest.raises(VerificationError, match="the quorum X-and-Y is missed"):
            policy.check(note)


def test_a_policy_without_witnesses_accepts_the_log_alone() -> None:
    policy = LogPolicy.parse(format_policy(list(KEYS), "https://logs.example"))
    assert policy.check(SIGNED)[0] == CHECKPOINT
    assert {log.url for log in policy.logs} == {"https://logs.example"}


@given(st.sets(st.sampled_from([*SIGNERS, *NEW]), min_size=1), st.sets(st.sampled_from([*SIGNERS, *NEW]), min_size=1))
def test_of_each_kind_of_key_in_the_policy_one_must_sign(signed: set[KeySigner], named: set[KeySigner]) -> None:
    """One kind alone may be broken or stolen. A policy with old and new keys outlives a rotation."""
    policy = LogPolicy.parse(format_policy([signer.key for signer in named]))
    note = sign_note(CHECKPOINT.text, list(signed), TIME_S)
    if {signer.key.type for signer in named} == {signer.key.type for signer in named & signed}:
        assert policy.check(note)[0] == CHECKPOINT
    else:
        with pytest.raises(VerificationError, match=r"lacks the signature of treasury/test|signed by no known key"):
            policy.check(note)


@pytest.mark.parametrize(("signer", "lacks"), [(SIGNERS[0], "mldsa44"), (SIGNERS[1], "ed25519")])
def test_one_of_two_signatures_is_not_enough(signer: KeySigner, lacks: str) -> None:
    note = sign_note(CHECKPOINT.text, [signer], TIME_S)
    with pytest.raises(VerificationError, match=rf"lacks the signature of treasury/test \({lacks}\): each kind of key"):
        LogPolicy.parse(format_policy(list(KEYS))).check(note)
    assert LogPolicy.parse(format_policy([signer.key])).check(note)[0] == CHECKPOINT


def test_a_log_that_the_policy_does_not_name_is_refused() -> None:
    policy = LogPolicy.parse(format_policy(list(KEYS)))
    other = [KeySigner(verifier_of(SIGNERS[0].private, "other", SignatureType.ED25519), SIGNERS[0].private)]
    note = sign_note(Checkpoint("other", 7, bytes(32)).text, other, TIME_S)
    with pytest.raises(VerificationError, match="the policy has no key of the log other"):
        policy.check(note)
    mixed = sign_note(CHECKPOINT.text, other, TIME_S)
    with pytest.raises(VerificationError, match="signed by no known key"):
        policy.check(mixed)


def test_spaces_tabs_comments_and_bytes_that_are_no_text_are_taken() -> None:
    name = b"w\xc3\xa9\xff"
    key = WITNESSES["X1"].key.text.encode()
    policy = LogPolicy.parse(b" \t# t\xe9st\n\nwitness\t" + name + b"  " + key + b" \nquorum " + name)
    (witness,) = policy.witnesses.values()
    assert witness.name.encode("utf-8", "surrogateescape") == name


LOG, WITNESS = f"log {KEYS[0].text}", f"witness X1 {WITNESSES['X1'].key.text}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the quorum line is missing"),
        ("quorum none\nquorum none", "line 2: there is one quorum line"),
        ("quorum", "there is one quorum line"),
        ("quorum X1", "line 1: X1 is not a witness or group of a line above"),
        ("group g all g\nquorum g", "g is not a witness or group"),
        (f"{WITNESS}\n{WITNESS}\nquorum none", "the name X1 is taken"),
        (f"{WITNESS}\n{WITNESS.replace('X1 ', 'X2 ')}\nquorum none", "has the public key of another witness"),
        (f"{LOG}\n{LOG}\nquorum none", "has the public key of another log line"),
        (f"{WITNESS}\ngroup none all X1\nquorum none", "the name none is taken"),
        (f"{WITNESS}\ngroup g all none\nquorum none", "none is not a witness or group"),
        (f"{WITNESS}\ngroup g 2 X1\nquorum g", "the threshold 2 is not all, any or a number from 1 to 1"),
        (f"{WITNESS}\ngroup g 0 X1\nquorum g", "the threshold 0"),
        (f"{WITNESS}\ngroup g 01 X1\nquorum g", "the threshold 01"),
        (f"{WITNESS}\ngroup g all X1 X1\nquorum g", "X1 is a member twice"),
        (f"{WITNESS}\ngroup g all X1\ngroup h all X1\nquorum g", "X1 is a member twice"),
        (f"{WITNESS}\ngroup g all\nquorum g", "a group is"),
        (f"witness X1 {KEYS[0].text}\nquorum none", "is not one for cosignatures"),
        ("log nothing\nquorum none", "line 1: "),
        ("log\nquorum none", "a log is"),
        ("witness X1\nquorum none", "a witness is"),
        ("colour blue\nquorum none", "'colour' is not log, witness, group or quorum"),
        ("quorum none\r\n", "a control character"),
    ],
)
def test_a_wrong_line_is_named(text: str, told: str) -> None:
    with pytest.raises(VerificationError, match=told):
        LogPolicy.parse(text.encode())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_policy_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(VerificationError, match="policy"):
        LogPolicy.parse(content + b"\nquorum")


def test_thirty_two_of_each_kind_are_taken() -> None:
    lines = [f"witness w{n} {cosigner(f'w{n}', n).key.text}" for n in range(1, 33)]
    groups = [f"group g{n} any w{n}" for n in range(1, 33)]
    names = " ".join(f"g{n}" for n in range(1, 33))
    policy = LogPolicy.parse("\n".join([*lines, *groups, f"group all-of all {names}", "quorum all-of"]).encode())
    assert len(policy.witnesses) == 32
