"""Alembic's environment: runs the numbered .sql files on the connection that `sql.migrate` hands over."""

from alembic import context

connection, schema = (context.config.attributes[name] for name in ("connection", "schema"))
context.configure(connection=connection, version_table_schema=schema, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
