"""The settings of the dashboard's sessions: a nested part of `Settings`."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field


class DashboardSettings(BaseModel):
    """How long a session of the dashboard lasts, and how long it is listed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_minutes: int = Field(720, ge=5, le=720, description="Minutes after which a session ends in any case")
    idle_minutes: int = Field(30, ge=1, le=720, description="Minutes without use after which a session ends")
    keep_days: int = Field(30, ge=1, le=3650, description="Days for which a session that has ended is listed")

    @property
    def life(self) -> timedelta:
        """How long a session lasts at most."""
        return timedelta(minutes=self.session_minutes)

    @property
    def idle(self) -> timedelta:
        """How long a session lasts without use."""
        return timedelta(minutes=self.idle_minutes)
