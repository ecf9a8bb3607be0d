"""The kinds of objects that an archived part of a month has.

Which columns of the catalogue name them is in the view `archive_objects` alone.
"""

from enum import StrEnum


class ObjectKind(StrEnum):
    """What an object of a month is. The values are those of the view `archive_objects`, in its order."""

    ROWS = "rows"
    TREE = "tree"
    LOOKUP = "lookup"
    PROOFS = "proofs"
    MANIFEST = "manifest"


EVERY_PART = (ObjectKind.ROWS, ObjectKind.TREE, ObjectKind.LOOKUP, ObjectKind.MANIFEST)
"""What each part has that goes cold."""

KEPT_PART = tuple(ObjectKind)
"""What a part has whose rows holds have kept: the proofs of these rows, too."""
