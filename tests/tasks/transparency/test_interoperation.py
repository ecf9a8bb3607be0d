"""Logs and requests of other implementations: Tessera's test log is read, litewitness's test requests are answered."""

from pathlib import Path

import pytest

from config import Settings
from ledger.errors import VerificationError
from ledger.merkle import leaf_hash
from ledger.merkle_proofs import inclusion_path, root_from_path
from ledger.transparency import base64
from ledger.transparency.tiles import Tile, roots_from
from ledger.transparency.verifier_keys import SignatureType, VerifierKey
from storage.store import ObjectStore
from tasks.transparency.archived_log import ArchivedLog
from tasks.transparency.witness import WitnessService
from tasks.transparency.witness_server import witness_signers

# github.com/transparency-dev/tessera, testdata/log: a log of 15 entries, its key from append_lifecycle_test.go
TESSERA_ORIGIN = "example.com/log/testdata"
TESSERA_KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
TESSERA_CHECKPOINT = (
    "example.com/log/testdata\n15\nrKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n\n"
    "— example.com/log/testdata "
    "M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=\n"
).encode()
TESSERA_ENTRIES = (
    "AANvbmUAA3R3bwAFdGhyZWUABGZvdXIABGZpdmUAA3NpeAAFc2V2ZW4AA2VpdAAEbmFpbgADdGVuAAZpbGV2ZW4ABXR3ZWxmAAh0aHJlZXRlbgAHZm91"
    "cnRlbgAGZml2dGVu"
)
TESSERA_TILE = (
    "0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+emrGrfwfHyP4O/0um+qU8fkQS6RpZkVPoqk4Bvuzlt4JWcfFGxeRx6KGoOjwhTOS6kHuPOliI0U"
    "zIzTznW7Eu+U9xWrP6pdBx5uKsS7mU1b9zWUPcw3mdoNCF55gM+5M2rMwprg4Cp3sPRXjBrBdJPXnPQmIQSSmsgE+R/E56xa8MojPnomuMNcLJP1JMe5"
    "BeeiEFZA1tzFlGlM/1bSbvsl2Q0P5jSR+TdkwdXWyx+GbBWX0KZbNZkWzCjyTPSozsxOFyChXYNhwr5ULEFQNYCU3GYvLavt2rt0rv46WBApa/dR0Kmj"
    "81pWwbFA5Nyb0qTkyuwXOIn2RsV2c3wATprlHTl9PRkCsBHBJiDsgnbxPM+BP5oV3HsHfbLi8MoJB327LYxG7faX1XMxheaUtO4sHQS4QiLJ/LTYpdCi"
    "/s/tMzutXBwOswN8pyYez83RD63wfGhNWAVggZyXDSKXlHj7pfT+zJ9jw2H+Ob1WS8hhN7wjY353GU1mgmgMhKfrmtW2yU5hvbMX4JLy9NRJSuDqSQad"
    "7zSGTjnlyM9ld5pJXzeG3BjnX0UNSZ8RnB6u4g3YKT8h/J0IcUoY1ysc1g61"
)


@pytest.fixture
def tessera(settings: Settings, tmp_path: Path) -> ArchivedLog:
    """Tessera's log, in an archive."""
    store = ObjectStore(settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"}))
    store.put_bytes(TESSERA_CHECKPOINT, "log/checkpoint")
    store.put_bytes(base64.decode(TESSERA_ENTRIES, "entries"), "log/tile/entries/000.p/15")
    store.put_bytes(base64.decode(TESSERA_TILE, "tile"), "log/tile/0/000.p/15")
    return ArchivedLog(store)


def test_a_log_that_tessera_wrote_is_read_and_verified(tessera: ArchivedLog) -> None:
    key = VerifierKey.parse(TESSERA_KEY)
    log = tessera.verify([key], TESSERA_ORIGIN)
    assert log is not None
    assert (log.checkpoint.size, log.entries[0], log.entries[14]) == (15, b"one", b"fivten")
    assert log.tree.content(Tile(0, 0, 15)) == base64.decode(TESSERA_TILE, "tile")
    roots = roots_from(tessera.read_tile, 15)
    for index, entry in enumerate(log.entries):
        path = inclusion_path(index, 15, roots)
        assert root_from_path(leaf_hash(entry), index, 15, path) == log.checkpoint.root


def test_a_log_of_tessera_s_with_a_changed_entry_is_refused(tessera: ArchivedLog) -> None:
    content = tessera.read_tile(Tile(None, 0, 15))
    tessera.store.replace_bytes(content.replace(b"two", b"too"), "log/tile/entries/000.p/15")
    with pytest.raises(VerificationError, match="the 15 entries do not lead to the root"):
        tessera.verify([VerifierKey.parse(TESSERA_KEY)], TESSERA_ORIGIN)


# github.com/FiloSottile/torchwood, cmd/litewitness/testdata/litewitness.txt (add-checkpoint.hurl), in its order.
# One answer differs: an unknown log is 404 by tlog-witness v1.0.0, where that version of litewitness says 403.
SIGSUM = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
SIGSUM_KEY = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"
UNKNOWN = SIGSUM[:-1] + "3"
ROOTS = {
    1: "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    3: "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
    5: "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
}
SIGNATURES = {
    1: "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
    3: "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
    5: "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
}
TO_3 = ("KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
FROM_1_TO_5 = (TO_3[0], "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=", "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
FROM_3_TO_5 = (
    TO_3[1],
    "KgMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=",
    FROM_1_TO_5[2],
)


def sigsum(old: int, hashes: tuple[str, ...], size: int, origin: str = SIGSUM, signature: str = "") -> bytes:
    """A request of litewitness's test."""
    proof = "".join(f"{one}\n" for one in hashes)
    checkpoint = f"{origin}\n{size}\n{ROOTS[size]}\n\n— {origin} {signature or SIGNATURES[size]}\n"
    return f"old {old}\n{proof}\n{checkpoint}".encode()


def test_the_requests_of_litewitness_s_test_get_its_answers(tmp_path: Path) -> None:
    key = VerifierKey(SIGSUM, SignatureType.ED25519, bytes.fromhex(SIGSUM_KEY))
    witness = WitnessService(
        tmp_path / "witness.sqlite", witness_signers(tmp_path, "example.com/witness"), {SIGSUM: [key]}
    )

    def answered(body: bytes) -> tuple[int, bytes]:
        answer = witness.add_checkpoint(body)
        return answer.status, answer.body

    status, body = answered(sigsum(0, (), 1))
    assert (status, body[:22]) == (200, "— example.com/witness".encode()[:22])
    assert answered(sigsum(1, TO_3, 3, signature=SIGNATURES[3][:-2] + "x="))[0] == 403
    assert answered(sigsum(1, TO_3, 3, UNKNOWN))[0] == 404
    assert answered(sigsum(1, (), 3))[0] == 422
    assert answered(sigsum(1, (TO_3[0], TO_3[1].replace("AAAAA=", "AAABA=")), 3))[0] == 422
    assert answered(sigsum(1, TO_3, 3))[0] == 200
    assert answered(sigsum(1, FROM_1_TO_5, 5)) == (409, b"3\n")
    assert answered(sigsum(3, FROM_3_TO_5, 5))[0] == 200
    assert answered(sigsum(0, (), 5)) == (409, b"5\n")
