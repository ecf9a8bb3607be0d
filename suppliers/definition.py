"""The declaration of a supplier's folder: one `SupplierDefinition`, called ``DEFINITION``, in its ``__init__``.

Nothing else in the project names a supplier. What is slow to import, or of use to few, is behind a function: the
API opens clients and never loads a simulator.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from config.suppliers import Connection
from suppliers.offers import Offers
from suppliers.protocol import SupplierClient, Webhook
from suppliers.trials import Trial

if TYPE_CHECKING:
    import pyarrow as pa
    from starlette.types import ASGIApp

    from config.suppliers import SimulatorSettings
    from suppliers.simulation.book import Book
    from suppliers.statement import ParsedStatement


@dataclass(frozen=True, slots=True)
class StatementFormat:
    """A supplier's statement.

    ``file_name`` matches the whole name of a file and has a group ``day``, or ``made`` for when it was made. ``parse``
    reads content, name and the supplier's own settings, and raises StatementError. ``write`` is its reverse: a
    canonical table as the supplier would write it. ``further_columns`` are the canonical columns that it has beyond
    those that every statement has. ``failed`` is its word for what was not sold, or was taken back. ``answer_name`` is
    what a day's answer of its API is called; None: statements come as files only. ``counts_lines``: the file says how
    many lines it has, so that one without any is known to be whole. ``returned`` makes the columns of the file that the
    supplier asks back from our transactions of a day (the query ``return_rows``). None: it asks for none.
    """

    file_name: re.Pattern[str]
    parse: "Callable[[bytes, str, Any], ParsedStatement]"
    write: "Callable[[pa.Table, date], tuple[str, bytes]]"
    further_columns: frozenset[str]
    failed: str
    answer_name: Callable[[date], str] | None = None
    counts_lines: bool = False
    returned: "Callable[[pa.RecordBatch], pa.RecordBatch] | None" = None


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The declaration of a supplier that sends webhooks.

    ``secret`` is the setting that they are signed with; None: none is configured, and none is taken. ``read`` gives the
    webhook of a body and the secret. It raises SignatureError before anything else is looked at, DataError naming the
    field when a genuine one cannot be read.
    """

    secret: Callable[[Any], SecretStr | None]
    read: Callable[[bytes, str], Webhook]


@dataclass(frozen=True, slots=True)
class Simulator:
    """The server that behaves as the supplier does, and the settings that point a client at it.

    ``stand_in`` gives, for the supplier's settings and the simulator's address, the fields to change.
    """

    create_app: "Callable[[SimulatorSettings, Book], ASGIApp]"
    stand_in: Callable[[Any, str], Mapping[str, Any]]


def client_of(package: str) -> Callable[[Any], SupplierClient]:
    """The ``CLIENT`` of ``package``'s module ``client``, called with its settings; imported when asked for."""

    def load(settings: Any) -> SupplierClient:
        client: SupplierClient = import_module(f"{package}.client").CLIENT(settings)
        return client

    return load


def statement_of(package: str) -> Callable[[], StatementFormat]:
    """The ``FORMAT`` of ``package``'s module ``statement_format``; imported when asked for."""

    def load() -> StatementFormat:
        statement: StatementFormat = import_module(f"{package}.statement_format").FORMAT
        return statement

    return load


def simulator_of(package: str) -> Callable[[], Simulator]:
    """The simulator in ``package``'s module ``simulator`` (``create_app``, ``stand_in``); imported when it is asked
    for.
    """

    def load() -> Simulator:
        module = import_module(f"{package}.simulator")
        return Simulator(module.create_app, module.stand_in)

    return load


def trials_of(package: str) -> Callable[[], Sequence[Trial]]:
    """The ``TRIALS`` of ``package``'s module ``trials``; imported when asked for."""

    def load() -> Sequence[Trial]:
        trials: Sequence[Trial] = import_module(f"{package}.trials").TRIALS
        return trials

    return load


@dataclass(frozen=True, slots=True)
class SupplierDefinition:
    """One supplier. ``name`` is a word of at most 16 small letters, digits and underscores: rows carry it.

    ``title`` is how people write it. ``client`` is made from the supplier's own ``settings``. ``webhooks``: it sends
    some, to `/api/v1/webhooks/<name>`. ``offers``: what it sells, and what an order of each kind must have.
    """

    name: str
    title: str
    settings: type[Connection]
    client: Callable[[Any], SupplierClient]
    statement: Callable[[], StatementFormat]
    simulator: Callable[[], Simulator]
    trials: Callable[[], Sequence[Trial]]
    offers: Offers
    webhooks: Callable[[], Webhooks] | None = None
