"""The mapping file: what the columns of a file mean for a tiered table. TOML, read strictly; errors name the key."""

import codecs
import hashlib
import re
import tomllib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ledger.errors import ConfigError
from ledger.tables import TieredTable
from ledger.transactions import field_names, required_fields
from tasks.importing.instants import compile_instant

INSTANT_FIELDS = ("created_at", "updated_at", "processed_at")
_OWN_FIELDS = ("created_at", "updated_at")  # set by the importer, not among the fields of `ledger.transactions`
_OFFSET = re.compile(r"[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]")
_TEMPLATE = re.compile(r"(?:[^{}]|\{[^{}]+\})*")
_TEMPLATE_COLUMN = re.compile(r"\{([^{}]+)\}")
# What every such encoding leaves alone, and what UTF-7, ISO-2022, punycode, IDNA and escapes take for something else.
_PLAIN_TEXTS = (
    b"\\u0041\\n",
    b"+AGE-",
    b"~{VPND~}",
    b"\x1b$B!!",
    b"ab-cd",
    b"xn--bcher-kva",
    b"a" * 80,
    bytes(range(128)),
)
_MONEY_OPTIONS = frozenset({"decimal", "thousands", "unit", "sign", "symbols", "signs", "first_of"})
_INSTANT_OPTIONS = frozenset({"format", "timezone", "nonexistent", "ambiguous", "month_names", "zones"})
_SOURCES = ("column", "columns", "constant", "template", "first_of", "sign_of", "column_of", "symbol_of")
_MAPPED_SOURCES = ("column", "sign_of", "column_of", "symbol_of")
_MONTHS = 12


class Case(BaseModel):
    """One line of a value map over several columns: when the columns hold exactly ``when``, the value is ``then``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: tuple[str, ...]
    then: str


class FieldMapping(BaseModel):
    """The source of one field's value, and how it is read. Exactly one source must be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | None = Field(None, description="Source: one column")
    columns: tuple[str, ...] | None = Field(None, description="Source: several columns, distinguished by `cases`")
    constant: str | None = Field(None, description="Source: the same text for every row")
    template: str | None = Field(None, description="Source: text with {column} in it; never for money")
    first_of: tuple[str, ...] | None = Field(
        None, min_length=2, description="Money, source: the one of these columns that is neither empty nor zero"
    )
    sign_of: str | None = Field(None, description="Source: + or -, the sign of a money field before `sign` changes it")
    column_of: str | None = Field(None, description="Source: the column that a money field with `first_of` took")
    symbol_of: str | None = Field(None, description="Source: the symbol of a money field with `symbols`")

    map: dict[str, str] | None = Field(None, description="Value map of one text: any other value is rejected")
    cases: tuple[Case, ...] = Field((), description="Value map of `columns`: any other combination is rejected")
    otherwise: str | None = Field(None, description="Value where the map has no entry, instead of a reject")
    default: str | None = Field(None, description="Value where the column is empty")
    empty: Literal["absent", "reject"] = Field("absent", description="What an empty column means without a default")
    join_lines: bool = Field(False, description="Line breaks inside a quoted value become one space")

    decimal: Literal[".", ","] = Field(".", description="Money: the decimal mark")
    thousands: Literal["", " ", ".", ",", "'", "\u2019", "\u00a0", "\u2009", "\u202f"] = Field(
        "", description="Money: the mark between thousands; a blank is any of space, no-break space and thin space"
    )
    unit: Literal["major", "minor"] = Field(
        "major", description="Money: minor is whole minor units of the row's currency by ISO 4217, such as cents"
    )
    sign: Literal["keep", "absolute"] = Field("keep", description="Money: absolute leaves the sign out")
    symbols: tuple[str, ...] = Field((), description="Money: texts that may be before or behind the number, like R")
    signs: dict[str, Literal["+", "-"]] = Field(
        default_factory=dict,
        description="Money: texts behind the number that say its sign, like Cr and Dr; empty: of an amount without one",
    )

    format: str = Field("iso", description="Instant: iso, unix, unix_ms, or a pattern like %Y-%m-%d %H:%M:%S")
    timezone: str = Field("UTC", description="Instant: IANA zone of a text that carries no offset")
    nonexistent: Literal["reject", "shift"] = Field(
        "reject",
        description="Instant: of a local time that clocks leave out; shift moves it on by the hour that is missing",
    )
    ambiguous: Literal["first", "second", "reject"] = Field(
        "first", description="Instant: which of a local time that occurs twice"
    )
    month_names: tuple[str, ...] = Field((), description="Instant: the names that %b reads; English unless given")
    zones: dict[str, str] = Field(default_factory=dict, description="Instant: the texts that %Z reads, with offsets")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"needs exactly one of {', '.join(_SOURCES)}")
        if (self.columns is not None) != bool(self.cases):
            raise ValueError("columns and cases go together")
        if self.map is not None and sources[0] not in _MAPPED_SOURCES:
            raise ValueError(f"map goes with {', '.join(_MAPPED_SOURCES)}; several columns are mapped by cases")
        if self.otherwise is not None and self.map is None and not self.cases:
            raise ValueError("otherwise goes with map or cases")
        if self.template is not None and not _TEMPLATE.fullmatch(self.template):
            raise ValueError("template: every { must open a {column}, and every } close one")
        if self.thousands and self.thousands == self.decimal:
            raise ValueError("thousands and decimal must differ")
        return self

    @model_validator(mode="after")
    def _cases_fit(self) -> Self:
        combinations = [case.when for case in self.cases]
        if any(len(when) != len(self.columns or ()) for when in combinations):
            raise ValueError("every case needs one text per column")
        if len(set(combinations)) != len(combinations):
            raise ValueError("two cases have the same texts")
        return self

    @field_validator("symbols", "signs")
    @classmethod
    def _visible(cls, value: tuple[str, ...] | dict[str, str], info: ValidationInfo) -> Any:
        if any(not text.strip() and (text or info.field_name == "symbols") for text in value):
            raise ValueError("must be texts that can be seen")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is not an IANA time zone") from None
        return value

    @field_validator("format")
    @classmethod
    def _format(cls, value: str) -> str:
        compile_instant("format", value, "UTC")
        return value

    @field_validator("month_names")
    @classmethod
    def _all_months(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and len({name.casefold() for name in value}) != _MONTHS:
            raise ValueError("must be the twelve different names from January to December")
        return value

    @field_validator("zones")
    @classmethod
    def _offsets(cls, value: dict[str, str]) -> dict[str, str]:
        if wrong := [offset for offset in value.values() if not _OFFSET.fullmatch(offset)]:
            raise ValueError(f"{wrong[0]!r} is not an offset like +02:00")
        return value

    @property
    def reads_thousands(self) -> bool:
        """Whether the mapping says which mark parts thousands, if only that there is none."""
        return "thousands" in self.model_fields_set


class FileFormat(BaseModel):
    """The format of the file. Gzip is recognised by its first bytes; LF, CRLF and CR line ends are all read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str = Field('"', max_length=1, description="Empty: quotes have no meaning")
    encoding: str = Field("utf-8", description="Any in which ASCII is one byte a character: not UTF-16, UTF-32, EBCDIC")
    columns: tuple[str, ...] | None = Field(None, description="Column names of a file that has no header line")
    strip: bool = Field(False, description="Leave out white space around texts that are stored, too")
    empty: tuple[str, ...] = Field(("",), description="Values that mean: nothing there; the empty one always does")
    skip_lines: int = Field(0, ge=0, le=1000, description="Lines before the header, or before the first record")
    until: str | None = Field(None, min_length=1, description="The records end before the line that begins so")
    line_breaks: tuple[str, ...] = Field(
        (), description="Columns that are not mapped and may have line breaks in quotes"
    )

    @property
    def stripping(self) -> Self:
        """The format of the same file for numbers and times, which have no white space around them."""
        return self.model_copy(update={"strip": True})

    @field_validator("encoding")
    @classmethod
    def _by_lines(cls, value: str) -> str:
        try:
            plain = all(text.decode(value) == text.decode("ascii") for text in _PLAIN_TEXTS)
            name = codecs.lookup(value).name
        except (LookupError, UnicodeError):
            plain, name = False, value
        if not plain:
            raise ValueError(f"{value!r} is not an encoding in which ASCII is one byte a character")
        return "utf-8" if name == "utf-8-sig" else name

    @field_validator("empty")
    @classmethod
    def _with_none(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return ("", *(text.strip() for text in value))

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.delimiter == self.quote or {self.delimiter, self.quote} & {"\r", "\n", "\0"}:
            raise ValueError("delimiter and quote must be two different characters, and no line ends")
        if self.columns is not None and len(set(self.columns)) != len(self.columns):
            raise ValueError("columns names one column twice")
        return self


class Mapping(BaseModel):
    """A mapping file. ``name``, ``table`` and ``key`` make the ids: keep them for as long as files of the kind come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")
    table: str | None = Field(None, description="The tiered table; the command line may say another")
    key: tuple[str, ...] = Field((), description="Columns that identify a row in its source")
    key_names: tuple[str, ...] = Field(
        (), description="What the key's columns were called when the source was first loaded"
    )
    identity: Literal["values", "file"] | None = Field(
        None, description="Without a key: whether equal values in another file are the same row, or another one"
    )
    earliest: date = Field(date(1970, 1, 1), ge=date(1970, 1, 1), description="First UTC day that is taken")
    file: FileFormat = Field(default_factory=FileFormat)
    fields: dict[str, FieldMapping]
    metadata: dict[str, FieldMapping] = Field(default_factory=dict, description="Entries of the metadata, by name")

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if "created_at" not in self.fields:
            raise ValueError("fields.created_at is missing")
        if "status" not in self.fields:
            raise ValueError(
                "map status: rows of the past without one would be pending; where all of them are finished, say "
                'status = { constant = "completed" }'
            )
        for name, field in self.metadata.items():
            _refuse(f"metadata.{name}", field, _MONEY_OPTIONS | _INSTANT_OPTIONS)
        if self.key and self.identity is not None:
            raise ValueError("identity is for files without a key: leave one of the two out")
        if self.key_names and len(self.key_names) != len(self.key):
            raise ValueError("key_names must have one name for each column of key")
        return self

    @property
    def identity_rule(self) -> str:
        """How rows of this source are known again, in one text that must stay the same for the source."""
        if self.key:
            return f"key {', '.join(self.key_names or self.key)}"
        return f"identity {self.identity or 'not said'}"

    @property
    def earliest_instant(self) -> datetime:
        """The first instant that is taken, UTC."""
        return datetime.combine(self.earliest, datetime.min.time(), UTC)

    def columns_used(self) -> dict[str, str]:
        """Every column that the mapping reads, with the key of the mapping that names it (for messages)."""
        used = dict.fromkeys(self.key, "key") | dict.fromkeys(self.file.line_breaks, "file.line_breaks")
        for section, fields in (("fields", self.fields), ("metadata", self.metadata)):
            for name, field in fields.items():
                used |= dict.fromkeys(_columns(field), f"{section}.{name}")
        return used


def _columns(field: FieldMapping) -> tuple[str, ...]:
    if field.column is not None:
        return (field.column,)
    if field.template is not None:
        return template_columns(field.template)
    return field.columns or field.first_of or ()


def template_columns(template: str) -> tuple[str, ...]:
    """The columns named in a template like ``{bank}/{account}``, in their order."""
    return tuple(_TEMPLATE_COLUMN.findall(template))


def fill_template(template: str, texts: Iterable[str]) -> str:
    """``template`` with each {column}, in their order, replaced by the next of ``texts``."""
    remaining = iter(texts)
    return _TEMPLATE_COLUMN.sub(lambda _: next(remaining), template)


def _refuse(key: str, field: FieldMapping, options: frozenset[str]) -> None:
    for option in sorted(field.model_fields_set & options):
        raise ValueError(f"{key}.{option} is an option of {'money' if option in _MONEY_OPTIONS else 'instants'} only")


def read_mapping(path: Path) -> tuple[Mapping, bytes]:
    """The mapping in ``path`` and the SHA-256 of the file. Raises ConfigError naming the file and the key."""
    try:
        content = path.read_bytes()
        mapping = Mapping.model_validate(tomllib.loads(content.decode()))
    except OSError as error:
        raise ConfigError(f"mapping {path}: {error.strerror}") from None
    except ValidationError as error:
        raise ConfigError(f"mapping {path}: " + "; ".join(_explain(item) for item in error.errors())) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"mapping {path}: {error}") from None
    return mapping, hashlib.sha256(content).digest()


def _explain(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def check_table(mapping: Mapping, table: TieredTable) -> None:
    """Raise ConfigError unless the mapping gives every required field of ``table``, and only fields that it has."""
    known = {*field_names(table), *_OWN_FIELDS} - {"metadata"}
    for name, field in mapping.fields.items():
        if name not in known:
            raise ConfigError(f"mapping {mapping.name}: fields.{name}: {table.name} takes {', '.join(sorted(known))}")
        try:
            _refuse_options(table, name, field)
        except ValueError as error:
            raise ConfigError(f"mapping {mapping.name}: {error}") from None
    for name, field in (*mapping.fields.items(), *mapping.metadata.items()):
        _check_reference(mapping, table, name, field)
    for name in required_fields(table):
        if name not in mapping.fields:
            raise ConfigError(f"mapping {mapping.name}: fields.{name} is missing; {table.name} requires it")


def _check_reference(mapping: Mapping, table: TieredTable, name: str, field: FieldMapping) -> None:
    """What a field takes from a money field must be there to be taken."""
    if field.template is not None and name in table.money_columns and name in mapping.fields:
        raise ConfigError(
            f"mapping {mapping.name}: fields.{name}.template: a template joins texts, and 100 and 0 would be 1000; "
            'use first_of = ["credit", "debit"]'
        )
    for option, needed in (("sign_of", None), ("column_of", "first_of"), ("symbol_of", "symbols")):
        of = getattr(field, option)
        money = mapping.fields.get(of) if of in table.money_columns else None
        if of is None or (money and (needed is None or getattr(money, needed))):
            continue
        wanted = "a money field of the mapping" + (f" with {needed}" if needed else "")
        raise ConfigError(f"mapping {mapping.name}: {name}.{option}: {of} is not {wanted}")


def _refuse_options(table: TieredTable, name: str, field: FieldMapping) -> None:
    if name not in table.money_columns:
        _refuse(f"fields.{name}", field, _MONEY_OPTIONS)
    if name not in INSTANT_FIELDS:
        _refuse(f"fields.{name}", field, _INSTANT_OPTIONS)
