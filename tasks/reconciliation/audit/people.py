"""The people who decide: the name that a person gives, and the account that it is given under. Four eyes are two
people's.
"""

import os
import pwd
from dataclasses import dataclass

from ledger.card_numbers import refuse_card_number
from ledger.errors import FieldError
from ledger.people import folded_names

SYSTEM = "treasury"  # what runs sign with
REASON_CHARACTERS = 1000
_NAME_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class Person:
    """``name`` is what they call themselves; ``account`` is the login of the operating system or the API key that they
    used, which they cannot choose.
    """

    name: str
    account: str

    def check(self) -> None:
        """Raise FieldError for a name that is none, or that of the system."""
        check_text("actor", self.name, _NAME_CHARACTERS)
        check_text("account", self.account, _NAME_CHARACTERS)
        if "" in folded_names(self.name, self.account):
            raise FieldError("actor", "must have characters that are seen")
        if SYSTEM in folded_names(self.name):
            raise FieldError("actor", f"must be a person: {SYSTEM} is what runs sign with")

    def is_same_as(self, name: str, account: str | None) -> bool:
        """Return whether the other may be the same person: any name of one is any name of the other's."""
        return bool(folded_names(self.name, self.account) & folded_names(name, account))


def account_of_process() -> str:
    """The login of the operating system that this process really runs under, whatever its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return f"uid {os.getuid()}"


def check_text(field: str, text: str, longest: int) -> None:
    """Raise FieldError unless the text is 1 to ``longest`` printable characters without a payment card number. What
    people write about breaks and periods is kept for ever.
    """
    if not len(text.strip()) >= 1 or len(text) > longest or not text.isprintable():
        raise FieldError(field, f"must be 1 to {longest} printable characters")
    refuse_card_number(field, text)
