"""The format of Voucherly's statement."""

from typing import Final

from suppliers.definition import StatementFormat

from . import statement

FORMAT: Final = StatementFormat(
    statement.FILE_NAME,
    statement.parse,
    statement.write,
    frozenset({"product_code", "commission", "net"}),
    failed="refused",
)
