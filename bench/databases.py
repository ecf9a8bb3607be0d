"""Further databases of one server, for benchmarks and tests."""

from urllib.parse import urlsplit

from pydantic import SecretStr

from config import Settings
from config.settings import LOGINS


def on_database(settings: Settings, name: str) -> Settings:
    """``settings`` with every login on the database ``name`` of the same server."""
    urls = {field: getattr(settings, field) for field in LOGINS}
    return settings.model_copy(update={field: _moved(url, name) for field, url in urls.items() if url is not None})


def _moved(url: SecretStr, name: str) -> SecretStr:
    return SecretStr(urlsplit(url.get_secret_value())._replace(path=f"/{name}").geturl())
