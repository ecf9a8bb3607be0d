"""The format of Flash's statement, as `suppliers.definition` describes it."""

from typing import Final

from suppliers.definition import StatementFormat
from suppliers.flash import statement, writer
from suppliers.flash.returned import returned

FORMAT: Final = StatementFormat(
    statement.FILE_NAME,
    statement.parse,
    writer.write,
    frozenset({"product_code", "fee", "commission", "net", "account"}),
    failed="Failed",
    returned=returned,
)
