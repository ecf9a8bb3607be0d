"""The clock of the object store, by the header Date of its answers: a third one beside PostgreSQL's and this one."""

import time
from email.utils import parsedate_to_datetime
from typing import Any

from storage.store import ObjectStore
from storage.store_errors import translated


def store_ahead_s(store: ObjectStore, key: str) -> float | None:
    """By how many seconds the store's clock is ahead of this machine's, at least; negative: behind.

    ``key`` is an object that is there. None in a folder, and where answers have no Date. The store answers at some
    moment of the request, and its Date has whole seconds. What these two may explain is not counted as a difference.
    """
    if store.is_folder:
        return None
    bucket, path = store.place(key)
    before_s = time.time()
    with translated(f"look at {key}"):
        answer: Any = store.call("head_object", Bucket=bucket, Key=path)
    after_s = time.time()
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not said:
        return None
    earliest_s = parsedate_to_datetime(said).timestamp()
    return max(0.0, earliest_s - after_s) or min(0.0, earliest_s + 1 - before_s)
