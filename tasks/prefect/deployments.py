"""The deployments of ``prefect.yaml``, and those of suppliers from elsewhere."""

from pathlib import Path
from typing import Any

import yaml

from config.suppliers import Suppliers

POOL = "treasury"
PROJECT = Path(__file__).resolve().parent.parent.parent  # the folder of this project's own prefect.yaml
RECONCILIATION = "flows/reconcile_supplier.py:reconcile_supplier"


def deployments(directory: Path, suppliers: Suppliers) -> list[dict[str, Any]]:
    """Every deployment of ``<directory>/prefect.yaml``, and those of ``suppliers`` from elsewhere."""
    known = yaml.safe_load((directory / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    return [*known, *further_deployments(directory, suppliers)]


def further_deployments(directory: Path, suppliers: Suppliers) -> list[dict[str, Any]]:
    """A deployment that reconciles each supplier of ``modules``, as ``prefect.yaml`` has for the project's own."""
    known = yaml.safe_load((directory / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    pattern = next(deployment for deployment in known if deployment["entrypoint"] == RECONCILIATION)
    return [
        pattern
        | {
            "name": f"reconcile-{name}",
            "description": f"The day of {name} against its statement.",
            "parameters": {"supplier": name},
        }
        for name in suppliers.further
    ]
