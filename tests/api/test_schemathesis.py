"""Schemathesis reads the OpenAPI document and tries to catch the API at not keeping it, on a real server.

No answer is a 5xx, every status is documented, every body conforms to its schema, every error is problem+json, what the
schema forbids is refused, and what it allows is not called malformed.
"""

from collections.abc import Iterator

import pytest
import schemathesis

from config import Settings
from tasks.keys import Scope, create_key
from tests.api.conftest import serving, with_partitions
from tests.conftest import own_database

QUICK, LONG = 12, 400


@pytest.fixture(scope="module")
def document(
    server_settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[schemathesis.BaseSchema]:
    """The document as the running API gives it, and a key for every call."""
    with own_database(server_settings, template, tmp_path_factory.mktemp("schemathesis")) as own:
        settings = with_partitions(own)
        key = create_key(settings, "acme", list(Scope))
        with serving(settings) as url:
            yield schemathesis.openapi.from_url(f"{url}/openapi.json", headers={"Authorization": f"Bearer {key}"})
