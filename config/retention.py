"""The settings of retention: the legal minimum, approvals of deletion, and the texts of certificates."""

from pydantic import BaseModel, ConfigDict, Field

# docs/deletion.md explains each of them.
LEGAL_SOURCE = (
    "South Africa: Companies Act 71 of 2008 s24 (7 years); Financial Intelligence Centre Act 38 of 2001 s22A, s23 (5 "
    "years from the end of the relationship, the transaction or the report); Tax Administration Act 28 of 2011 s29 (5 "
    "years)"
)
LEGAL_BASIS = (
    "Protection of Personal Information Act 4 of 2013 s14: records are kept no longer than the purpose or the law needs"
)


class RetentionSettings(BaseModel):
    """The rules of deletion. Ages are in whole months since a month ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    legal_minimum_months: int = Field(84, ge=1, le=1200, description="No policy may keep rows for less")
    legal_source: str = Field(LEGAL_SOURCE, min_length=1, max_length=1000, description="The law that says so")
    legal_basis: str = Field(LEGAL_BASIS, min_length=1, max_length=1000, description="Why rows are deleted after it")
    controller: str = Field("", max_length=200, description="Who is responsible for the data; on certificates")
    approvals: int = Field(2, ge=1, le=5, description="Different people who must approve a deletion")
    prefect_approvals: bool = Field(True, description="Approvals in the Prefect UI count; its users share one login")
    grace_days: int = Field(14, ge=0, le=365, description="Days between the last approval and the deletion")
    backup_days: int = Field(35, ge=0, le=3650, description="Days for which backups may still have deleted rows")
    approval_wait_hours: float = Field(10.0, ge=0, le=168, description="How long a scheduled run waits for approvals")
