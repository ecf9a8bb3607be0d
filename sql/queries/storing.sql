-- What can come between a row that is sent and the row that is stored.

-- name: alterers
-- Triggers that run before a row is stored or in its place (tgtype: 1 each row, 2 before, 4 INSERT, 16 UPDATE, 64 instead
-- of) and are enabled, and rules that take the place of a statement; without this project's own. Each is named once,
-- where it was made: PostgreSQL gives every partition a copy of its parent's triggers.
SELECT format('trigger %%I on %%s', t.tgname, t.tgrelid::regclass)
FROM pg_trigger t
WHERE t.tgrelid IN (SELECT oid FROM unnest(%(parents)s::oid[]) AS p(oid)
                    UNION SELECT below.relid FROM unnest(%(parents)s::oid[]) AS p(oid), pg_partition_tree(p.oid) AS below)
  AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D'
  AND t.tgtype & 1 = 1 AND t.tgtype & 66 <> 0 AND t.tgtype & 20 <> 0
  AND t.tgfoid NOT IN (SELECT oid FROM pg_proc WHERE proname IN ('treasury_guard_history', 'treasury_refuse_sealed', 'treasury_guard_period')
                       AND pronamespace = current_schema()::regnamespace)
UNION ALL
SELECT format('rule %%I on %%s', r.rulename, r.ev_class::regclass)
FROM pg_rewrite r
WHERE r.ev_class = ANY(%(parents)s::oid[]) AND r.ev_type IN ('2', '3') AND r.ev_enabled <> 'D' AND r.is_instead
ORDER BY 1
