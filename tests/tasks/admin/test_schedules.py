"""Which deployments are expected to succeed by their schedule."""

from config import Settings
from config.health import HealthSettings
from tasks.admin.schedules import expected
from tasks.prefect.deployments import PROJECT, deployments


def test_each_schedule_of_the_file_is_expected_but_those_that_are_off(settings: Settings) -> None:
    names = {one.deployment for one in expected(settings)}
    scheduled = {one["name"] for one in deployments(PROJECT, settings.suppliers) if one.get("schedules")}
    assert names == scheduled >= {"check-health", "reconcile-peach", "watch-transactions"}
    off = settings.suppliers.peach.model_copy(update={"enabled": False})
    without = settings.model_copy(update={"suppliers": settings.suppliers.model_copy(update={"peach": off})})
    assert scheduled - {one.deployment for one in expected(without)} == {"reconcile-peach"}
    others = tuple(scheduled - {"roll-partitions"})
    one_alone = settings.model_copy(update={"health": HealthSettings(schedules_off=others)})
    assert {one.deployment for one in expected(one_alone)} == {"roll-partitions"}
