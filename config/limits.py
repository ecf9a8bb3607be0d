"""The settings of the rate limits and of the watch over requests: nested parts of `Settings`."""

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

MOST_A_WINDOW = 1_000_000_000
_RATE = re.compile(r"([0-9]{1,10})/(second|minute|hour|day)\Z")
_WINDOWS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
# An address in these is most often a proxy or a service of one's own: refusing it would refuse everybody behind it.
OWN_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
)


def parse_rate(text: str) -> tuple[int, int]:
    """The amount, and the window in seconds, of ``<amount>/second``, minute, hour or day.

    Raises ValueError for any other text, and for an amount that is not between 1 and `MOST_A_WINDOW`.
    """
    match = _RATE.match(text)
    if match is None or not 1 <= int(match[1]) <= MOST_A_WINDOW:
        raise ValueError(f"must be like 600/minute (second, minute, hour, day), the amount from 1 to {MOST_A_WINDOW}")
    return int(match[1]), _WINDOWS_S[match[2]]


def is_rate(text: str) -> bool:
    """Return whether `parse_rate` accepts ``text``."""
    try:
        parse_rate(text)
    except ValueError:
        return False
    return True


def _rate(text: str) -> str:
    parse_rate(text)
    return text


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(f"{value!r} is not an address or a network like 10.0.0.0/8") from None
    return values


Rate = Annotated[str, AfterValidator(_rate)]
# From a variable: separated by commas.
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
ForwardedHeader = Literal["x-forwarded-for", "forwarded"]


class RateLimits(BaseModel):
    """The limits of each policy for one API key, or one address, in a window of the clock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="False: nothing is counted and no answer is 429 by a policy")
    general: Rate = Field("1200/minute", description="Operations of no other policy; by key, else by address")
    auth: Rate = Field("60/minute", description="Failed authentications; by address and key id, see docs/limits.md")
    transactions: Rate = Field("300000/minute", description="Requests to /api/v1/transactions, by key")
    vas: Rate = Field("300000/minute", description="Requests to /api/v1/vas-transactions, by key")
    operations: Rate = Field("300/minute", description="Monitoring, cache, reconciliation and hold operations, by key")
    ddos: Rate = Field("600000/minute", description="All requests of one address, before authentication")
    redis_timeout_ms: int = Field(250, ge=10, le=5000, description="How long Redis may take before it counts as away")


class WatchSettings(BaseModel):
    """The rules over requests, and the treatment of an address that attacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="False: requests are not watched and no address is slowed or refused")
    unauthorized: Rate = Field("30/minute", description="Answers 401 of one address")
    forbidden: Rate = Field("30/minute", description="Answers 403 of one key")
    invalid: Rate = Field("600/minute", description="Answers 422 of one key")
    limited: Rate = Field("600/minute", description="Answers 429 of one key, else of one address")
    unknown_ids: Rate = Field("60/minute", description="Different ids answered 404 to one key, else to one address")
    different_keys: Rate = Field("10/minute", description="Different keys refused at one address: it guesses")
    blocking: bool = Field(True, description="False: an attack raises an alert and blocks no address")
    attack_window_s: int = Field(600, ge=10, le=86_400, description="How long an attack is held against an address")
    slow_after: int = Field(5, ge=1, le=100_000, description="Attacks in that time from which it is slowed")
    slow_ms: int = Field(1000, ge=1, le=30_000, description="How long each of its requests is held up")
    slow_s: int = Field(300, ge=1, le=86_400, description="How long it is slowed")
    refuse_after: int = Field(20, ge=1, le=100_000, description="Attacks in that time from which it is refused")
    refuse_s: int = Field(900, ge=1, le=86_400, description="How long it is refused")
    never_refused: Networks = Field(OWN_NETWORKS, description="Addresses that are never slowed or refused")
