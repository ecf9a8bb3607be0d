"""Redis as several processes share it, and an API in front of which a trusted proxy names the clients."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Settings
from servers import ports
from servers.lease import ServerEndpoint, lease
from servers.redis import Redis
from tests.api.conftest import make_key, ready, template, this_month

__all__ = ["StartRedis", "make_key", "ready", "template", "this_month"]

StartRedis = Callable[[], AbstractContextManager[ServerEndpoint]]


@pytest.fixture
def start_redis(tmp_path: Path) -> StartRedis:
    """Starts a Redis of the test's own for the length of a block; each time an empty one, at the same address."""
    home, port = tmp_path / "redis-home", ports.choose(0)
    return lambda: lease(home, Redis(home, port))


@pytest.fixture
def behind_a_proxy(ready: Settings, redis_url: str) -> Settings:
    """Settings of an API with Redis that believes this machine when it says for whom it forwards."""
    return ready.model_copy(update={"redis_url": SecretStr(redis_url), "trusted_proxies": ("127.0.0.1",)})
