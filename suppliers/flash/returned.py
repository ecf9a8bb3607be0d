"""The file that Flash asks back: our transactions of the day in Flash's columns and words."""

import pyarrow as pa
import pyarrow.compute as pc

from ledger.statements import ComparedStatus
from suppliers.statement_text import local_time

_STATES = {
    ComparedStatus.COMPLETED: "Success",
    ComparedStatus.PENDING: "Pending",
    ComparedStatus.FAILED: "Failed",
    ComparedStatus.REVERSED: "Reversed",
}


def returned(rows: pa.RecordBatch) -> pa.RecordBatch:
    """``rows`` of ours as Flash wants them. For a machine: texts are as we hold them."""
    known = pa.array([str(status) for status in _STATES], pa.string())
    states = pa.array(list(_STATES.values()), pa.string()).take(pc.index_in(rows["status"], known))
    return pa.RecordBatch.from_pydict(
        {
            "Date": local_time(rows["occurred_at"], "%Y/%m/%d %H:%M"),
            "Product_id": rows["product_code"],
            "Product_description": rows["product_name"],
            "Amount": rows["amount"],
            "Partner_transaction_reference": rows["reference"],
            "Flash_transactionID": rows["supplier_transaction_id"],
            "Transaction_state": states,
        }
    )
