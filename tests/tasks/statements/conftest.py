"""What the tests of statements share: a copy of the database."""

from tests.tasks.archiving.copies import copied  # noqa: F401  # a fixture
