"""The address of Voucherly and the credentials for it."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from config.suppliers import Address, Connection


class VoucherlySettings(Connection):
    """Voucherly's settings: `TREASURY_SUPPLIERS__VOUCHERLY__KEY` and so on."""

    base_url: Address | None = Field(None, description="Where it is; unset: the simulator")
    key: SecretStr | None = Field(None, description="Our key")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._require("base_url", "key")
        return self
