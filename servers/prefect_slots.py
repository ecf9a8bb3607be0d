"""Runs and concurrency slots in Prefect that a crash left behind: ended and freed before a worker starts.

A run that Prefect takes for submitted or running holds its deployment's slot. When the machine loses power its process
is gone and nothing ends it. Every later run of that deployment would wait, or be turned away, for ever.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.errors import ConfigError, TransientError
from tasks.prefect.access import PrefectAccess

LEASES = "concurrency_leases"  # in PREFECT_HOME: Prefect's own name
FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # Prefect gives it to the process of each flow run
WORKER_LABEL = "prefect.worker.name"  # Prefect labels each run with the worker that took it
_HOLDING = ["PENDING", "RUNNING", "CANCELLING"]  # types of states that hold a slot, by Prefect's names
_ONLINE = "ONLINE"
_MESSAGE = "Its process is gone: it was killed, or the machine was. Ended when the worker started."


@dataclass(slots=True)
class Recovered:
    """The repairs: runs that were ended, deployments whose slots were freed, and problems that remain."""

    ended: list[str] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def recover(access: PrefectAccess, pool: str, worker: str, prefect_home: Path | None) -> Recovered:
    """End as crashed what no process of this machine works at any more, and free its slots.

    Called before the worker named ``worker`` starts. ``prefect_home`` is the folder of the embedded server, where all
    work of the ``pool`` is ours. With None, or while another worker of the pool is online, only runs that Prefect
    labelled with our worker's name are ours. Raises TransientError when the server does not answer. Safe to rerun.
    """
    others = [peer for peer in access.every(f"/work_pools/{pool}/workers/filter", {}) if peer["name"] != worker]
    alone = prefect_home is not None and not any(peer.get("status") == _ONLINE for peer in others)
    living, recovered = living_runs(), Recovered()
    held = list(_holding(access, {"work_pools": {"name": {"any_": [pool]}}}))
    ours = [run for run in held if alone or run.get("labels", {}).get(WORKER_LABEL) == worker]
    gone = [run for run in ours if run["id"] not in living]
    for run in (*gone, *_within(access, [run["id"] for run in gone])):
        _end(access, run, recovered)
    if alone and prefect_home is not None:
        _free_slots(access, pool, prefect_home / LEASES, recovered)
    return recovered


def living_runs() -> set[str]:
    """The ids of the flow runs that a process of this account works at, from its environment. Linux only."""
    run_ids = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = file.read_bytes()
        except OSError:  # it has ended, or belongs to another user
            continue
        for variable in content.split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == FLOW_RUN_VARIABLE.encode():
                run_ids.add(value.decode(errors="replace"))
    return run_ids


def _holding(access: PrefectAccess, conditions: dict[str, object], runs: dict[str, object] | None = None) -> Any:
    states = {"state": {"type": {"any_": _HOLDING}}}
    return access.every("/flow_runs/filter", {**conditions, "flow_runs": {**states, **(runs or {})}, "sort": "ID_DESC"})


def _within(access: PrefectAccess, parents: Collection[str]) -> list[dict[str, Any]]:
    """The flow runs that were called by ``parents``, and by those: they have no process of their own."""
    descendants: list[dict[str, Any]] = []
    while parents:
        children = list(_holding(access, {}, {"parent_flow_run_id": {"any_": list(parents)}}))
        descendants += children
        parents = [child["id"] for child in children]
    return descendants


def _end(access: PrefectAccess, run: dict[str, Any], recovered: Recovered) -> None:
    state = {"type": "CRASHED", "name": "Crashed", "message": _MESSAGE}
    try:
        access.ask(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
        recovered.ended.append(str(run["name"]))
    except (TransientError, ConfigError) as error:  # the others must not wait for this one
        recovered.problems.append(f"the flow run {run['name']} could not be ended: {error}")


def _free_slots(access: PrefectAccess, pool: str, leases: Path, recovered: Recovered) -> None:
    """Bring each deployment's slots to the number of its runs that really go on, and drop leases that none has."""
    conditions: dict[str, object] = {"work_pools": {"name": {"any_": [pool]}}}
    held = list(_holding(access, conditions))
    limits = {}
    for deployment in access.every("/deployments/filter", conditions):
        limit = deployment.get("global_concurrency_limit")
        if limit is None:
            continue
        limits[limit["id"]] = deployment["name"]
        slots = sum(run["deployment_id"] == deployment["id"] for run in held)
        if limit["active_slots"] != slots:
            access.ask(f"/v2/concurrency_limits/{limit['id']}", {"active_slots": slots}, "PATCH")
            recovered.freed.append(str(deployment["name"]))
    kept = {str(run["state"]["state_details"].get("deployment_concurrency_lease_id")) for run in held}
    _drop_leases(leases, limits, kept)


def _drop_leases(folder: Path, limits: Collection[str], kept: Collection[str]) -> None:
    """Remove the leases of ``limits`` that no run has: the server would take a slot for each when it expires, from
    whoever has it then.
    """
    for file in folder.glob("*-*.json"):
        try:
            lease = json.loads(file.read_text())
            of_ours = set(lease["resource_ids"]) <= set(limits)
        except (OSError, ValueError, KeyError, TypeError):  # torn by the crash: no lease
            of_ours = True
        if of_ours and file.stem not in kept:
            file.unlink(missing_ok=True)


def clear_locks(prefect_home: Path) -> None:
    """Remove lock files of a server that is gone. Called with no server running.

    Each holds a pid, and is believed as long as any process has that pid: after a restart of the machine another may.
    """
    for file in (prefect_home / LEASES).glob("*.lock"):
        file.unlink(missing_ok=True)
