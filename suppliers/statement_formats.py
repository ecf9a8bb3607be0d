"""Each supplier's statement: what its files are called and what reads them. A fourth supplier is one more entry."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from config.suppliers import Suppliers
from suppliers.flash import statement as flash
from suppliers.mobilemart import statement as mobilemart
from suppliers.peach import statement as peach
from suppliers.statement import ParsedStatement


@dataclass(frozen=True, slots=True)
class StatementFormat:
    """``file_name`` matches the whole name of a file; ``parse`` reads its content and raises StatementError."""

    file_name: re.Pattern[str]
    parse: Callable[[bytes, str, Suppliers], ParsedStatement]


FORMATS: Final[Mapping[str, StatementFormat]] = MappingProxyType(
    {
        flash.NAME: StatementFormat(
            flash.FILE_NAME, lambda content, name, settings: flash.parse(content, name, settings.flash)
        ),
        mobilemart.NAME: StatementFormat(
            mobilemart.FILE_NAME, lambda content, name, settings: mobilemart.parse(content, name, settings.mobilemart)
        ),
        peach.NAME: StatementFormat(
            peach.FILE_NAME, lambda content, name, settings: peach.parse(content, name, settings.peach)
        ),
    }
)
