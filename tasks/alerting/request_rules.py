"""The rules over requests to the API, which `api.abuse.watch` evaluates, and what their alerts say."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from config import Settings
from ledger.alerts import AlertRule, Severity


class RequestRule(StrEnum):
    """The rules over one request, or over many of one sender."""

    INJECTION = "request-injection"
    DIFFERENT_KEYS = "request-different-keys"
    UNAUTHORIZED = "request-unauthorized"
    FORBIDDEN = "request-forbidden"
    INVALID = "request-invalid"
    LIMITED = "request-limited"
    UNKNOWN_IDS = "request-unknown-ids"
    SLOWED = "address-slowed"
    REFUSED = "address-refused"


@dataclass(frozen=True, slots=True)
class Description:
    """The texts of a rule's alert. ``setting`` names its threshold in the settings of the watch, if it has one."""

    title: str
    what_to_do: str
    setting: str = ""
    severity: Severity = Severity.WARNING


RULES: Mapping[RequestRule, Description] = {
    RequestRule.INJECTION: Description(
        "A request contains text that is typical of attacks",
        "Look at the sender in the access log. Nothing was executed: such text is refused or is plain data here.",
    ),
    RequestRule.DIFFERENT_KEYS: Description(
        "One address tries many API keys in vain",
        "Find out who is at the address. If it is a client of yours, its configuration holds keys that do not exist.",
        "different_keys",
    ),
    RequestRule.UNAUTHORIZED: Description(
        "Many requests of one address have no valid key",
        "A key has expired or was revoked and its application does not know; or somebody tries. Ask the client.",
        "unauthorized",
    ),
    RequestRule.FORBIDDEN: Description(
        "A key asks many times for what its scopes do not allow",
        "Ask the client what it needs, or revoke the key if it should not be asking: `treasury key revoke`.",
        "forbidden",
    ),
    RequestRule.INVALID: Description(
        "Many requests of one sender break a rule",
        "Most likely a defect in the client's application: the answers name the field and the rule. Inform the client.",
        "invalid",
    ),
    RequestRule.LIMITED: Description(
        "One sender goes on after it was asked to slow down",
        "Ask the client to honour Retry-After, or give its key a higher limit.",
        "limited",
    ),
    RequestRule.UNKNOWN_IDS: Description(
        "One sender asks for many ids that do not exist",
        "It may be trying out ids. If a client mixes up systems, inform it; else revoke the key.",
        "unknown_ids",
    ),
    RequestRule.SLOWED: Description(
        "An address that attacks is slowed down",
        "Nothing; it ends by itself. `treasury limits show` lists it, `treasury limits lift` ends it at once.",
    ),
    RequestRule.REFUSED: Description(
        "An address that attacks is refused for a while",
        "If it belongs to a client, find out what sent this there. `treasury limits lift` lets it in again at once.",
    ),
}


def request_rules(settings: Settings) -> list[AlertRule]:
    """The rules as they are listed, with the thresholds that the settings give them."""
    return [
        AlertRule(rule, description.title, description.severity, _threshold(settings, description))
        for rule, description in RULES.items()
    ]


def _threshold(settings: Settings, description: Description) -> str:
    return str(getattr(settings.watch, description.setting)) if description.setting else "the first time"
