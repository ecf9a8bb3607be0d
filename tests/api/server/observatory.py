"""Mozilla's HTTP Observatory as a function of one answer.

Its scoring is published at https://github.com/mdn/mdn-http-observatory: `src/grader/charts.js` (what each finding is
worth, the grades, the score that bonuses need) and `src/analyzer/tests/*.js` (how a finding is made). Written anew from
those rules for what an API can show: the tests on redirection and certificates need a public host, and count as passed
behind a proxy that speaks TLS.
"""

import re
from collections.abc import Mapping

BASE, ENOUGH_FOR_BONUS = 100, 90
GRADES = {
    100: "A+",
    90: "A",
    85: "A-",
    80: "B+",
    70: "B",
    65: "B-",
    60: "C+",
    50: "C",
    45: "C-",
    40: "D+",
    30: "D",
    25: "D-",
}
_BROAD = {"ftp:", "http:", "https:", "*", "http://*", "http://*.*", "https://*", "https://*.*"}
_INLINE = {"'unsafe-inline'", "data:"}
_SIX_MONTHS_S = 15_768_000
_PRIVATE = {"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"}

Headers = Mapping[str, str]


def grade(headers: Headers, body: str = "") -> tuple[int, str]:
    """The score and the grade of an answer with ``headers`` (lower case) and ``body`` (HTML, when it is)."""
    worth = list(modifiers(headers, body).values())
    score = BASE + sum(points for points in worth if points < 0)
    if score >= ENOUGH_FOR_BONUS:
        score += sum(points for points in worth if points > 0)
    score = max(score, 0)
    return score, next((name for least, name in GRADES.items() if score >= least), "F")


def modifiers(headers: Headers, body: str = "") -> dict[str, int]:
    """What each test adds to the score or takes from it."""
    policy = directives(headers.get("content-security-policy", ""))
    return {
        "content-security-policy": _policy(policy),
        "cookies": -40 if "set-cookie" in headers else 0,  # the worst finding: there is to be none at all
        "cross-origin-resource-sharing": _sharing(headers),
        "cross-origin-resource-policy": _resource_policy(headers.get("cross-origin-resource-policy")),
        "referrer-policy": _referrer(headers.get("referrer-policy")),
        "strict-transport-security": _transport(headers.get("strict-transport-security")),
        "subresource-integrity": -50 if re.search(r"<script[^>]+src=.?(?:http:)?//", body) else 0,
        "x-content-type-options": 0 if headers.get("x-content-type-options", "").strip().lower() == "nosniff" else -5,
        "x-frame-options": _frames(headers.get("x-frame-options"), policy),
    }


def directives(policy: str) -> dict[str, set[str]]:
    """The directives of a Content-Security-Policy; the first of two counts."""
    found: dict[str, set[str]] = {}
    for part in policy.split(";"):
        name, *sources = part.split() or [""]
        if name:
            found.setdefault(name.lower(), {source.lower() for source in sources} or {"'none'"})
    return found


def _policy(policy: dict[str, set[str]]) -> int:
    if not policy:
        return -25
    anything = policy.get("default-src", {"*"})
    scripts, objects = policy.get("script-src", anything), policy.get("object-src", anything)
    styles = policy.get("style-src", anything)
    every = set().union(*policy.values())
    findings = (
        (bool(scripts & (_BROAD | _INLINE) or objects & _BROAD), -20),
        (any(source.startswith(("http:", "ftp:")) for source in every), -20),
        ("'unsafe-eval'" in scripts | styles, -10),
        (bool(styles & (_BROAD | _INLINE)), 0),
        (policy.get("default-src") == {"'none'"}, 10),
    )
    return next((points for found, points in findings if found), 5)


def _sharing(headers: Headers) -> int:
    return -50 if headers.get("access-control-allow-credentials") == "true" else 0


def _resource_policy(value: str | None) -> int:
    return {None: 0, "same-origin": 10, "same-site": 10, "cross-origin": 0}.get(value, -5)


def _referrer(value: str | None) -> int:
    return 0 if value is None else 5 if value.strip().lower() in _PRIVATE else -5


def _transport(value: str | None) -> int:
    age = re.search(r"(?:^|;)\s*max-age=\"?(\d+)", value or "", re.IGNORECASE)
    if age is None:
        return -20
    return 0 if int(age[1]) >= _SIX_MONTHS_S else -10


def _frames(value: str | None, policy: dict[str, set[str]]) -> int:
    if "frame-ancestors" in policy:
        return 5
    return 0 if value is not None and value.strip().lower() in {"deny", "sameorigin"} else -20
