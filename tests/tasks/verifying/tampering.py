"""An archive in a folder under strangers' hands: its states in the past, and random single changes of it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.layout import OWN_FOLDER
from storage.marker import KEY as MARKER

Change = Callable[["Bucket", random.Random], str | None]


@dataclass(frozen=True)
class Bucket:
    """A folder of objects, and earlier states of it, the oldest first: what somebody may put back."""

    folder: Path
    past: tuple[dict[str, bytes], ...]

    def objects(self) -> dict[str, bytes]:
        """Every object by its key."""
        return read_objects(self.folder)

    def tampered(self) -> list[str]:
        """The keys of all objects but the marker, which has a test of its own."""
        return sorted(key for key in self.objects() if key != MARKER)

    def write(self, key: str, content: bytes | None) -> None:
        """Put an object, or take it away."""
        path = self.folder / key
        if content is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def restore(self, objects: dict[str, bytes]) -> None:
        """Make the folder hold exactly these objects."""
        there = self.objects()
        for key in there.keys() - objects.keys():
            self.write(key, None)
        for key, content in objects.items():
            if there.get(key) != content:
                self.write(key, content)


def read_objects(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kind_of(key: str) -> str:
    """What an object is: each kind is changed equally often, however many objects it has."""
    if key.startswith("log/"):
        return "/".join(key.split("/")[:3]) if key.startswith("log/tile") else key.split("/")[1]
    if key.startswith(f"{OWN_FOLDER}/"):
        return f"{key.split('/')[1]} {key.rpartition('.')[2]}"
    return "rows"


def _pick(bucket: Bucket, chance: random.Random) -> str:
    keys = bucket.tampered()
    kind = chance.choice(sorted({kind_of(key) for key in keys}))
    return chance.choice([key for key in keys if kind_of(key) == kind])


def flip_a_bit(bucket: Bucket, chance: random.Random) -> str | None:
    """One bit of one object."""
    key = _pick(bucket, chance)
    content = bytearray((bucket.folder / key).read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    bucket.write(key, bytes(content))
    return f"bit of byte {place} of {key}"


def delete_an_object(bucket: Bucket, chance: random.Random) -> str | None:
    """One object is gone."""
    key = _pick(bucket, chance)
    bucket.write(key, None)
    return f"deleted {key}"


def truncate_an_object(bucket: Bucket, chance: random.Random) -> str | None:
    """An object ends early, or is empty."""
    key = _pick(bucket, chance)
    content = (bucket.folder / key).read_bytes()
    length = chance.choice([0, chance.randrange(len(content)), len(content) - 1])
    bucket.write(key, content[:length])
    return f"{key} cut to {length} bytes"


def lengthen_an_object(bucket: Bucket, chance: random.Random) -> str | None:
    """An object has further bytes at its end."""
    key = _pick(bucket, chance)
    tail = chance.choice([b"\n", b"\0", chance.randbytes(40)])
    bucket.write(key, (bucket.folder / key).read_bytes() + tail)
    return f"{key} with {tail!r}"


def swap_two_objects(bucket: Bucket, chance: random.Random) -> str | None:
    """Two objects change their places."""
    one, other = _pick(bucket, chance), _pick(bucket, chance)
    here, there = (bucket.folder / one).read_bytes(), (bucket.folder / other).read_bytes()
    if here == there:
        return None
    bucket.write(one, there)
    bucket.write(other, here)
    return f"swapped {one} and {other}"


def replay_an_object(bucket: Bucket, chance: random.Random) -> str | None:
    """An object is as it was in the past: a checkpoint, an index; or another object's former bytes."""
    past = chance.choice(bucket.past)
    now = bucket.objects()
    changed = [key for key in past if key != MARKER and past[key] != now.get(key)]
    if not changed:
        return None
    key = chance.choice(changed)
    bucket.write(key, past[key])
    return f"{key} of the past"


def replay_a_tile(bucket: Bucket, chance: random.Random) -> str | None:
    """A tile or a bundle has the bytes of a smaller log's."""
    tiles = sorted(key for key in bucket.tampered() if key.startswith("log/tile"))
    one, other = chance.sample(tiles, 2)
    content = (bucket.folder / one).read_bytes()
    if content == (bucket.folder / other).read_bytes():
        return None
    bucket.write(other, content)
    return f"{other} with the bytes of {one}"


def set_the_log_back(bucket: Bucket, chance: random.Random) -> str | None:
    """The whole log is what it was, consistent in itself; the months stay."""
    past = chance.choice(bucket.past)
    now = bucket.objects()
    logs = {key: content for key, content in past.items() if key.startswith("log/")}
    wanted = {key: content for key, content in now.items() if not key.startswith("log/")} | logs
    if wanted == now:
        return None
    bucket.restore(wanted)
    return f"the log of {len(logs)} objects"


def set_everything_back(bucket: Bucket, chance: random.Random) -> str | None:
    """The whole bucket is what it was."""
    past = chance.choice(bucket.past)
    marker = {key: content for key, content in bucket.objects().items() if key == MARKER}
    if past | marker == bucket.objects():
        return None
    bucket.restore(past | marker)
    return f"the bucket of {len(past)} objects"


def add_an_object(bucket: Bucket, chance: random.Random) -> str | None:
    """A further object lies where the archive's objects lie."""
    key = _pick(bucket, chance)
    path = Path(key)
    name = f"{path.stem[:-1]}{chance.choice('xyz')}{path.suffix}"
    if (bucket.folder / path.with_name(name)).exists():
        return None
    bucket.write(str(path.with_name(name)), (bucket.folder / key).read_bytes())
    return f"{key} again as {path.with_name(name)}"


CHANGES: tuple[Change, ...] = (
    flip_a_bit,
    flip_a_bit,
    flip_a_bit,
    delete_an_object,
    truncate_an_object,
    lengthen_an_object,
    swap_two_objects,
    replay_an_object,
    replay_a_tile,
    set_the_log_back,
    set_everything_back,
    add_an_object,
)


def copy_of(folder: Path, target: Path) -> Path:
    """A copy of a folder of objects."""
    shutil.copytree(folder, target)
    return target
