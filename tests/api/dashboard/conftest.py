"""The dashboard of an API under test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from config import Settings
from ledger.scopes import Scope
from tasks.admin.keys import create_key
from tests.api.dashboard.person import Person

MakePerson = Callable[..., Person]


def _make(stack: ExitStack, settings: Settings, url: str, scopes: Any = tuple(Scope), client: str = "acme") -> Person:
    person = Person(url, create_key(settings, client, scopes))
    stack.enter_context(person.client)
    assert person.sign_in().status_code == 303
    return person


@pytest.fixture
def make_person(shared: Settings, shared_url: str) -> Iterator[MakePerson]:
    """Makes somebody who has signed in to the API of the module, with a key of the given scopes; all by default."""
    with ExitStack() as stack:
        yield lambda *given, **options: _make(stack, shared, shared_url, *given, **options)


@pytest.fixture
def stranger(shared: Settings, shared_url: str) -> Iterator[Person]:
    """Somebody whose key has every scope, and who has not signed in."""
    someone = Person(shared_url, create_key(shared, "acme", list(Scope)))
    with someone.client:
        yield someone


@pytest.fixture
def person(make_person: MakePerson) -> Person:
    """Somebody whose key has every scope."""
    return make_person()
