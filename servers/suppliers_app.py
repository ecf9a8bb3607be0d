"""The suppliers' simulators as an application behind a `Gate`: `uvicorn --factory servers.suppliers_app:create_app`."""

import os

from servers import ports
from servers.gate import Gate
from servers.suppliers import PORT_VARIABLE
from suppliers.simulation.app import create_embedded_app


def create_app() -> Gate:
    """The simulators of the home, for programs of this machine; a browser's page gets nothing from them."""
    return Gate(create_embedded_app(), (ports.HOST, "localhost"), int(os.environ.pop(PORT_VARIABLE)))
