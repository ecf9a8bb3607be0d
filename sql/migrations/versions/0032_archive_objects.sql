-- The objects of the archived parts of months, one row an object: the one place that knows which columns of archive_months
-- name them. `kind` is `ledger.archive_objects.ObjectKind`; `place` is its order in an event of the public log, and the
-- manifest, which the event names beside them, is the last. Only the SHA-256 of a manifest is known, not its size.
CREATE VIEW archive_objects AS
SELECT m.table_name, m.month, m.part, m.tier, o.place, o.kind, o.object_key, o.size_bytes, o.sha256
FROM archive_months m
CROSS JOIN LATERAL (VALUES
    (1, 'rows', m.object_key, m.object_bytes, m.object_sha256),
    (2, 'tree', m.tree ->> 'key', (m.tree ->> 'size_bytes')::bigint, decode(m.tree ->> 'sha256', 'hex')),
    (3, 'lookup', m.lookup ->> 'key', (m.lookup ->> 'size_bytes')::bigint, decode(m.lookup ->> 'sha256', 'hex')),
    (4, 'proofs', m.kept #>> '{proofs,key}', (m.kept #>> '{proofs,size_bytes}')::bigint,
        decode(m.kept #>> '{proofs,sha256}', 'hex')),
    (5, 'manifest', m.manifest_key, NULL::bigint, m.manifest_sha256)
) AS o (place, kind, object_key, size_bytes, sha256)
WHERE m.tier IN ('cold', 'deep') AND o.object_key IS NOT NULL;
