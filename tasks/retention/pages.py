"""A certificate as a page for people: one HTML file without any request to elsewhere, made to be printed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ledger.counts import counted

STYLE = """\
body { font: 11pt/1.4 Georgia, serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin: 1.4rem 0 .3rem; border-bottom: 1px solid #999; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .15rem .5rem .15rem 0; overflow-wrap: anywhere; }
th { font-weight: normal; color: #555; width: 13rem; }
.list th { width: auto; border-bottom: 1px solid #ccc; }
code { font: .85em/1.3 ui-monospace, monospace; overflow-wrap: anywhere; }
@media (max-width: 30rem) { th { width: 6rem; } }
@page { size: A4; margin: 18mm; }
@media print { body { margin: 0; max-width: none; } h2, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def certificate_page(content: bytes) -> bytes:
    """The page of a certificate, from its canonical JSON. The same certificate makes the same bytes."""
    certificate = json.loads(content)
    parts = [
        f"<h1>Certificate of deletion {_text(certificate['certificate'])}</h1>",
        f"<p>{_sentence(certificate)}</p>",
        _section("What was deleted", _facts(certificate)),
        _section("Why", _rule(certificate)),
        _section("Who", _people(certificate)),
        _section("Holds", _holds(certificate)),
        _heading("Parts"),
        _list(("part", "rows", "sums", "root", "entry of the log"), map(_part, certificate["parts"])),
        _heading("Objects"),
        _list(
            ("object", "bytes", "versions", "removed (UTC)", "found absent (UTC)"), map(_object, certificate["objects"])
        ),
        _section(
            "What this certificate does not cover", [("not covered", text) for text in certificate["not_covered"]]
        ),
        _section("How to check it", _proof(certificate)),
    ]
    title = f"Certificate of deletion {_text(certificate['certificate'])}"
    width = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{width}<title>{title}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'.encode()


def _sentence(certificate: Mapping[str, Any]) -> str:
    kept = sum(part["rows"] for part in certificate["kept"])
    rows = sum(part["rows"] for part in certificate["parts"]) - kept
    more = f" {counted(kept, 'row stays', 'rows stay')} because of holds." if kept else ""
    place, removed_at = f"{certificate['table']}, {certificate['month']}", _time(certificate["removed_at"])
    what = f"{counted(rows, 'row')} of {place}: deleted on {removed_at} UTC."
    return _text(what + more)


def _facts(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("controller", certificate["controller"] or "not named in the settings"),
        ("installation", certificate["installation"]),
        ("archive", certificate["archive"]),
        ("table, month", f"{certificate['table']}, {certificate['month']}"),
        ("deletion began", _time(certificate["begun_at"])),
        ("last object removed", _time(certificate["removed_at"])),
        ("what remains", certificate["remains"]),
        ("backups may hold it until", certificate["backups_until"]),
        ("dropped from", "; ".join(certificate["dropped_from"])),
        ("program", certificate["program"]),
    ]


def _rule(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    rule = certificate["rule"]
    return [
        ("policy", f"{rule['retention_months']} months after the month ended: due on {rule['due_on']}"),
        ("policy applied at", rule["as_of"]),
        ("legal minimum", f"{rule['legal_minimum_months']} months"),
        ("source", rule["legal_source"]),
        ("legal basis", rule["legal_basis"]),
    ]


def _people(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    request = certificate["request"]
    people = [("requested by", request["requested"]), *(("approved by", each) for each in request["approved"])]
    shown = [
        (role, f"{each['actor']} ({each['account']}), {_time(each['at'])}: {each['reason']}") for role, each in people
    ]
    grace = f"{request['grace_days']} days, until {_time(request['due_at'])}"
    return [*shown, ("grace period", grace), ("plan approved", request["plan_sha256"])]


def _holds(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    holds, kept = certificate["holds"], certificate["kept"]
    log = f"entry {certificate['log']['begun_entry']} of the log, of {certificate['log']['size']} entries"
    rows = [(f"part {each['part']}", f"{each['rows']} rows stay, by {', '.join(each['holds'])}") for each in kept]
    return [
        ("on the whole month", ", ".join(holds["on_whole_month"]) or "none"),
        ("on rows of it", ", ".join(holds["on_rows"]) or "none"),
        ("looked at", f"{_time(holds['looked_at'])}; {log}"),
        *rows,
    ]


def _part(part: Mapping[str, Any]) -> tuple[str, ...]:
    money = (f"{value} {currency} ({name})" for currency, sums in part["sums"].items() for name, value in sums.items())
    return str(part["part"]), str(part["rows"]), "; ".join(money), part["root"], str(part["log_entry"])


def _object(removed: Mapping[str, Any]) -> tuple[str, ...]:
    versions = "; ".join(map(_version, removed["versions"])) or "none was there"
    name = f"{removed['key']} ({removed['kind']}, SHA-256 {removed['sha256'] or 'not recorded'})"
    return name, str(removed["size_bytes"] or ""), versions, _time(removed["removed_at"]), _time(removed["proved_at"])


def _version(version: Mapping[str, Any]) -> str:
    mode = f" ({version['lock_mode']})" if version["lock_mode"] else ""
    lock = f", locked{mode} until {_time(version['locked_until'])}" if version["locked_until"] else ""
    lock += ", under a legal hold until its deletion" if version["legal_hold"] else ""
    kind = "delete marker" if version["is_marker"] else f"{version['size_bytes']} bytes"
    name = version["version"] or "without an id"
    stored = f", {version['storage_class']}" if version["storage_class"] else ""
    return f"{name}: {kind}{stored}{lock}"


def _proof(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    log = certificate["log"]
    return [
        ("log", log["origin"]),
        ("root", f"{log['root']} of {log['size']} entries"),
        ("command", f"treasury certificate verify {certificate['certificate']}"),
        ("signature", "the SHA-256 of the JSON beside this page is in the event deleted of the log"),
    ]


def _section(title: str, facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_value(value)}</td></tr>" for name, value in facts)
    return f"{_heading(title)}<table>{rows}</table>"


def _heading(title: str) -> str:
    return f"<h2>{_text(title)}</h2>"


def _list(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_value(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="list"><tr>{head}</tr>{body}</table>'


def _value(text: str) -> str:
    """A text; what has no space, such as a hash or a key, in the type of code."""
    return f"<code>{_text(text)}</code>" if len(text) > 30 and " " not in text else _text(text)


def _time(text: str | None) -> str:
    return "" if text is None else text[:19].replace("T", " ")


def _text(text: str) -> str:
    return escape(text)
