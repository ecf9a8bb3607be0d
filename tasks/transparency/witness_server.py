"""The witness over HTTP, which `treasury witness serve` runs: `add-checkpoint`, and the newest checkpoint of a log."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.errors import ConfigError, VerificationError
from ledger.transparency.policies import LogPolicy
from ledger.transparency.verifier_keys import SignatureType, VerifierKey, check_name
from tasks.transparency.keys import KeySigner, make_file, read_private_file, verifier_of
from tasks.transparency.witness import MOST_BYTES, WitnessAnswer, WitnessService

TYPES = (SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_MLDSA44)


def witness_signers(folder: Path, name: str) -> list[KeySigner]:
    """The witness's two keys, made in ``folder`` with owner-only rights where they are missing.

    Raises ConfigError for a name that is none, and naming a key file that is malformed or that others may read.
    """
    try:
        check_name(name)
    except VerificationError as error:
        raise ConfigError(f"--name: {error}") from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    signers = []
    for kind in TYPES:
        path = folder / f"witness-{kind.algorithm}.pem"
        if not path.exists():
            make_file(path, kind)
        private = read_private_file(path, kind)
        signers.append(KeySigner(verifier_of(private, name, kind), private))
    return signers


def known_logs(policy: Path) -> dict[str, list[VerifierKey]]:
    """The keys of the logs that a policy file names, by origin. Raises ConfigError naming the file."""
    try:
        logs = LogPolicy.parse(policy.read_bytes()).logs
    except (OSError, VerificationError) as error:
        raise ConfigError(f"{policy}: {error}") from None
    keys_of: dict[str, list[VerifierKey]] = {}
    for log in logs:
        keys_of.setdefault(log.key.name, []).append(log.key)
    if not keys_of:
        raise ConfigError(f"{policy}: names no log: add what `treasury log keys` prints")
    return keys_of


def witness_app(witness: WitnessService) -> Starlette:
    """The witness as an ASGI application."""

    async def add(request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return Response("the request is too large\n", 413)
        return _response(await run_in_threadpool(witness.add_checkpoint, body))

    async def show(request: Request) -> Response:
        return _response(await run_in_threadpool(witness.find_checkpoint, request.path_params["origin_hash"]))

    return Starlette(
        routes=[
            Route("/add-checkpoint", add, methods=["POST"]),
            Route("/{origin_hash}/checkpoint", show, methods=["GET"]),
        ]
    )


async def _read(request: Request) -> bytes | None:
    """The body, None when it is too large: no client can make the witness keep more."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return None
    except ClientDisconnect:
        return None
    return body


def _response(answer: WitnessAnswer) -> Response:
    return Response(answer.body, answer.status, {"content-type": answer.content_type})
