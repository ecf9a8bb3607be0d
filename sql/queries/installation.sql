-- The installation: the one row that says which database this is, and what the archive's marker may hold.

-- name: may_read_control
SELECT has_function_privilege('pg_control_system()', 'EXECUTE')

-- name: system_identifier
SELECT system_identifier::text FROM pg_control_system()

-- name: database_oid
SELECT oid::bigint FROM pg_database WHERE datname = current_database()

-- name: lock
-- For the session: the archive is asked meanwhile, which no transaction should wait for.
SELECT pg_advisory_lock(hashtextextended('treasury installation', 7305824))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('treasury installation', 7305824))

-- name: current
SELECT installation_id, incarnation, system_identifier, database_oid,
       array_remove(token || intended, NULL), location, confirmed_at
FROM installation

-- name: make
INSERT INTO installation (installation_id, system_identifier, database_oid)
VALUES (%(installation_id)s, %(system_identifier)s, %(database_oid)s)
ON CONFLICT DO NOTHING

-- name: intend
-- Of earlier tokens that were never confirmed the newest few stay: an upload of theirs may still be on its way.
UPDATE installation
SET intended = array_append(intended[greatest(1, cardinality(intended) - 6):], %(token)s::uuid)
WHERE (installation_id, incarnation) = (%(installation_id)s, %(incarnation)s)

-- name: confirm
UPDATE installation
SET token = %(token)s, intended = array_remove(intended, %(token)s::uuid), location = %(location)s,
    system_identifier = coalesce(%(system_identifier)s, system_identifier), confirmed_at = now()
WHERE (installation_id, incarnation) = (%(installation_id)s, %(incarnation)s)

-- name: become
-- The row of a database that takes an archive over, or becomes an installation of its own.
INSERT INTO installation (installation_id, incarnation, system_identifier, database_oid, intended)
VALUES (%(installation_id)s, %(incarnation)s, %(system_identifier)s, %(database_oid)s, ARRAY[%(token)s::uuid])
ON CONFLICT (only_one) DO UPDATE
SET installation_id = excluded.installation_id, incarnation = excluded.incarnation,
    system_identifier = excluded.system_identifier, database_oid = excluded.database_oid, token = NULL,
    intended = excluded.intended, location = NULL, confirmed_at = NULL

-- name: add_event
INSERT INTO installation_events (installation_id, incarnation, event, detail)
VALUES (%(installation_id)s, %(incarnation)s, %(event)s, %(detail)s)

-- name: events
SELECT happened_at, installation_id, incarnation, event, detail FROM installation_events ORDER BY event_id

-- name: known_objects
-- Objects that the catalogue says are in the archive, with their SHA-256: the newest and the oldest few of each kind.
SELECT object_key, sha256
FROM (
    (SELECT manifest_key AS object_key, manifest_sha256 AS sha256 FROM archive_months
     WHERE tier NOT IN ('hot', 'warm', 'deleted') ORDER BY cold_at DESC LIMIT 3)
    UNION
    (SELECT manifest_key, manifest_sha256 FROM archive_months
     WHERE tier NOT IN ('hot', 'warm', 'deleted') ORDER BY cold_at LIMIT 3)
    UNION
    (SELECT object_key, object_sha256 FROM statement_files
     WHERE object_key IS NOT NULL ORDER BY file_id DESC LIMIT 3)
    UNION
    (SELECT figures -> 'inputs' ->> 'key', decode(figures -> 'inputs' ->> 'sha256', 'hex') FROM recon_runs
     WHERE figures -> 'inputs' ->> 'key' IS NOT NULL ORDER BY run_id DESC LIMIT 3)
) AS known
ORDER BY object_key

-- name: former_manifests
-- As above, of months that went back to warm.
SELECT object_key, sha256 FROM former_objects
WHERE kind = 'manifest' AND certificate IS NULL ORDER BY return_id DESC LIMIT 3

-- name: own_uploads
-- Of the given keys those that this database recorded before their upload.
SELECT object_key FROM archive_uploads WHERE object_key = ANY(%(keys)s::text[])

-- name: kept_uploads
SELECT count(*) FROM archive_uploads WHERE state = 'kept'
