"""Where objects lie in the archive. Rows lie in a folder per table, as any engine expects; all else lies outside.

<table>/month=YYYY-MM/       rows, Parquet
_treasury/manifests/<table>/YYYY-MM/
_treasury/trees/<table>/YYYY-MM/   trees, proofs of held rows, lookups
_treasury/holds/             who placed and released legal holds
_treasury/deletions/         orders of deletions
_treasury/certificates/      what was deleted
_treasury/installation.json  the marker (`storage.marker`)
"""

OWN_FOLDER = "_treasury"
MANIFESTS = f"{OWN_FOLDER}/manifests"
TREES = f"{OWN_FOLDER}/trees"
HOLDS = f"{OWN_FOLDER}/holds"
ORDERS = f"{OWN_FOLDER}/deletions"
CERTIFICATES = f"{OWN_FOLDER}/certificates"
MANIFEST_SUFFIX = "manifest.json"
LOOKUP_SUFFIX = "lookup"


def data_folder(table: str, month: str) -> str:
    """The folder of a month's rows. ``month`` is YYYY-MM."""
    return f"{table}/month={month}"


def manifest_folder(table: str, month: str) -> str:
    """The folder of a month's manifests."""
    return f"{MANIFESTS}/{table}/{month}"


def tree_folder(table: str, month: str) -> str:
    """The folder of the roots of a month's tree."""
    return f"{TREES}/{table}/{month}"
