"""Errors of the engine over archived objects: where the reason is a storage class, every such month is named."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import duckdb

from config import Settings
from ledger.errors import DeepTierError, TreasuryError
from storage.store import ObjectStore
from storage.unreadable import unreadable_text

_REQUESTS_AT_ONCE = 16


@contextmanager
def naming_unreadable(settings: Settings, keys: Iterable[str]) -> Iterator[None]:
    """Where the block fails and objects of ``keys`` must be restored first, raise DeepTierError naming all of them.

    Any other error goes on as it is. The store is asked only after an error.
    """
    try:
        yield
    except DeepTierError:
        raise
    except (duckdb.Error, TreasuryError) as error:
        unreadable = unreadable_keys(settings, keys)
        if unreadable:
            raise DeepTierError(unreadable_text(unreadable)) from error
        raise


def unreadable_keys(settings: Settings, keys: Iterable[str]) -> list[str]:
    """The objects that must be restored before they are read, asked for side by side. A store that does not answer
    names none.
    """
    asked = list(keys)
    store = ObjectStore(settings)
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE, "readable") as threads:
        try:
            answers = list(threads.map(store.is_readable, asked))
        except TreasuryError:  # the error that the caller met says more
            threads.shutdown(wait=False, cancel_futures=True)
            return []
    return [key for key, is_readable in zip(asked, answers, strict=True) if not is_readable]
