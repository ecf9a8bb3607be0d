"""The settings of the response cache: `TREASURY_CACHE__...`. What they mean together: docs/caching.md."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CacheSettings(BaseModel):
    """The settings of the cache: how long answers of the API are kept, and where. ``stale_s`` bounds how far they may
    lag behind a COMMIT of another process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="False: every read asks PostgreSQL or the archive")
    final_row_ttl_s: float = Field(600, ge=0, le=86_400, description="How long a row in a terminal status is kept")
    archived_row_ttl_s: float = Field(86_400, ge=0, le=604_800, description="How long a row of a cold month is kept")
    routes: dict[str, float] = Field(
        default_factory=dict, description="Per operation (its name in /openapi.json): most seconds; 0 keeps nothing"
    )
    local_bytes: int = Field(64 << 20, ge=1 << 20, description="Memory of one process for its own layer")
    stale_s: float = Field(
        2, ge=0.2, le=10, description="The bound: how far an answer may lag behind a COMMIT, so how long it is kept"
    )
    redis_timeout_ms: int = Field(100, ge=5, le=1000, description="How long one question to Redis may take")
    commit_wait_ms: int = Field(50, ge=1, le=1000, description="How long a stored request waits for Redis to forget")

    @model_validator(mode="after")
    def _bound_can_be_kept(self) -> Self:
        if self.redis_timeout_ms / 1000 > self.stale_s / 8:
            raise ValueError("redis_timeout_ms must be at most an eighth of stale_s")
        return self
