"""Watching requests for what is suspicious. Everything found becomes an alert; by itself it blocks nothing.

Only two findings count against an address (`api.abuse.attackers`): an attack that is written into a request, and
attempts with many different invalid keys. An application with an expired key, invalid rows or unknown ids raises alerts
however often it tries, and is never refused for it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.abuse import injection
from api.abuse.alert_writer import AlertWriter
from api.abuse.attackers import ATTACK, Attackers, HeldAddress, Stage
from api.abuse.injection import Sign
from api.abuse.tallies import SharedTallies, Tally
from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from config.limits import WatchSettings as Configured
from config.limits import parse_rate
from ledger.errors import TreasuryError
from tasks.alerting.request_rules import RULES, RequestRule
from tasks.alerting.store import Alert

EVERY_S = 1.0
QUIET_CHECK_S = 600.0
_LOG = logging.getLogger(LOGGER)


_BY_STATUS = {
    401: RequestRule.UNAUTHORIZED,
    403: RequestRule.FORBIDDEN,
    422: RequestRule.INVALID,
    429: RequestRule.LIMITED,
}
_OF_ADDRESS = frozenset({401})
_INJECTION_WINDOW_S = 60


class Sender(NamedTuple):
    """The sender of a request, as an alert names it: the request id finds the line of the access log."""

    address: str
    request_id: str


class Watch:
    """The rules over the requests of one process."""

    def __init__(
        self, configured: Configured, tallies: SharedTallies, attackers: Attackers, alerts: AlertWriter
    ) -> None:
        self.enabled = configured.enabled
        self._tallies = tallies
        self._attackers = attackers
        self._alerts = alerts
        self._thresholds = {RequestRule.INJECTION: (1, _INJECTION_WINDOW_S)} | {
            rule: parse_rate(getattr(configured, description.setting))
            for rule, description in RULES.items()
            if description.setting
        }

    def arrived(self, path: bytes, query: bytes, headers: Any, sender: Sender) -> None:
        """Look at a request before anybody else does. ``path`` and ``query`` are as they came over the wire."""
        sign = injection.in_request(path, query, headers)
        if sign is not None:
            self._signed(sign, sender)
            if sign.attack:
                self._report_held(self._attackers.attacked(sender.address))

    def refused_field(self, name: str, sender: Sender) -> None:
        """Examine the name of a field or parameter that was refused. It may raise an alert, and blocks no address."""
        sign = injection.in_text(name, "field name") if self.enabled else None
        if sign is not None:
            self._signed(sign, sender)

    def refused_key(self, key_id: str, sender: Sender) -> None:
        """Count a key that was tried in vain; each further one from the threshold on is held against the address."""
        if not self.enabled or not key_id:
            return
        tally = self._count(RequestRule.DIFFERENT_KEYS, sender.address, sender.request_id, key_id)
        if tally.counted and tally.total >= self._thresholds[RequestRule.DIFFERENT_KEYS][0]:
            self._report_held(self._attackers.attacked(sender.address))

    def answered(self, status: int, key_id: str, path: str, sender: Sender) -> None:
        """Count an answer by its status: by the key, else by the address."""
        who = f"key {key_id}" if key_id and status not in _OF_ADDRESS else sender.address
        if status == 404:
            self._count(RequestRule.UNKNOWN_IDS, who, sender.request_id, path)
        elif status in _BY_STATUS:
            self._count(_BY_STATUS[status], who, sender.request_id)

    async def run(self) -> None:
        """Once a second: share counts and addresses with the other processes, write the alerts. Ends when cancelled.

        Apart from each other: a PostgreSQL that does not answer must not keep an attacker in.
        """
        await asyncio.gather(
            _every(EVERY_S, self._share, self._attackers.exchange),
            _every(EVERY_S, self._alerts.flush),
            _every(QUIET_CHECK_S, self._alerts.resolve_quiet),
        )

    async def flush(self) -> None:
        """Write what is still queued, on the way out."""
        try:
            while await self._alerts.flush():
                pass
        except TreasuryError as error:
            _LOG.warning("alerts were not written", extra={"fields": describe(error)})

    async def _share(self) -> None:
        """Exchange the counts. What passes a threshold only together with the other processes is found here."""
        for (rule, subject, _), tally in await self._tallies.exchange():
            if rule == ATTACK:
                self._report_held(self._attackers.judge(subject, tally.total))
            else:
                self._report(RequestRule(rule), subject, tally, {})

    def _signed(self, sign: Sign, sender: Sender) -> None:
        evidence = {"pattern": sign.pattern, "place": sign.place, "found": sign.excerpt}
        tally = self._tallies.add(RequestRule.INJECTION, sender.address, self._thresholds[RequestRule.INJECTION][1])
        self._report(RequestRule.INJECTION, sender.address, tally, {**evidence, "request_id": sender.request_id})

    def _count(self, rule: RequestRule, subject: str, request_id: str, value: str | None = None) -> Tally:
        tally = self._tallies.add(rule, subject, self._thresholds[rule][1], value)
        self._report(rule, subject, tally, {"request_id": request_id})
        return tally

    def _report(self, rule: RequestRule, subject: str, tally: Tally, evidence: Mapping[str, Any]) -> None:
        """One alert of a rule and subject in a window is enough."""
        threshold, window_s = self._thresholds[rule]
        if tally.total >= threshold and not tally.reported:
            tally.reported = True
            self._raise(rule, subject, {**evidence, "count": tally.total, "window_s": window_s})

    def _report_held(self, held: HeldAddress | None) -> None:
        if held is not None:
            rule = RequestRule.REFUSED if held.stage is Stage.REFUSED else RequestRule.SLOWED
            self._raise(
                rule, held.address, {"until": datetime.fromtimestamp(held.ends_s, UTC).isoformat(timespec="seconds")}
            )

    def _raise(self, rule: RequestRule, subject: str, evidence: dict[str, Any]) -> None:
        description = RULES[rule]
        alert = Alert(rule, subject, description.severity, description.title, description.what_to_do, evidence)
        self._alerts.put(alert)


async def _every(pause_s: float, *parts: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(pause_s)
        for part in parts:
            try:
                await part()
            except TreasuryError as error:
                _LOG.warning("the watch could not share its counts", extra={"fields": describe(error)})
            except Exception as error:  # noqa: BLE001  # a defect here must not end the watch; it is logged
                _LOG.error("the watch failed", extra={"fields": describe(error)})
