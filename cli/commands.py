"""All commands of `treasury`, in the order of the help text. A new command is one line here and one function.

The summary is the first sentence of the function's docstring. A test compares them.
"""

from collections.abc import Mapping

from cli.lazy import Command, Group

COMMANDS: Mapping[str, Command | Group] = {
    "up": Command("cli.up:up", "Start all servers and keep them running."),
    "setup": Command("cli.setup:setup", "Create or upgrade what Treasury needs in the database."),
    "down": Command("cli.status:down", "Stop all servers of this home, whichever command started them."),
    "status": Command("cli.status:status", "Show which servers of this home are running, and where."),
    "demo": Command("cli.demo:demo", "Show the whole product on three years of generated months."),
    "prefect": Group(
        "Log in to the Prefect server.",
        {"login": Command("cli.prefect:login", "Print the login of the Prefect server.")},
    ),
    "key": Group(
        "Create, rotate, revoke and list API keys.",
        {
            "create": Command("cli.keys:create", "Create an API key and print it."),
            "rotate": Command("cli.keys:rotate", "Replace an API key with a new one, and print the new one."),
            "list": Command("cli.keys:list_", "List all API keys with client, scopes and state."),
            "events": Command("cli.keys:events", "Show who created, rotated and revoked API keys, and when."),
            "revoke": Command("cli.keys:revoke", "Revoke an API key."),
        },
    ),
    "sessions": Group(
        "List and revoke sessions of the dashboard.",
        {
            "list": Command("cli.sessions:list_", "List the sessions of the dashboard, newest first."),
            "revoke": Command("cli.sessions:revoke", "End a session of the dashboard."),
        },
    ),
    "limits": Group(
        "Show and unblock the addresses that the API slows or refuses.",
        {
            "show": Command("cli.limits:show", "List the addresses that are slowed, refused or lifted."),
            "lift": Command("cli.limits:lift", "Unblock an address, and keep it unblocked for a while."),
        },
    ),
    "import": Command("cli.load:import_", "Load transactions from a delimited file."),
    "generate": Command("cli.load:generate", "Generate months of realistic transactions."),
    "tiers": Command("cli.archive:tiers", "Show each month's tier, rows, bytes, sums and digest."),
    "late-rows": Command("cli.archive:late_rows", "Open an archived month for rows that came late."),
    "totals": Command("cli.totals:totals", "Sum rows per day, client, type, status, currency and supplier."),
    "sql": Command("cli.sql:sql", "Run one read-only query over all tiers."),
    "run": Command("cli.archive:run", "Run a flow now, in this process."),
    "hold": Group(
        "Keep rows from being deleted, and release them.",
        {
            "place": Command(
                "cli.hold:place", "Keep months, or a wallet's, user's or client's rows in them, from being deleted."
            ),
            "list": Command("cli.hold:list_", "List the legal holds that are open."),
            "show": Command("cli.hold:show", "Show a legal hold and the decisions about its release."),
            "release": Command("cli.hold:release", "Propose to release a legal hold, or confirm its release."),
        },
    ),
    "restore": Group(
        "Copy archived months into PostgreSQL for some days.",
        {
            "months": Command(
                "cli.restore:months",
                "Bring archived months back, as copies or into their table, each compared with the archive.",
            ),
            "list": Command("cli.restore:list_", "List the copies of archived months."),
            "drop": Command("cli.restore:drop", "Drop the copies of a month."),
        },
    ),
    "restore-request": Command(
        "cli.restore_request:restore_request", "Ask the object store to make deep months readable for some days."
    ),
    "unseal": Command("cli.restore:unseal", "Let a sealed month take writes again."),
    "delete": Group(
        "Request, approve and carry out the deletion of months past their policy.",
        {
            "plan": Command(
                "cli.deletion:plan", "Show which months are past their policy, and which of them stay and why."
            ),
            "request": Command("cli.deletion:request", "Request the deletion of every month that is past its policy."),
            "approve": Command("cli.deletion:approve", "Approve the deletion that a request asks for."),
            "refuse": Command("cli.deletion:refuse", "Refuse the deletion that a request asks for."),
            "revoke": Command(
                "cli.deletion:revoke", "Take back a request, also an approved one, before its months are deleted."
            ),
            "run": Command("cli.deletion:run", "Delete the months of approved requests whose grace period is over."),
            "list": Command("cli.deletion:list_", "List the requests to delete months, newest first."),
            "show": Command("cli.deletion:show", "Show a request: its months, and who decided what."),
        },
    ),
    "certificate": Group(
        "Show and verify certificates of deletion.",
        {
            "list": Command("cli.certificates:list_", "List the certificates of deletion, newest first."),
            "show": Command("cli.certificates:show", "Print a certificate of deletion as JSON, or write its page."),
            "verify": Command(
                "cli.certificates:verify",
                "Verify a certificate: its objects in the archive, its event in the log, and that nothing is there "
                "again.",
            ),
        },
    ),
    "policy": Group(
        "Forecast what the policies do, and check them against what was promised.",
        {
            "simulate": Command(
                "cli.policy:simulate_",
                "Show what will move, be held and be deleted in the years ahead, and what it takes.",
            ),
            "check": Command("cli.policy:check", "Check the policies against what was promised for archived months."),
        },
    ),
    "storage-check": Command(
        "cli.storage:storage_check",
        "Try what the object store does: keep, replace, delete, lock, list, check, restore.",
    ),
    "installation": Group(
        "Show which database the archive belongs to, and settle what to do with a copy.",
        {
            "show": Command("cli.installation:show", "Show how this database relates to its archive."),
            "continue": Command("cli.installation:continue_", "Let this database replace the former one."),
            "separate": Command("cli.installation:separate", "Make this copy an installation of its own."),
        },
    ),
    "log": Group(
        "Publish the public log, and show it and its keys.",
        {
            "publish": Command("cli.log:publish", "Publish the events that wait."),
            "show": Command("cli.log:show", "Show how far the log is published, and its newest events."),
            "keys": Command("cli.log:keys", "Print the verifier keys of the log and its policy."),
            "rotate-key": Command("cli.log:rotate_key", "Sign the log with new keys from now on."),
        },
    ),
    "prove": Group(
        "Make proof files from the archive.",
        {
            "row": Command("cli.proofs:prove_row", "Prove that a row is in the archive, as it was archived."),
            "statement": Command(
                "cli.proofs:prove_statement", "Prove all rows of a wallet in a month, and that there are no others."
            ),
            "absence": Command(
                "cli.proofs:prove_absence", "Prove that a wallet has no rows in a month, or no row with an id."
            ),
        },
    ),
    "check-proof": Command("cli.proof_checks:check_proof", "Check a proof file."),
    "witness": Group(
        "Be a witness of public logs, on a machine of its own.",
        {
            "serve": Command("cli.witness:serve", "Cosign the checkpoints of public logs, until Ctrl-C."),
            "keys": Command("cli.witness:keys", "Print the witness's keys as lines of a policy."),
        },
    ),
    "health": Command("cli.health:health", "Check all components now."),
    "alert": Group(
        "List, acknowledge and resolve alerts, and test the notices.",
        {
            "list": Command("cli.alerts:list_", "List the open alerts: critical ones before warnings, newest first."),
            "acknowledge": Command("cli.alerts:acknowledge", "Acknowledge an alert, which stops its repeated notices."),
            "resolve": Command("cli.alerts:resolve", "Resolve an alert whose end nothing else shows."),
            "test": Command("cli.alerts:test", "Send a test notice to each target, and report the results."),
        },
    ),
    "suppliers": Group(
        "Test the suppliers' APIs and settle open purchases.",
        {
            "test": Command("cli.suppliers:test", "Test the API of each supplier with small purchases."),
            "settle": Command("cli.suppliers:settle", "Ask the suppliers for the outcome of open purchases."),
        },
    ),
    "statements": Group(
        "Take in and list supplier statements.",
        {
            "take-in": Command("cli.statements:take_in", "Take in the statement files of a supplier."),
            "none": Command("cli.statements:none", "Declare that a supplier sends no statement for a day."),
            "list": Command("cli.statements:list_", "List the supplier statements, newest first."),
        },
    ),
    "recon": Group(
        "Reconcile supplier statements with internal rows.",
        {
            "run": Command("cli.recon.runs:run", "Reconcile a supplier's days with its statements."),
            "runs": Command("cli.recon.runs:runs", "List the reconciliation runs, newest first."),
            "breaks": Command("cli.recon.breaks:breaks", "List breaks, by default those that wait for a decision."),
            "show": Command("cli.recon.breaks:show", "Show both sides of a break and its history."),
            "show-run": Command("cli.recon.runs:show_run", "Show the figures of a run and its inputs."),
            "replay": Command("cli.recon.runs:replay", "Compute a run again without writing, and compare the results."),
            "resolve": Command("cli.recon.breaks:resolve", "Record a decision on a break."),
            "settle": Command("cli.recon.breaks:settle", "Settle the unfinished internal row of a break."),
            "close-period": Command(
                "cli.recon.periods:close_period", "Propose to close a period, or confirm its closing."
            ),
            "periods": Command("cli.recon.periods:periods", "List the closed periods and the proposed ones."),
            "verify": Command(
                "cli.recon.verification:verify",
                "Verify the audit chain, its archived objects and the closed days.",
            ),
        },
    ),
    "verify": Command("cli.verify:verify", "Verify the archive and its public log."),
    "catalog": Group(
        "Rebuild PostgreSQL's catalogue of the archive.",
        {"rebuild": Command("cli.catalog:rebuild", "Write the catalogue of an empty database from the archive.")},
    ),
    "audit-kit": Command("cli.verify:audit_kit", "Write what an auditor needs to verify the archive elsewhere."),
    "watch": Group(
        "Evaluate the rules over stored transactions.",
        {"run": Command("cli.watch:run", "Evaluate the new transactions and raise alerts.")},
    ),
}
