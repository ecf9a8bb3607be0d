-- The check of the object store. See tasks/storage_check/.

-- name: lock
-- For the session: one check tries the store at a time, because each removes the canaries of all.
SELECT pg_try_advisory_lock(hashtextextended('treasury storage check', 7305824))

-- name: unlock
SELECT pg_advisory_unlock(hashtextextended('treasury storage check', 7305824))
