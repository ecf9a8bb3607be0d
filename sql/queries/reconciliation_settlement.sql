-- Records of unfinished rows that the supplier statement has ended. What stores records gives how many there have to be,
-- and the numbers of those that PostgreSQL stored.

-- name: unlikely
-- Of the breaks given, those that no line was ever suggested for, or went elsewhere.
SELECT break_id FROM recon_breaks AS b
WHERE break_id = ANY(%(breaks)s::bigint[]) AND note = ''
  AND NOT EXISTS (SELECT FROM recon_resolutions AS x WHERE x.break_id = b.break_id AND x.decision = %(elsewhere)s::text)

-- name: note
-- Once a break, whatever its state.
WITH wanted AS (
    SELECT break_id FROM recon_breaks AS b
    WHERE (break_id = %(break_id)s::bigint OR supplier = %(supplier)s::text AND fingerprint = decode(%(fingerprint)s::text, 'hex'))
      AND NOT EXISTS (SELECT FROM recon_resolutions AS x WHERE x.break_id = b.break_id AND x.decision = %(decision)s::text)
), noted AS (
    INSERT INTO recon_resolutions (break_id, action, actor, decision, reason)
    SELECT break_id, 'noted', %(actor)s::text, %(decision)s::text, %(reason)s::text FROM wanted
    RETURNING resolution_id
)
SELECT (SELECT count(*) FROM wanted), array(SELECT resolution_id FROM noted ORDER BY resolution_id)

-- name: record
-- What became of the row, with its break. The break is over when that was all there was to it; whatever else is wrong
-- with it stays, and so does what was decided about it before.
WITH met AS (
    SELECT break_id, state IN ('open', 'proposed') AND issues IN (ARRAY['status'], ARRAY['missing_there']) AS over
    FROM recon_breaks
    WHERE break_id = %(break_id)s::bigint
       OR supplier = %(supplier)s::text AND fingerprint = decode(%(fingerprint)s::text, 'hex')
    FOR UPDATE
), ended AS (
    UPDATE recon_breaks AS b SET state = 'resolved' FROM met WHERE b.break_id = met.break_id AND met.over
), noted AS (
    INSERT INTO recon_resolutions (break_id, action, actor, decision, reason)
    SELECT break_id, CASE WHEN over THEN 'auto_resolved' ELSE 'noted' END, %(actor)s::text, %(decision)s::text,
           %(reason)s::text
    FROM met
    RETURNING resolution_id
)
SELECT (SELECT count(*) FROM met), array(SELECT resolution_id FROM noted ORDER BY resolution_id)
