"""`treasury witness`: a witness of public logs, for an auditor's machine. It needs none of the servers."""

from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from tasks.transparency.witness import WitnessService
from tasks.transparency.witness_server import known_logs, witness_app, witness_signers

Name = Annotated[str, typer.Option(help="Name of the witness, such as witness.example.com/w1")]
Folder = Annotated[Path, typer.Option(help="Folder of its keys and of its memory, made when it is missing")]
PolicyFile = Annotated[
    Path, typer.Option("--policy", help="File with the logs it knows: `treasury log keys` prints it")
]
Bind = Annotated[str, typer.Option(help="Address to listen at")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port to listen at; 0 takes any free one")]
_FOLDER = Path("witness")
_PORT = 8600
_KEEP_ALIVE_S = 75
_CONNECTIONS = 200


def serve(
    name: Name, policy: PolicyFile, folder: Folder = _FOLDER, bind: Bind = "127.0.0.1", port: Port = _PORT
) -> None:
    """Cosign the checkpoints of public logs, until Ctrl-C.

    It speaks c2sp.org/tlog-witness and remembers in SQLite.

    Examples:
      treasury witness serve --name witness.example.com/w1 --policy policy
    """
    import uvicorn  # noqa: PLC0415  # slow to import, and the other command does without

    signers = witness_signers(folder, name)
    logs = known_logs(policy)
    witness = WitnessService(folder / "witness.sqlite", signers, logs)
    for origin in logs:
        terminal.note(f"witness {name} of the log {origin} at http://{bind}:{port}")
    uvicorn.run(
        witness_app(witness),
        host=bind,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        limit_concurrency=_CONNECTIONS,
    )


def keys(name: Name, folder: Folder = _FOLDER) -> None:
    """Print the witness's keys as lines of a policy.

    Makes the keys when they are missing.

    Examples:
      treasury witness keys --name witness.example.com/w1
    """
    for signer in witness_signers(folder, name):
        typer.echo(f"witness {signer.key.type.algorithm} {signer.key.text}")
