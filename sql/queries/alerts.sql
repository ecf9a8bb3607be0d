-- Alerts and their notices. Each operation is one statement, so the API runs the same ones from its own pool.

-- name: raise
-- Opens the alert, or counts one more occurrence of the open one. An event that was counted before is not counted
-- again, also when the alert was resolved meanwhile: then there is no row. A higher severity ends the
-- acknowledgement and its notice is due at once. `opened` says whether this made the alert. Where three alerts of the same
-- cause were notified and resolved within an hour, the notice waits a quarter of an hour: see `resolve`.
INSERT INTO alerts (rule, subject, fingerprint, severity, title, what_to_do, evidence, event_ids,
                    first_seen, last_seen, next_notice_at)
SELECT %(rule)s, %(subject)s, %(fingerprint)s, %(severity)s, %(title)s, %(what_to_do)s, %(evidence)s::jsonb,
       ARRAY[%(event_id)s::text], %(at)s::timestamptz, %(at)s::timestamptz,
       %(at)s::timestamptz + CASE WHEN 3 <= (
           SELECT count(*) FROM alerts
           WHERE fingerprint = %(fingerprint)s AND state = 'resolved' AND notified_at IS NOT NULL
             AND resolved_at > %(at)s::timestamptz - interval '1 hour') THEN interval '15 minutes' ELSE interval '0' END
WHERE NOT EXISTS (
    SELECT FROM alerts
    WHERE fingerprint = %(fingerprint)s AND state = 'resolved' AND %(event_id)s = ANY (event_ids))
ON CONFLICT (fingerprint) WHERE state = 'open' DO UPDATE SET
    count = alerts.count + CASE WHEN excluded.event_ids <@ alerts.event_ids THEN 0 ELSE 1 END,
    event_ids = CASE WHEN excluded.event_ids <@ alerts.event_ids THEN alerts.event_ids
        ELSE alerts.event_ids[greatest(1, cardinality(alerts.event_ids) - 98):] || excluded.event_ids END,
    first_seen = least(alerts.first_seen, excluded.first_seen),
    last_seen = greatest(alerts.last_seen, excluded.last_seen),
    severity = excluded.severity,
    title = excluded.title,
    what_to_do = excluded.what_to_do,
    evidence = excluded.evidence,
    acknowledged_at = CASE WHEN alerts.severity = 'warning' AND excluded.severity = 'critical' THEN NULL
        ELSE alerts.acknowledged_at END,
    acknowledged_by = CASE WHEN alerts.severity = 'warning' AND excluded.severity = 'critical' THEN NULL
        ELSE alerts.acknowledged_by END,
    next_notice_at = CASE WHEN alerts.severity = 'warning' AND excluded.severity = 'critical'
        THEN excluded.next_notice_at ELSE alerts.next_notice_at END,
    notice_taken_by = CASE WHEN alerts.severity = 'warning' AND excluded.severity = 'critical' THEN '{}'
        ELSE alerts.notice_taken_by END
RETURNING alert_id, count, xmax = 0 AS opened

-- name: was_counted
-- Whether an event belongs to an alert that was resolved since: then `raise` gives no row.
SELECT EXISTS (
    SELECT FROM alerts
    WHERE fingerprint = %(fingerprint)s AND state = 'resolved' AND %(event_id)s = ANY (event_ids))

-- name: resolve
-- It is over. An occurrence that was seen later than `at` keeps the alert open. One that came and went while its first
-- notice waited has none at all.
UPDATE alerts
SET state = 'resolved', resolved_at = %(at)s,
    next_notice_at = CASE WHEN notified_at IS NULL AND next_notice_at = first_seen + interval '15 minutes' THEN NULL
        ELSE %(at)s::timestamptz END,
    notice_taken_by = '{}', notice_failures = 0
WHERE fingerprint = %(fingerprint)s AND state = 'open' AND last_seen <= %(at)s
RETURNING alert_id

-- name: resolve_quiet
-- Of rules that nobody resolves, because there is no moment at which they are over: what was not seen since `since` is.
UPDATE alerts
SET state = 'resolved', resolved_at = date_trunc('milliseconds', now()), next_notice_at = date_trunc('milliseconds', now()), notice_taken_by = '{}', notice_failures = 0
WHERE state = 'open' AND rule = ANY (%(rules)s) AND last_seen < %(since)s
RETURNING alert_id

-- name: close
-- A person says that it is over, and why. Raised again, the cause opens a new alert.
UPDATE alerts
SET state = 'resolved', resolved_at = %(at)s, next_notice_at = %(at)s, notice_taken_by = '{}', notice_failures = 0,
    closed_by = %(who)s, close_reason = %(reason)s
WHERE alert_id = %(alert_id)s AND state = 'open'
RETURNING alert_id

-- name: acknowledge
-- A person works on it: no more repeats of the notice. The first acknowledgement counts.
UPDATE alerts
SET acknowledged_at = now(), acknowledged_by = %(who)s
WHERE alert_id = %(alert_id)s AND state = 'open' AND acknowledged_at IS NULL
RETURNING alert_id

-- name: list
-- Newest first; NULL does not filter. `before` is the alert_id that a page goes on after.
SELECT alert_id, rule, subject, severity, title, what_to_do, evidence, first_seen, last_seen, count, state,
       resolved_at, acknowledged_at, acknowledged_by, notified_at, notice_error, closed_by, close_reason
FROM alerts
WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(rule)s::text IS NULL OR rule = %(rule)s)
  AND (%(severity)s::text IS NULL OR severity = %(severity)s)
  AND (%(before)s::bigint IS NULL OR alert_id < %(before)s)
ORDER BY alert_id DESC
LIMIT %(limit)s

-- name: count_by_rule
-- What a list of rules shows of each: how many are open, how many ever, the first and the last time.
SELECT rule, count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE acknowledged_at IS NOT NULL),
       count(*), min(first_seen), max(last_seen), sum(count)::bigint
FROM alerts
GROUP BY rule
ORDER BY rule

-- name: claim_notices
-- Takes the notices that are due, for as long as sending them may take: others pass them by. A sender that dies with them
-- in hand leaves them due again. A notice of something that was over a day ago is not sent any more.
UPDATE alerts SET next_notice_at = %(until)s
FROM (
    SELECT alert_id FROM alerts
    WHERE next_notice_at <= %(at)s AND severity = ANY (%(severities)s)
      AND (state = 'open' AND acknowledged_at IS NULL OR resolved_at > %(at)s::timestamptz - interval '1 day')
    ORDER BY severity = 'critical' DESC, next_notice_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED) AS due
WHERE alerts.alert_id = due.alert_id
RETURNING alerts.alert_id, rule, subject, severity, title, what_to_do, first_seen, last_seen, count, resolved_at,
          notified_at IS NOT NULL AS notified_before, notice_taken_by

-- name: settle_notice
-- Every target took it; the next is due when the schedule says, unless something changed while it was being sent.
UPDATE alerts
SET notified_at = %(at)s, notice_taken_by = '{}', notice_failures = 0, notice_error = NULL,
    next_notice_at = CASE WHEN next_notice_at = %(until)s THEN %(next)s::timestamptz ELSE next_notice_at END
WHERE alert_id = %(alert_id)s

-- name: fail_notice
-- Some target did not take it; those that did get it no second time when it is tried again.
UPDATE alerts
SET notice_failures = notice_failures + 1, notice_error = %(error)s,
    notice_taken_by = CASE WHEN next_notice_at = %(until)s THEN %(taken)s::text[] ELSE notice_taken_by END,
    next_notice_at = CASE WHEN next_notice_at = %(until)s THEN %(next)s::timestamptz ELSE next_notice_at END
WHERE alert_id = %(alert_id)s

-- name: failing_notices
-- How many alerts have a notice that some target did not take at the last try, and what the newest one failed with.
SELECT count(*) OVER (), notice_error FROM alerts
WHERE notice_failures > 0 AND (state = 'open' AND acknowledged_at IS NULL OR resolved_at > now() - interval '1 day')
ORDER BY alert_id DESC
LIMIT 1

-- name: notified_elsewhere
-- The notice of an alert that could not be stored when it was sent: the schedule goes on from then.
UPDATE alerts SET notified_at = %(at)s, next_notice_at = %(next)s, notice_taken_by = '{}'
WHERE alert_id = %(alert_id)s

-- name: forget_events
-- Takes events out of alerts, and the evidence where it is of one of them: where it has what is said of the event.
UPDATE alerts a
SET event_ids = ARRAY(SELECT event_id FROM unnest(a.event_ids) WITH ORDINALITY AS known (event_id, place)
                      WHERE event_id <> ALL (gone.events) ORDER BY place),
    evidence = CASE WHEN EXISTS (SELECT FROM unnest(gone.evidence) AS said WHERE a.evidence @> said) THEN '{}'
        ELSE a.evidence END
FROM (
    SELECT fingerprint, array_agg(event_id) AS events, array_agg(evidence::jsonb) AS evidence
    FROM unnest(%(fingerprints)s::bytea[], %(events)s::text[], %(evidence)s::text[]) AS g (fingerprint, event_id, evidence)
    GROUP BY fingerprint
) AS gone
WHERE a.fingerprint = gone.fingerprint AND a.event_ids && gone.events

-- name: forget_alerts
-- Those of which no event is known any more.
DELETE FROM alerts WHERE fingerprint = ANY (%(fingerprints)s::bytea[]) AND event_ids = '{}'

-- name: forget_subjects
-- Of an alert that many subjects share: whom it was about, where it was last seen within a stretch of time.
UPDATE alerts SET evidence = evidence - 'subjects'
WHERE subject = %(subject)s AND last_seen >= %(lower)s AND last_seen < %(upper)s
