"""The settings of prices: what a gigabyte in each tier and a request to the store cost."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Price = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=16, decimal_places=9)]


class PriceSettings(BaseModel):
    """Prices of one month, per gigabyte of 10^9 bytes, and per 1,000 requests to the object store.

    The defaults are list prices in US dollars in the region us-east-1: Amazon RDS for PostgreSQL (gp3, one zone) and
    Amazon S3 (Standard). The deep tier is Glacier Deep Archive. They leave out backups, replicas and traffic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="Currency of the prices")
    hot_gb: _Price = Field(Decimal("0.115"), description="A gigabyte of hot months in PostgreSQL")
    warm_gb: _Price = Field(Decimal("0.115"), description="A gigabyte of warm months in PostgreSQL")
    cold_gb: _Price = Field(Decimal("0.023"), description="A gigabyte of archived objects")
    deep_gb: _Price = Field(Decimal("0.00099"), description="A gigabyte of objects in the deep storage class")
    thousand_writes: _Price = Field(Decimal("0.005"), description="1,000 writes of objects")
    thousand_reads: _Price = Field(Decimal("0.0004"), description="1,000 reads of objects")
