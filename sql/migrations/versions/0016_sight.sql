-- A writer chooses the search path that a trigger function runs with: one that names a schema before pg_catalog could put
-- another to_jsonb() or = in the place of PostgreSQL's own, and get by the guards.
ALTER FUNCTION treasury_guard_history() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION treasury_refuse_sealed() SET search_path = pg_catalog, pg_temp;
