"""`treasury prefect`: how a person, or Prefect's own command line, logs in to the Prefect server."""

from cli import terminal
from config import load_settings
from ledger.errors import ConfigError
from servers import home
from servers.prefect import login as own_login


def login() -> None:
    """Print the login of the Prefect server.

    It is alone on its line, for the UI and for PREFECT_API_AUTH_STRING.
    """
    settings = load_settings()
    auth_string = settings.prefect_api_auth_string
    if auth_string is None and settings.prefect_api_url is None:
        home.require(settings.home, database=False)
        auth_string = own_login(settings.home)
    if auth_string is None:
        raise ConfigError("TREASURY_PREFECT_API_AUTH_STRING is not set: no login to TREASURY_PREFECT_API_URL is known")
    terminal.console.print(auth_string.get_secret_value(), markup=False, soft_wrap=True)
