"""`treasury setup`: make in the database what this version needs."""

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import servers
from ledger.errors import ConfigError
from tasks.admin.setup import prepare_database


def setup(as_json: AsJson = False) -> None:
    """Create or upgrade what Treasury needs in the database. Safe to run again.

    Its own tables are in the schema of TREASURY_SCHEMA; the tables, views and partitions of the ledger are where the
    application has them. A table that is refused does not stop the others.
    """
    with servers("postgres", may_make_home=True) as settings:
        with terminal.working("setting up the database"):
            problems = prepare_database(settings)
        if as_json:
            write_json({"schema": settings.own_schema, "problems": problems})
        for problem in problems:
            terminal.note(f"not prepared: {problem}")
        if problems:
            raise ConfigError(f"the database is set up, but for {len(problems)} things that are named above")
        if as_json:
            return
        terminal.console.print(f"the database is set up; Treasury's own tables are in its schema {settings.own_schema}")
    terminal.next_step("start the servers with `treasury up`")
