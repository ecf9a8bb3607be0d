"""A certificate as a page for people: one HTML file without any request to elsewhere, made to be printed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """\
body { font: 11pt/1.4 Georgia, serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin: 1.4rem 0 .3rem; border-bottom: 1px solid #999; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .15rem .5rem .15rem 0; }
th { font-weight: normal; color: #555; width: 13rem; }
.list th { width: auto; border-bottom: 1px solid #ccc; }
code { font: .85em/1.3 ui-monospace, monospace; overflow-wrap: anywhere; }
@page { size: A4; margin: 18mm; }
@media print { body { margin: 0; max-width: none; } h2, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def certificate_page(content: bytes) -> bytes:
    """The page of a certificate, from its canonical JSON. The same certificate makes the same bytes."""
    one = json.loads(content)
    parts = [
        f"<h1>Certificate of deletion {_text(one['certificate'])}</h1>",
        f"<p>{_sentence(one)}</p>",
        _section("What was deleted", _facts(one)),
        _section("Why", _rule(one)),
        _section("Who", _people(one)),
        _section("Holds", _holds(one)),
        _heading("Parts"),
        _list(("part", "rows", "sums", "root", "entry of the log"), map(_part, one["parts"])),
        _heading("Objects"),
        _list(("object", "bytes", "versions", "removed (UTC)", "found absent (UTC)"), map(_object, one["objects"])),
        _section("What this certificate does not cover", [("not covered", text) for text in one["not_covered"]]),
        _section("How to check it", _proof(one)),
    ]
    title = f"Certificate of deletion {_text(one['certificate'])}"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'.encode()


def _sentence(one: Mapping[str, Any]) -> str:
    kept = sum(part["rows"] for part in one["kept"])
    rows = sum(part["rows"] for part in one["parts"]) - kept
    more = f" {kept} rows stay because of holds." if kept else ""
    what = f"{rows} rows of {one['table']}, {one['month']}, were deleted on {_time(one['removed_at'])} UTC."
    return _text(what + more)


def _facts(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("controller", one["controller"] or "not named in the settings"),
        ("installation", one["installation"]),
        ("archive", one["archive"]),
        ("table, month", f"{one['table']}, {one['month']}"),
        ("deletion began", _time(one["begun_at"])),
        ("last object removed", _time(one["removed_at"])),
        ("what remains", one["remains"]),
        ("backups may hold it until", one["backups_until"]),
        ("dropped from", "; ".join(one["dropped_from"])),
        ("program", one["program"]),
    ]


def _rule(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    rule = one["rule"]
    return [
        ("policy", f"{rule['retention_months']} months after the month ended: due on {rule['due_on']}"),
        ("policy applied at", rule["as_of"]),
        ("legal minimum", f"{rule['legal_minimum_months']} months"),
        ("source", rule["legal_source"]),
        ("legal basis", rule["legal_basis"]),
    ]


def _people(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    request = one["request"]
    people = [("requested by", request["requested"]), *(("approved by", each) for each in request["approved"])]
    shown = [
        (role, f"{each['actor']} ({each['account']}), {_time(each['at'])}: {each['reason']}") for role, each in people
    ]
    grace = f"{request['grace_days']} days, until {_time(request['due_at'])}"
    return [*shown, ("grace period", grace), ("plan approved", request["plan_sha256"])]


def _holds(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    holds, kept = one["holds"], one["kept"]
    log = f"entry {one['log']['begun_entry']} of the log, of {one['log']['size']} entries"
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


def _object(one: Mapping[str, Any]) -> tuple[str, ...]:
    versions = "; ".join(map(_version, one["versions"])) or "none was there"
    name = f"{one['key']} ({one['kind']}, SHA-256 {one['sha256'] or 'not recorded'})"
    return name, str(one["size_bytes"] or ""), versions, _time(one["removed_at"]), _time(one["proved_at"])


def _version(version: Mapping[str, Any]) -> str:
    mode = f" ({version['lock_mode']})" if version["lock_mode"] else ""
    lock = f", locked{mode} until {_time(version['locked_until'])}" if version["locked_until"] else ""
    lock += ", under a legal hold until its deletion" if version["legal_hold"] else ""
    kind = "delete marker" if version["is_marker"] else f"{version['size_bytes']} bytes"
    name = version["version"] or "without an id"
    stored = f", {version['storage_class']}" if version["storage_class"] else ""
    return f"{name}: {kind}{stored}{lock}"


def _proof(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    log = one["log"]
    return [
        ("log", log["origin"]),
        ("root", f"{log['root']} of {log['size']} entries"),
        ("command", f"treasury certificate verify {one['certificate']}"),
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
