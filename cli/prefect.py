"""prefect login: how a person, or Prefect's own command line, gets into the Prefect server."""

import typer

from cli import terminal
from config import load_settings
from ledger.errors import ConfigError

prefect = typer.Typer(help="The Prefect server: how to log in.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(prefect, name="prefect")


@prefect.callback()
def _group() -> None:
    """Keep `login` a command of its own, although it is the only one."""


@prefect.command()
def login() -> None:
    """Print the login of the Prefect server, alone on its line: for the UI, and for PREFECT_API_AUTH_STRING."""
    from servers import home  # noqa: PLC0415  # the command line must answer --help at once
    from servers.prefect import login as own_login  # noqa: PLC0415

    settings = load_settings()
    found = settings.prefect_api_auth_string
    if found is None and settings.prefect_api_url is None:
        home.demand(settings.home, database=False)
        found = own_login(settings.home)
    if found is None:
        raise ConfigError("TREASURY_PREFECT_API_AUTH_STRING is not set: no login to TREASURY_PREFECT_API_URL is known")
    terminal.console.print(found.get_secret_value(), markup=False, soft_wrap=True)
