"""TCP ports on 127.0.0.1, and whether anyone answers there."""

import http.client
import socket

HOST = "127.0.0.1"
PROBE_S = 10.0  # of one try; whoever waits tries again


def choose(wanted: int) -> int:
    """``wanted`` when it is free (0 wants any), else a free one that the system gives."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on 127.0.0.1")


def http_status(port: int, path: str, host: str = HOST) -> int | None:
    """The status that a GET on ``host`` gets; None when there is no HTTP answer."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
