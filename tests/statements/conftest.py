"""What the tests of statements share: a copy of the database."""

from tests.archive.copies import copied  # noqa: F401  # a fixture
