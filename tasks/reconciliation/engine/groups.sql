-- What belongs together though it is not one line and one row: reversals, parts, payouts. Run by DuckDB; the tables and
-- the words are those of matching.sql.

-- name: create_attached
-- Lines that belong to another line of the statement, and with it to whatever that is matched with. 'reversal' takes it
-- back, 'attempt' would have and failed, 'split' is a part of one internal row.
CREATE TABLE attached (line_no BIGINT, main_no BIGINT, kind VARCHAR, value DECIMAL(18,2), amount DECIMAL(18,2),
                       commission DECIMAL(18,4))

-- name: create_attached_own
-- The same for internal rows: `line_no` is the line that the main row is matched with.
CREATE TABLE attached_own (own_id UUID, main_id UUID, line_no BIGINT, kind VARCHAR, value DECIMAL(18,2),
                           amount DECIMAL(18,2), commission DECIMAL(18,4))

-- name: create_line_note
-- What is known of a line that stays open, for the people who look at it.
CREATE TABLE line_note (line_no BIGINT, note VARCHAR)

-- name: create_payout_cover
-- Payout lines over entries of the same statement: money that is counted by the entries already.
CREATE TABLE payout_cover (line_no BIGINT, entries BIGINT, total DECIMAL(38,4))

-- name: create_unfolded
CREATE TABLE unfolded (line_no BIGINT, main_no BIGINT)

-- name: find_unfolded
-- A statement that calls a line reversed, and takes it back by a line of its own as well, lists one event twice. It is
-- counted once: the line counts as sold, the other one takes it back.
INSERT INTO unfolded
WITH backs AS (
    SELECT line_no, {key} AS key, currency, amount,
           row_number() OVER (PARTITION BY {key}, currency, amount ORDER BY at_ms, line_no) AS nth
    FROM line WHERE side = 'refund' AND status = 'completed' AND NOT carried AND {key} IS NOT NULL
      AND line_no NOT IN (SELECT line_no FROM unfolded)
), mains AS (
    SELECT line_no AS main_no, {key} AS key, currency, amount,
           row_number() OVER (PARTITION BY {key}, currency, amount ORDER BY at_ms, line_no) AS nth
    FROM line WHERE side = 'purchase' AND status = 'reversed' AND NOT carried
      AND line_no NOT IN (SELECT main_no FROM unfolded)
)
SELECT line_no, main_no FROM backs JOIN mains USING (key, currency, amount, nth)

-- name: unfold_reversed
UPDATE line SET status = 'completed', value = signed, marked_reversed = true
WHERE line_no IN (SELECT main_no FROM unfolded)

-- name: attach_reversals
-- A completed reversal takes back a completed line of its statement; first one that was called reversed as well.
INSERT INTO attached
WITH backs AS (
    SELECT line_no, {key} AS key, currency, amount, value, commission,
           row_number() OVER (PARTITION BY {key}, currency, amount ORDER BY at_ms, line_no) AS nth
    FROM open_line WHERE side = 'refund' AND status = 'completed' AND NOT carried AND {key} IS NOT NULL
), mains AS (
    SELECT line_no AS main_no, {key} AS key, currency, amount,
           row_number() OVER (PARTITION BY {key}, currency, amount ORDER BY marked_reversed DESC, at_ms, line_no) AS nth
    FROM line
    WHERE side = 'purchase' AND status = 'completed' AND NOT carried AND {key} IN (SELECT key FROM backs)
      AND line_no NOT IN (SELECT main_no FROM attached)
)
SELECT line_no, main_no, 'reversal', value, amount, commission FROM backs JOIN mains USING (key, currency, amount, nth)

-- name: attach_attempts
-- A reversal that failed, or was itself undone, moved nothing: it belongs to its line and changes nothing about it.
INSERT INTO attached
SELECT b.line_no, min(m.line_no), 'attempt', 0, b.amount, 0
FROM open_line AS b JOIN line AS m ON m.{key} = b.{key} AND m.currency = b.currency AND m.amount = b.amount
WHERE b.side = 'refund' AND b.status IN ('failed', 'reversed') AND NOT b.carried
  AND m.side = 'purchase' AND NOT m.carried AND m.line_no NOT IN (SELECT line_no FROM attached)
GROUP BY b.line_no, b.amount

-- name: attach_own_reversals
-- With us a reversal is a row of its own. Where the supplier only changes the status of its line, purchase and refund
-- together are what the line says. The refund is known by any identifier that it shares with the purchase.
INSERT INTO attached_own
WITH mains AS (
    SELECT p.line_no, o.own_id AS main_id, o.currency, o.amount, o.at_ms,
           list_distinct([o.supplier_id, o.reference, o.supplier_reference]) AS keys
    FROM pair AS p JOIN line AS l USING (line_no) JOIN own AS o USING (own_id)
    WHERE l.status = 'reversed' AND l.side = 'purchase' AND o.side = 'purchase' AND o.status = 'completed'
      AND p.method <> 'payout'
), backs AS (
    SELECT own_id, currency, amount, value, commission, at_ms,
           list_distinct([supplier_id, reference, supplier_reference]) AS keys
    FROM open_own WHERE side = 'refund' AND status = 'completed'
), shared AS (
    SELECT DISTINCT m.line_no, m.main_id, m.at_ms AS main_at_ms, b.own_id, b.at_ms, b.value, b.amount, b.commission
    FROM (SELECT *, unnest(keys) AS key FROM mains) AS m
    JOIN (SELECT *, unnest(keys) AS key FROM backs) AS b USING (key, currency, amount)
    WHERE b.at_ms >= m.at_ms
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY main_id ORDER BY at_ms, own_id) AS of_main,
           row_number() OVER (PARTITION BY own_id ORDER BY main_at_ms, main_id) AS of_back
    FROM shared
)
SELECT own_id, main_id, line_no, 'reversal', value, amount, commission FROM ranked WHERE of_main = of_back
QUALIFY row_number() OVER (PARTITION BY own_id ORDER BY of_main) = 1
    AND row_number() OVER (PARTITION BY main_id ORDER BY of_main) = 1

-- name: match_late_reversals
-- A reversal of a purchase that another day's statement held: where the internal row was reversed, it is that row's.
INSERT INTO pair
WITH backs AS (
    SELECT line_no, {line_key} AS key, currency, amount,
           row_number() OVER (PARTITION BY {line_key}, currency, amount ORDER BY at_ms, line_no) AS nth
    FROM open_line WHERE side = 'refund' AND status = 'completed' AND NOT carried AND {line_key} IS NOT NULL
), mains AS (
    SELECT own_id, {own_key} AS key, currency, amount,
           row_number() OVER (PARTITION BY {own_key}, currency, amount ORDER BY at_ms, own_id) AS nth
    FROM own
    WHERE taken AND NOT in_period AND side = 'purchase' AND status = 'reversed' AND {own_key} IS NOT NULL
      AND own_id NOT IN (SELECT own_id FROM pair)
)
SELECT line_no, own_id, 'late_reversal', 1 FROM backs JOIN mains USING (key, currency, amount, nth)

-- name: note_late_reversals
-- Where the internal row was not, the reversal is something that we do not have; the break shows what it takes back.
INSERT INTO line_note
SELECT b.line_no, 'takes back our row ' || min(o.own_id::VARCHAR) || ' of ' || min(o.day)::VARCHAR
FROM open_line AS b JOIN own AS o ON o.{own_key} = b.{line_key} AND o.currency = b.currency AND o.amount = b.amount
WHERE b.side = 'refund' AND b.status = 'completed' AND NOT b.carried AND o.taken AND o.side = 'purchase'
  AND b.line_no NOT IN (SELECT line_no FROM line_note)
GROUP BY b.line_no

-- name: match_split_lines
-- Several lines that are, to the cent, the only internal row under their reference. The earliest is matched, the others are
-- attached to it below. None of them may be some other row's by the supplier's id.
INSERT INTO pair
WITH part AS (
    SELECT line_no, {line_key} AS key, currency, side, status, amount, at_ms, supplier_id
    FROM open_line WHERE {line_key} IS NOT NULL AND side <> 'payout' AND NOT carried
), several AS (
    SELECT key, currency, side, status, sum(amount) AS amount FROM part
    GROUP BY ALL HAVING count(*) BETWEEN 2 AND getvariable('split_parts') AND min(amount) > 0
), whole AS (
    SELECT {own_key} AS key, currency, side, any_value(own_id) AS own_id, any_value(status) AS status,
           any_value(amount) AS amount
    FROM open_own WHERE {own_key} IS NOT NULL GROUP BY {own_key}, currency, side HAVING count(*) = 1
), fit AS (
    SELECT p.*, w.own_id FROM whole AS w JOIN several USING (key, currency, side, status, amount)
    JOIN part AS p USING (key, currency, side, status)
), other AS (
    SELECT f.own_id FROM fit AS f JOIN own AS o ON o.supplier_id = f.supplier_id AND o.own_id <> f.own_id
)
SELECT arg_min(line_no, (at_ms, line_no)), own_id, 'split', 1 FROM fit
WHERE own_id NOT IN (SELECT own_id FROM other)
GROUP BY own_id

-- name: attach_split_lines
INSERT INTO attached
SELECT l.line_no, m.line_no, 'split', l.value, l.amount, l.commission
FROM pair AS p JOIN line AS m USING (line_no)
JOIN open_line AS l ON l.{line_key} = m.{line_key} AND l.currency = m.currency AND l.side = m.side AND l.status = m.status
WHERE p.method = 'split' AND NOT l.carried AND m.line_no NOT IN (SELECT main_no FROM attached)
  AND p.own_id NOT IN (SELECT main_id FROM attached_own)

-- name: match_split_rows
-- The other way round: several internal rows that are the only line under their reference.
INSERT INTO pair
WITH part AS (
    SELECT own_id, {own_key} AS key, currency, side, status, amount, at_ms, supplier_id
    FROM open_own WHERE {own_key} IS NOT NULL
), several AS (
    SELECT key, currency, side, status, sum(amount) AS amount FROM part
    GROUP BY ALL HAVING count(*) BETWEEN 2 AND getvariable('split_parts') AND min(amount) > 0
), whole AS (
    SELECT {line_key} AS key, currency, side, any_value(line_no) AS line_no, any_value(status) AS status,
           any_value(amount) AS amount
    FROM open_line WHERE {line_key} IS NOT NULL AND side <> 'payout' AND NOT carried
    GROUP BY {line_key}, currency, side HAVING count(*) = 1
), fit AS (
    SELECT p.*, w.line_no FROM whole AS w JOIN several USING (key, currency, side, status, amount)
    JOIN part AS p USING (key, currency, side, status)
), other AS (
    SELECT f.line_no FROM fit AS f JOIN line AS l ON l.supplier_id = f.supplier_id AND l.line_no <> f.line_no
)
SELECT line_no, arg_min(own_id, (at_ms, own_id)), 'split', 1 FROM fit
WHERE line_no NOT IN (SELECT line_no FROM other)
GROUP BY line_no

-- name: attach_split_rows
INSERT INTO attached_own
SELECT o.own_id, m.own_id, p.line_no, 'split', o.value, o.amount, o.commission
FROM pair AS p JOIN own AS m USING (own_id)
JOIN open_own AS o ON o.{own_key} = m.{own_key} AND o.currency = m.currency AND o.side = m.side AND o.status = m.status
WHERE p.method = 'split' AND m.own_id NOT IN (SELECT main_id FROM attached_own)
  AND p.line_no NOT IN (SELECT main_no FROM attached)

-- name: cover_payouts
-- A payout over entries of the same statement: their net amounts, or else their values, add up to it.
INSERT INTO payout_cover
SELECT p.line_no, count(*), CASE WHEN sum(e.value) = p.signed THEN sum(e.value)
                                 ELSE sum(CASE WHEN e.value <> 0 THEN coalesce(e.net, e.value) ELSE 0 END) END
FROM line AS p JOIN line AS e ON e.payout_reference = p.payout_reference AND e.currency = p.currency AND e.side <> 'payout'
WHERE p.side = 'payout' AND NOT p.carried AND NOT e.carried
GROUP BY p.line_no, p.signed

-- name: uncount_payouts
UPDATE line SET value = 0 WHERE line_no IN (SELECT line_no FROM payout_cover)

-- name: match_payouts
-- One payout line covers many internal rows that carry its reference.
INSERT INTO pair
WITH payout AS (
    SELECT any_value(line_no) AS line_no, payout_reference, currency
    FROM open_line
    WHERE side = 'payout' AND payout_reference IS NOT NULL AND line_no NOT IN (SELECT line_no FROM payout_cover)
    GROUP BY payout_reference, currency HAVING count(*) = 1
)
SELECT p.line_no, o.own_id, 'payout', 1
FROM payout AS p JOIN open_own AS o
  ON o.currency = p.currency AND p.payout_reference IN (o.supplier_reference, o.reference, o.supplier_id)
WHERE o.own_id NOT IN (SELECT own_id FROM duplicate_own)

-- name: suggest_payouts
-- A payout without a known reference that is, to the cent, all that is left of a day: likely, and for a person to say.
INSERT INTO suggestion
WITH payout AS (
    SELECT any_value(line_no) AS line_no, currency, signed
    FROM open_line WHERE side = 'payout' AND line_no NOT IN (SELECT line_no FROM payout_cover)
    GROUP BY currency, signed HAVING count(*) = 1
), days AS (
    SELECT day, currency, sum(value) AS total FROM open_own WHERE value <> 0 GROUP BY day, currency HAVING count(*) > 1
), likely AS (
    SELECT any_value(p.line_no) AS line_no, any_value(d.day) AS day, currency
    FROM payout AS p JOIN days AS d USING (currency) WHERE d.total = p.signed
    GROUP BY p.line_no, currency HAVING count(*) = 1
)
SELECT p.line_no, o.own_id, 'payout', 0
FROM likely AS p JOIN open_own AS o ON o.day = p.day AND o.currency = p.currency AND o.value <> 0

-- name: open_payouts
-- Payouts that nothing is known of yet, the first ones; what any of the few rows left over may add up to.
SELECT line_no, currency, (signed * 100)::BIGINT AS cents
FROM open_line
WHERE side = 'payout' AND status = 'completed' AND NOT carried AND line_no NOT IN (SELECT line_no FROM payout_cover)
  AND line_no NOT IN (SELECT line_no FROM suggestion)
ORDER BY line_no
LIMIT getvariable('payout_lines')

-- name: rows_left
-- The internal rows that a payout may cover, at most one more than are looked at, so that it is seen that there are too many.
SELECT own_id::VARCHAR AS own_id, currency, (value * 100)::BIGINT AS cents,
       ((value - commission) * 100)::BIGINT AS net_cents
FROM open_own
WHERE value <> 0 AND own_id NOT IN (SELECT own_id FROM duplicate_own) AND own_id NOT IN (SELECT own_id FROM suggestion)
QUALIFY row_number() OVER (PARTITION BY currency ORDER BY at_ms, own_id) <= getvariable('payout_rows') + 1
ORDER BY at_ms, own_id

-- name: add_payout_suggestions
INSERT INTO suggestion SELECT line_no, own_id::UUID, 'payout', 0 FROM covered

-- name: add_payout_notes
INSERT INTO line_note SELECT line_no, note FROM noted
