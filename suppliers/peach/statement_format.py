"""The format of Peach's statement, as `suppliers.definition` describes it."""

from typing import Final

from suppliers.definition import StatementFormat
from suppliers.peach import statement, writer

FORMAT: Final = StatementFormat(
    statement.FILE_NAME,
    statement.parse,
    writer.write,
    frozenset({"payout_reference"}),
    failed="FAILED",
    answer_name=statement.file_name,
)
