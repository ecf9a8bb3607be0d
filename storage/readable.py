"""Errors of the engine over archived objects: where the reason is a storage class, every such month is named."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import duckdb

from config import Settings
from ledger.errors import DeepTierError, TreasuryError
from storage.store import ObjectStore
from storage.unreadable import unreadable_text


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
        found = unreadable_keys(settings, keys)
        if found:
            raise DeepTierError(unreadable_text(found)) from error
        raise


def unreadable_keys(settings: Settings, keys: Iterable[str]) -> list[str]:
    """The objects that must be restored before they are read. A store that does not answer names none."""
    store, found = ObjectStore(settings), []
    for key in keys:
        try:
            if not store.is_readable(key):
                found.append(key)
        except TreasuryError:  # the error that the caller met says more
            return []
    return found
