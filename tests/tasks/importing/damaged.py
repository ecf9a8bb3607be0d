"""Files that are damaged at random: made-up ones, and the samples of `examples/mappings` with their own mappings."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.tasks.importing.test_identity import KEYLESS, M

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "mappings"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.toml"))
MADE_UP = "made-up"
ORIGINALS = (MADE_UP, *EXAMPLES)

_BY_VALUES = KEYLESS.replace('name = "m"', 'name = "values"').replace("[fields]", 'identity = "values"\n[fields]')
_BY_FILE = KEYLESS.replace('name = "m"', 'name = "file"').replace("[fields]", 'identity = "file"\n[fields]')
_MAPPINGS = (M, KEYLESS.replace('name = "m"', 'name = "keyless"'), _BY_VALUES, _BY_FILE)
_BYTES = (b'"', b",", b";", b"\n", b"\r", b"\0", b"\xff", b"0", b" ", b"-", b".", b"")
_TEXTS = (
    b'"',
    b'""',
    b",",
    b";",
    b"\r",
    b"\n\n",
    b"\r\r\n",
    b"\xc3",
    b"\xa0",
    b"\xc2\xa0",
    b"7",
    b"-",
    b"\xe2\x88\x92",
)


class Damaged(NamedTuple):
    """The content of a file, the text of its mapping, and lines that are records wherever they are."""

    content: bytes
    mapping: str
    records: frozenset[str] = frozenset()


Mutation = Callable[[random.Random, bytes], bytes]


def damaged(original: str, seed: int) -> Damaged:
    """A file made of ``original`` by up to three mutations. An example's source has a name for each seed, so that its
    rows are no rows of another; made-up files share their sources.
    """
    rng = random.Random(seed)  # noqa: S311  # the same cases in every run
    if original == MADE_UP:
        content, mapping = _made_up(rng), rng.choice(_MAPPINGS)
    else:
        content, mapping = (FOLDER / f"{original}.csv").read_bytes(), (FOLDER / f"{original}.toml").read_text()
        mapping = mapping.replace(f'name = "{original}"', f'name = "{original}-{seed}"', 1)
    has_end = "\nuntil = " in mapping  # in such samples the records begin with their day, and nothing else does
    records = {line for line in content.decode().splitlines() if line[:1].isdigit()} if has_end else ()
    for mutation in rng.choices(_MUTATIONS, k=rng.randint(0, 3)):
        content = mutation(rng, content) if content else content
    return Damaged(content, mapping, frozenset(records))


def _made_up(rng: random.Random) -> bytes:
    """A file of a few records, some with quotes, in one of the usual line ends."""
    lines = [b"id,wallet,amount,at,note"]
    for number in range(rng.randint(1, 12)):
        note = rng.choice([b"", b"x", b'"a, b"', b'"say ""so"""', "é".encode()])
        key, cents, day = rng.randint(1, 10**6), rng.randint(1, 99999), rng.randint(1, 28)
        lines.append(b"%d,w%d,%d.%02d,2026-02-%02dT10:15:00Z,%s" % (key, number, cents // 100, cents % 100, day, note))
    end = rng.choice([b"\n", b"\r\n", b"\r"])
    return end.join(lines) + rng.choice([b"", end])


def _replaced_byte(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + rng.choice(_BYTES) + content[at + 1 :]


def _inserted(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(_TEXTS) + content[at:]


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _doubled(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"".join(lines)


def _early_end(rng: random.Random, content: bytes) -> bytes:
    """The last line, often a total, before others."""
    *lines, last = content.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), last)
    return b"".join(lines)


def _reordered(rng: random.Random, content: bytes) -> bytes:
    header, *lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join([header, *lines])


def _copied_value(rng: random.Random, content: bytes) -> bytes:
    """A value of one line in the place of one of another."""
    mark = max((b",", b";"), key=content.count)
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    values, others = lines[at].split(mark), rng.choice(lines).split(mark)
    values[rng.randrange(len(values))] = rng.choice(others)
    return b"".join([*lines[:at], mark.join(values), *lines[at + 1 :]])


def _other_ends(rng: random.Random, content: bytes) -> bytes:
    return b"".join(line + rng.choice([b"\n", b"\r\n", b"\r"]) for line in content.splitlines())


def _other_encoding(rng: random.Random, content: bytes) -> bytes:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    return text.encode(rng.choice(["utf-16", "latin-1", "utf-8", "utf-8-sig"]), "replace")


_MUTATIONS: tuple[Mutation, ...] = (
    *(_replaced_byte, _inserted) * 3,
    *(_cut, _doubled, _early_end, _early_end, _reordered, _copied_value, _other_ends, _other_encoding),
    lambda _, content: gzip.compress(content),
)
