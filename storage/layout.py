"""Where objects lie in the archive. Rows lie in a folder per table, as any engine expects; all else lies outside.

    <table>/month=YYYY-MM/       rows, Parquet
    _treasury/manifests/<table>/YYYY-MM/
    _treasury/trees/<table>/YYYY-MM/   trees, proofs of held rows, lookups
    _treasury/holds/             who placed and released legal holds
    _treasury/deletions/         orders of deletions
    _treasury/returns/           who sent months back to warm
    _treasury/certificates/      what was deleted
    _treasury/canary/            what `treasury storage-check` tries the store with
    _treasury/installation.json  the marker

`storage.marker` describes the marker.
"""

import re

OWN_FOLDER = "_treasury"
MANIFESTS = f"{OWN_FOLDER}/manifests"
TREES = f"{OWN_FOLDER}/trees"
HOLDS = f"{OWN_FOLDER}/holds"
ORDERS = f"{OWN_FOLDER}/deletions"
RETURNS = f"{OWN_FOLDER}/returns"
CERTIFICATES = f"{OWN_FOLDER}/certificates"
CANARIES = f"{OWN_FOLDER}/canary"
MANIFEST_SUFFIX = "manifest.json"
LOOKUP_SUFFIX = "lookup"
_DATA_KEY = re.compile(r"([^/]+)/month=(\d{4}-(?:0[1-9]|1[0-2]))/")


def data_folder(table: str, month: str) -> str:
    """The folder of a month's rows. ``month`` is YYYY-MM."""
    return f"{table}/month={month}"


def manifest_folder(table: str, month: str) -> str:
    """The folder of a month's manifests."""
    return f"{MANIFESTS}/{table}/{month}"


def tree_folder(table: str, month: str) -> str:
    """The folder of the roots of a month's tree."""
    return f"{TREES}/{table}/{month}"


def month_of_key(key: str) -> tuple[str, str] | None:
    """The table and the month (YYYY-MM) of an object with rows; None for any other key."""
    match = _DATA_KEY.match(key)
    return None if match is None else (match[1], match[2])
