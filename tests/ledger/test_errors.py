"""One tree of errors tells what to do about each: try again, stop, or mend the settings."""

import pytest

from ledger.errors import (
    ConfigError,
    ConflictError,
    DataError,
    FieldError,
    TransientError,
    TreasuryError,
    VerificationError,
)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(TreasuryError, 1), (TransientError, 75), (DataError, 65), (ConfigError, 78), (ConflictError, 69)],
)
def test_each_kind_of_error_ends_the_command_with_its_own_code(kind: type[TreasuryError], exit_code: int) -> None:
    assert kind("reason").exit_code == exit_code


@pytest.mark.parametrize("error", [FieldError("amount", "must be more than 0"), VerificationError("digest differs")])
def test_wrong_data_is_never_tried_again(error: TreasuryError) -> None:
    assert isinstance(error, DataError)
    assert not isinstance(error, TransientError)
    assert error.exit_code == DataError.exit_code


def test_a_field_error_says_which_field_and_which_rule() -> None:
    error = FieldError("amount", "must be more than 0")
    assert (str(error), error.field, error.rule) == ("amount: must be more than 0", "amount", "must be more than 0")
