"""The newest flow runs of a Prefect server that cannot be asked."""

import pytest

from config import Settings
from ledger.errors import ConfigError, TransientError
from tasks.prefect.recent_runs import newest_runs


def test_what_prefect_answers_wrongly_is_one_error(settings: Settings) -> None:
    with pytest.raises(TransientError, match="Prefect gave no good answer"):
        newest_runs(settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"}), 0.5)
    with pytest.raises(ConfigError):
        newest_runs(settings.model_copy(update={"prefect_api_url": None}), 0.5)
