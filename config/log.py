"""The sources of the public log's keys: files in a folder, values in the environment, or commands that sign."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class KeySource(BaseModel):
    """One key of the log. Neither ``pem`` nor ``command`` set: the folder's files.

    ``command`` is run without a shell for each signature. It gets the message on its standard input, and writes the raw
    signature to its standard output; ``public_key`` is then the public half, PEM.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pem: SecretStr | None = Field(None, description="The private key, PKCS #8 in PEM")
    command: str | None = Field(None, min_length=1, description="The command that signs, for HSM and KMS")
    public_key: str | None = Field(None, description="The public key of the command, PEM")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.pem is not None and self.command is not None:
            raise ValueError("set pem or command, not both")
        if (self.command is None) != (self.public_key is None):
            raise ValueError("command and public_key belong together")
        return self


class LogKeySettings(BaseModel):
    """The two keys that sign the log's checkpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = Field(None, description="Folder of the key files; unset: <home>/keys")
    ed25519: KeySource = Field(default_factory=KeySource)
    mldsa44: KeySource = Field(default_factory=KeySource)
