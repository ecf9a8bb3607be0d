"""The object store: exact keys, whole objects, errors that say whether to try again. The same on S3 and on files."""

import hashlib
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, TransientError
from storage.store import ObjectStore, StoredFile, describe_file

KEY = "transactions/month=2026-02/0123abcd-1.parquet"
CONTENT = bytes(range(256)) * 40
BOUND_S = 30.0  # the longest that a store which does not answer may hold anyone up, with a limit of one second a call


@pytest.fixture(params=["s3", "file"])
def placed(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Settings of an empty archive of each kind."""
    if request.param == "file":
        return settings.model_copy(update={"archive_url": f"file://{tmp_path / 'the archive'}"})
    return settings


@pytest.fixture
def store(placed: Settings) -> ObjectStore:
    return ObjectStore(placed)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one byte", "ten kilobytes"])
def test_what_was_put_is_what_is_fetched(store: ObjectStore, tmp_path: Path, content: bytes) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    store.put(source, KEY)
    assert store.fetch(KEY, target) == describe_file(source) == StoredFile.of(content)
    assert target.read_bytes() == content == store.read_bytes(KEY)


def test_an_object_of_several_parts_is_fetched_whole(store: ObjectStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(hashlib.shake_256(b"seed").digest(17 << 20))
    store.put(source, KEY)
    assert store.fetch(KEY, target) == describe_file(source)


def test_with_an_object_go_the_uploads_of_it_that_never_ended(settings: Settings) -> None:
    """A process that is killed in an upload of several parts leaves parts that no list of objects shows."""
    store = ObjectStore(settings)
    bucket, _, prefix = settings.archive_location.removeprefix("s3://").partition("/")
    other = f"{KEY}.other"
    for key in (KEY, KEY, other):
        begun = store._files.call_s3("create_multipart_upload", Bucket=bucket, Key=f"{prefix}/{key}")
        part = {"Bucket": bucket, "Key": f"{prefix}/{key}", "UploadId": begun["UploadId"], "PartNumber": 1}
        store._files.call_s3("upload_part", **part, Body=CONTENT)
    for _ in range(2):
        store.remove(KEY)
        left = store._files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)["Uploads"]
        assert [one["Key"] for one in left] == [f"{prefix}/{other}"]
    store.remove(other)
    assert "Uploads" not in store._files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)


def test_bytes_from_memory_are_stored_alike(store: ObjectStore, tmp_path: Path) -> None:
    store.put_bytes(CONTENT, KEY)
    assert store.fetch(KEY, tmp_path / "target") == StoredFile.of(CONTENT)


def test_an_object_is_made_once_and_never_overwritten(store: ObjectStore, tmp_path: Path) -> None:
    store.put_bytes(CONTENT, KEY)
    source = tmp_path / "source"
    source.write_bytes(b"short")
    puts: list[Callable[[], None]] = [lambda: store.put(source, KEY), lambda: store.put_bytes(b"short", KEY)]
    for put in puts:
        with pytest.raises(ConflictError, match=f"{KEY} is there already with other bytes"):
            put()
    assert store.read_bytes(KEY) == CONTENT


def test_the_same_bytes_put_again_are_no_conflict(store: ObjectStore, tmp_path: Path) -> None:
    """As after a put whose answer was lost."""
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    for _ in range(2):
        store.put(source, KEY)
        store.put_bytes(CONTENT, KEY)
    assert store.read_bytes(KEY) == CONTENT


def test_of_many_writers_in_a_folder_one_makes_the_object(tmp_path: Path, settings: Settings) -> None:
    store = ObjectStore(settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"}))

    def write(number: int) -> int | None:
        try:
            store.put_bytes(number.to_bytes(4, "big") * 10_000, KEY)
        except ConflictError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        (made,) = [number for number in pool.map(write, range(24)) if number is not None]
    assert store.read_bytes(KEY) == made.to_bytes(4, "big") * 10_000
    assert [path.name for path in (tmp_path / "archive").rglob("*") if path.is_file()] == [KEY.rpartition("/")[2]]


def test_a_part_that_a_killed_process_left_in_a_folder_is_no_object_and_goes(
    tmp_path: Path, settings: Settings
) -> None:
    store = ObjectStore(settings.model_copy(update={"archive_url": f"file://{tmp_path}"}))
    name = KEY.rpartition("/")[2]
    left = tmp_path / KEY.rpartition("/")[0] / f".{name}.0123abcd.partial"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert store.keys("transactions") == []
    assert not store.exists(KEY)
    store.put_bytes(CONTENT, KEY)
    assert store.keys("transactions") == [KEY]
    assert not left.exists()
    left.write_bytes(b"half")
    store.remove(KEY)
    assert not left.exists()


def test_the_one_object_that_is_replaced_is_replaced_as_a_whole(store: ObjectStore, tmp_path: Path) -> None:
    store.replace_bytes(CONTENT, KEY)
    store.replace_bytes(b"short", KEY)
    assert store.read_bytes(KEY) == b"short"
    assert store.fetch(KEY, tmp_path / "target") == StoredFile.of(b"short")


def test_a_folder_is_listed_with_what_lies_below_it_and_nothing_beside_it(store: ObjectStore) -> None:
    for key in ("a/b/1", "a/b/c/2", "a/b-c/3", "d"):
        store.put_bytes(b"x", key)
    assert store.keys("a/b") == ["a/b/1", "a/b/c/2"]
    assert store.keys("nothing") == []
    assert store.find_bytes("a/b/1") == b"x"
    assert store.find_bytes("a/b/2") is None


def test_a_local_file_of_the_same_name_is_written_anew(store: ObjectStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(CONTENT)
    store.put_bytes(b"short", KEY)
    store.fetch(KEY, target)
    assert target.read_bytes() == b"short"


def test_an_absent_object_is_an_error_that_names_its_key(store: ObjectStore, tmp_path: Path) -> None:
    store.put_bytes(b"x", KEY)  # the folder is there, the object is not
    for absent in (f"{KEY}x", "elsewhere/none"):
        for read in (store.read_bytes, lambda key: store.fetch(key, tmp_path / "target")):
            with pytest.raises(DataError, match=f"cannot read {absent}: it is not there"):
                read(absent)


def test_existence_is_asked_afresh_each_time(store: ObjectStore, placed: Settings) -> None:
    assert not store.exists(KEY)
    ObjectStore(placed).put_bytes(b"x", KEY)
    assert store.exists(KEY)
    ObjectStore(placed).remove(KEY)
    assert not store.exists(KEY)


def test_removing_again_is_no_error_and_removes_nothing_else(store: ObjectStore) -> None:
    store.put_bytes(b"x", KEY)
    store.put_bytes(b"y", f"{KEY}.manifest.json")
    store.remove(KEY)
    store.remove(KEY)
    assert not store.exists(KEY)
    assert store.read_bytes(f"{KEY}.manifest.json") == b"y"


def test_it_may_be_used_from_many_threads(store: ObjectStore, tmp_path: Path) -> None:
    def round_trip(number: int) -> bool:
        content = number.to_bytes(4, "big") * 1000
        store.put_bytes(content, f"{KEY}-{number}")
        return store.fetch(f"{KEY}-{number}", tmp_path / str(number)) == StoredFile.of(content)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(round_trip, range(12)))


def _each_call(settings: Settings, folder: Path) -> dict[str, Callable[[], object]]:
    store, source = ObjectStore(settings), folder / "source"
    source.write_bytes(CONTENT)
    return {
        "put": lambda: store.put(source, KEY),
        "put_bytes": lambda: store.put_bytes(CONTENT, KEY),
        "fetch": lambda: store.fetch(KEY, folder / "target"),
        "read_bytes": lambda: store.read_bytes(KEY),
        "exists": lambda: store.exists(KEY),
        "remove": lambda: store.remove(KEY),
    }


@pytest.mark.parametrize(
    "wrong", [{"s3_secret_access_key": SecretStr("w" * 40)}, {"s3_access_key_id": "AKIDWRONGWRONGWRONG"}], ids=str
)
def test_credentials_that_are_refused_are_a_setting_to_mend(
    settings: Settings, tmp_path: Path, wrong: dict[str, object]
) -> None:
    ObjectStore(settings).put_bytes(b"x", KEY)
    for call in _each_call(settings.model_copy(update=wrong), tmp_path).values():
        with pytest.raises(ConfigError, match="not allowed to") as caught:
            call()
        assert "wwww" not in str(caught.value)
    assert ObjectStore(settings).read_bytes(KEY) == b"x"


def test_a_bucket_that_is_missing_is_a_setting_to_mend(settings: Settings, tmp_path: Path) -> None:
    calls = _each_call(settings.model_copy(update={"archive_url": "s3://no-such-bucket/prefix"}), tmp_path)
    for name, call in calls.items():
        if name == "exists":
            assert call() is False
            continue
        with pytest.raises(ConfigError, match="TREASURY_ARCHIVE_URL"):
            call()


def test_a_folder_that_cannot_be_written_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ObjectStore(settings.model_copy(update={"archive_url": f"file://{tmp_path / 'file'}"}))
    with pytest.raises(TransientError, match=f"cannot write {KEY}"):
        store.put_bytes(b"x", KEY)


def test_a_store_that_refuses_connections_may_be_tried_again(settings: Settings, tmp_path: Path) -> None:
    away = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1", "store_timeout_s": 1.0})
    calls = list(_each_call(away, tmp_path).values())
    with ThreadPoolExecutor(len(calls)) as pool:  # each backs off for seconds: side by side they cost the longest one
        for call in [pool.submit(call) for call in calls]:
            with pytest.raises(TransientError, match="object store: cannot"):
                call.result(timeout=BOUND_S)


def test_a_store_that_accepts_and_never_answers_is_given_up_on(settings: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        mute = settings.model_copy(update={"s3_endpoint_url": address, "store_timeout_s": 0.3})
        calls = _each_call(mute, tmp_path)
        started = time.monotonic()
        with ThreadPoolExecutor(len(calls)) as pool:
            for call in [pool.submit(call) for call in calls.values()]:
                with pytest.raises(TransientError, match="object store: cannot"):
                    call.result(timeout=BOUND_S)
        assert time.monotonic() - started < BOUND_S


@given(st.binary(max_size=2000))
def test_the_description_of_a_file_is_that_of_its_bytes(content: bytes) -> None:
    described = StoredFile.of(content)
    assert (described.size_bytes, described.sha256) == (len(content), hashlib.sha256(content).digest())
