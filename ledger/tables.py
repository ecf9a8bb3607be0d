"""A table that is kept in tiers, described once. `transactions` and `vas_transactions` are two values of it.

A third table is a third value, written in the settings file; no code changes. Its columns are not repeated here:
PostgreSQL's catalogue has them (`sql.catalog`), and each archived month carries its own in its manifest.
"""

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.months import Month
from ledger.policy import TierPolicy

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


class TieredTable(BaseModel):
    """Name, time column, key, money columns, statuses and policy of one table, and where its months live."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The table's public name: the view over all tiers and the archive's key prefix")
    time_column: str = Field("created_at", description="timestamptz column that the partitions are made by")
    key_column: str = Field("id", description="uuid column; unique together with the time column")
    key_is_uuid7: bool = Field(True, description="The key is a UUIDv7 of the time column, so it contains the month")
    money_columns: tuple[str, ...] = Field(("amount", "fee"), description="numeric columns that are summed")
    currency_column: str | None = Field("currency", description="Sums are taken per value of this column")
    type_column: str | None = Field(None, description="Totals of a group of archived rows are taken per value of it")
    status_column: str | None = Field("status", description="None: rows of this table are always finished")
    terminal_statuses: frozenset[str] = Field(
        frozenset({"completed", "failed", "cancelled", "reversed"}), description="Statuses that never change again"
    )
    cold_sort: tuple[str, ...] = Field(("wallet_id", "created_at"), description="Order of the rows in Parquet")
    bloom_columns: tuple[str, ...] = Field(("id", "reference"), description="Columns with a Parquet bloom filter")
    lookup_columns: tuple[str, ...] = Field(
        ("user_id",),
        description="Further columns that archived rows are looked for by: each month has a filter",
    )
    warm_indexes: frozenset[str] = Field(
        frozenset({"wallet_created", "user_created"}), description="Suffixes of the indexes that warm keeps"
    )
    policy: TierPolicy = Field(default_factory=TierPolicy)

    @model_validator(mode="after")
    def _names_are_plain(self) -> Self:
        for name in (self.name, self.time_column, self.key_column, *self.money_columns, *self.cold_sort):
            if not _NAME.match(name):
                raise ValueError(f"{name!r} must be lower-case letters, digits and underscores, at most 40")
        return self

    @property
    def hot_parent(self) -> str:
        """The partitioned table that applications write to."""
        return f"{self.name}_partitioned"

    @property
    def warm_parent(self) -> str:
        """The partitioned table that holds the months which left hot."""
        return f"{self.name}_archive_warm"

    @property
    def cold_view(self) -> str:
        """The name of the archived months alone in the auditor's SQL."""
        return f"{self.name}_archive_cold"

    @property
    def totals_views(self) -> tuple[str, str]:
        """The names of the daily totals in the auditor's SQL: of UTC days, and of Johannesburg days."""
        return f"{self.name}_daily_totals", f"{self.name}_daily_totals_johannesburg"

    @property
    def views(self) -> tuple[str, ...]:
        """The names of all views of the table in the auditor's SQL."""
        return self.name, self.cold_view, *self.totals_views

    @property
    def cold_order(self) -> tuple[str, ...]:
        """The columns that archived rows are sorted by: the configured ones, then the key."""
        return tuple(dict.fromkeys((*self.cold_sort, self.key_column)))

    @property
    def group_column(self) -> str | None:
        """The column whose equal values lie together in an archived file; None where it is the key or the time."""
        first = self.cold_order[0]
        return None if first in (self.key_column, self.time_column) else first

    @property
    def looked_up_by(self) -> frozenset[str]:
        """The columns that rows are looked for by: the key, those of the order, and those with a filter."""
        return frozenset((self.key_column, *self.cold_sort, *self.bloom_columns, *self.lookup_columns))

    @property
    def kind_columns(self) -> tuple[str | None, str | None, str | None]:
        """What totals are taken by: the columns of currency, type and status, None for one that the table has not."""
        return self.currency_column, self.type_column, self.status_column

    def partition(self, month: Month) -> str:
        """The name that this project gives to the partition of ``month``. Only the catalogue's bounds are trusted."""
        return f"{self.name}_{month.year:04d}_{month.month:02d}"


TRANSACTIONS = TieredTable(name="transactions", type_column="type")
VAS_TRANSACTIONS = TieredTable(
    name="vas_transactions",
    type_column="type",
    money_columns=("amount", "fee", "commission"),
    bloom_columns=("id", "reference", "supplier_transaction_id"),
)
BUILT_IN = (TRANSACTIONS, VAS_TRANSACTIONS)
