"""Files that are damaged at random: the account is right whatever becomes of a line, and a second run loads nothing."""

import csv
import gzip
import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from sql.connection import connect
from sql.partitions import prepare_table
from tasks.importing.mapping import read_mapping
from tasks.importing.records import read_records
from tasks.importing.run import ImportReport, ImportRequest, import_file
from tests.tasks.importing.conftest import physical_lines
from tests.tasks.importing.test_identity import KEYLESS, M

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BY_VALUES = KEYLESS.replace('name = "m"', 'name = "values"').replace("[fields]", 'identity = "values"\n[fields]')
BY_FILE = KEYLESS.replace('name = "m"', 'name = "file"').replace("[fields]", 'identity = "file"\n[fields]')
MAPPINGS = (M, KEYLESS.replace('name = "m"', 'name = "keyless"'), BY_VALUES, BY_FILE)
Mutation = Callable[[random.Random, bytes], bytes]


def original(rng: random.Random) -> bytes:
    """A file of a few records, some with quotes, in one of the usual line ends."""
    lines = [b"id,wallet,amount,at,note"]
    for number in range(rng.randint(1, 12)):
        note = rng.choice([b"", b"x", b'"a, b"', b'"say ""so"""', "é".encode()])
        key, cents, day = rng.randint(1, 10**6), rng.randint(1, 99999), rng.randint(1, 28)
        lines.append(b"%d,w%d,%d.%02d,2026-02-%02dT10:15:00Z,%s" % (key, number, cents // 100, cents % 100, day, note))
    end = rng.choice([b"\n", b"\r\n", b"\r"])
    return end.join(lines) + rng.choice([b"", end])


def replaced_byte(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return (
        content[:at] + rng.choice([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"0", b" ", b"-", b""]) + content[at + 1 :]
    )


def inserted(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return (
        content[:at] + rng.choice([b'"', b'""', b",", b"\r", b"\n\n", b"\r\r\n", b"\xc3", b"\xa0", b";"]) + content[at:]
    )


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def doubled(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"".join(lines)


def reordered(rng: random.Random, content: bytes) -> bytes:
    header, *lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join([header, *lines])


def other_ends(rng: random.Random, content: bytes) -> bytes:
    return b"".join(line + rng.choice([b"\n", b"\r\n", b"\r"]) for line in content.splitlines())


def other_encoding(rng: random.Random, content: bytes) -> bytes:
    return content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "latin-1", "utf-8-sig"]), "replace")


MUTATIONS: tuple[Mutation, ...] = (
    *(replaced_byte, inserted, replaced_byte, inserted, cut, doubled, reordered, other_ends, other_encoding),
    lambda _, content: gzip.compress(content),
)


def mutated(rng: random.Random) -> bytes:
    content = original(rng)
    for mutation in rng.choices(MUTATIONS, k=rng.randint(0, 3)):
        content = mutation(rng, content) if content else content
    return content


@pytest.fixture(autouse=True)
def table(settings: Settings) -> None:
    with connect(settings.database_dsn, "test") as connection:
        prepare_table(connection, settings, settings.table("transactions"))


def stored(database: psycopg.Connection) -> tuple[int, Decimal]:
    row = database.execute("SELECT count(*), coalesce(sum(amount), 0) FROM transactions").fetchone()
    assert row is not None
    return row


def sum_of_loaded(content: bytes, mapping: Path, report: ImportReport) -> Decimal:
    """The amounts of the records whose lines are not in the rejects file, from the file and that file alone."""
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    header, *records = read_records(BytesIO(plain), read_mapping(mapping)[0].file)
    with report.rejects.open(encoding="utf-8", newline="") as file:
        refused = {int(line[0]) for line in list(csv.reader(file))[1:]}
    position = [name.strip() for name in header.fields].index("amount")
    return sum((Decimal(one.fields[position].strip()) for one in records if one.line not in refused), Decimal(0))


def check(settings: Settings, database: psycopg.Connection, folder: Path, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # the same cases in every run
    file, mapping = folder / "fuzz.csv", folder / "fuzz.toml"
    content = mutated(rng)
    file.write_bytes(content)
    mapping.write_text(rng.choice(MAPPINGS))
    before = stored(database)
    try:
        first = import_file(settings, ImportRequest(file, mapping), lambda *_: None, NOW)
    except (ConfigError, DataError):  # refused as a whole, by name: nothing is loaded
        assert stored(database) == before, seed
        return
    assert first.read == first.loaded + first.known + first.different + first.rejected, seed
    assert first.lines.all == len(physical_lines(content)), seed
    assert first.lines.all == first.lines.header + first.lines.record_lines, seed
    after = stored(database)
    assert after[0] - before[0] == first.loaded, seed
    assert after[1] - before[1] == sum_of_loaded(content, mapping, first), seed
    second = import_file(settings, ImportRequest(file, mapping), lambda *_: None, NOW)
    assert (second.loaded, second.rejected) == (0, first.rejected), seed
    assert second.known + second.different == first.loaded + first.known + first.different, seed
    assert stored(database) == after, seed


def test_the_account_of_a_damaged_file_is_right(
    settings: Settings, database: psycopg.Connection, tmp_path: Path
) -> None:
    for seed in range(60):
        check(settings, database, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_the_account_of_many_damaged_files_is_right(
    settings: Settings, database: psycopg.Connection, tmp_path: Path, part: int
) -> None:
    for seed in range(1000 + 500 * part, 1500 + 500 * part):
        check(settings, database, tmp_path, seed)
