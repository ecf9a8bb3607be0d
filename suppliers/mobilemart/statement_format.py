"""The format of MobileMart's statement, as `suppliers.definition` describes it."""

from typing import Final

from suppliers.definition import StatementFormat
from suppliers.mobilemart import statement, writer

FORMAT: Final = StatementFormat(
    statement.FILE_NAME,
    statement.parse,
    writer.write,
    frozenset({"vas_type", "account"}),
    failed="Binned",
    counts_lines=True,
)
