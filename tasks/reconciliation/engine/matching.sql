-- Matching and classifying a supplier's day. Run by DuckDB, not by PostgreSQL: set-based, over two tables in memory.
-- Figures come as variables (getvariable), so that the text is fixed. Times are milliseconds since 1970 UTC, days are
-- Africa/Johannesburg days. `side` keeps purchases, refunds and payouts apart; `amount` has no sign, `signed`, `commission`,
-- `fee` and `net` are less than nothing for a refund, whichever way it is written; `value` is the money that really moved: what
-- is signed of a completed transaction, 0 for everything else.

-- name: create_line
-- The statement's lines, then lines of earlier days that are still open (carried, with negative numbers).
CREATE TABLE line AS
WITH listed AS (
    SELECT line_no::BIGINT AS line_no, nullif(supplier_transaction_id, '') AS supplier_id,
           nullif(reference, '') AS reference, kind, status::compared_status AS status,
           epoch_ms(occurred_at) AS at_ms, settlement_date AS day,
           CASE WHEN list_contains(getvariable('vas_types'), lower(vas_type)) THEN lower(vas_type) END AS vas_type,
           nullif(product_code, '') AS product_code, product_name, currency, amount, commission, fee, net,
           nullif(payout_reference, '') AS payout_reference, false AS carried
    FROM statement
    UNION ALL BY NAME
    SELECT * FROM carried_line
), sided AS (
    SELECT *, CASE WHEN kind = 'payout' THEN 'payout' WHEN kind IN ('reversal', 'refund') OR amount < 0 THEN 'refund'
                   ELSE 'purchase' END AS side
    FROM listed
)
SELECT * REPLACE (abs(amount)::DECIMAL(18,2) AS amount,
                  (CASE WHEN side = 'refund' THEN -abs(commission) ELSE commission END)::DECIMAL(18,4) AS commission,
                  (CASE WHEN side = 'refund' THEN -abs(fee) ELSE fee END)::DECIMAL(18,4) AS fee,
                  (CASE WHEN side = 'refund' THEN -abs(net) ELSE net END)::DECIMAL(18,4) AS net),
       (CASE WHEN side = 'refund' THEN -abs(amount) ELSE amount END)::DECIMAL(18,2) AS signed,
       (CASE WHEN status <> 'completed' THEN 0 WHEN side = 'refund' THEN -abs(amount) ELSE amount END
       )::DECIMAL(18,2) AS value,
       false AS marked_reversed
FROM sided

-- name: create_own
-- The internal rows of the day, of the margin either side, and of earlier days whose breaks are still open.
CREATE TABLE own AS
SELECT DISTINCT ON (r.id) r.id AS own_id, epoch_ms(r.created_at) AS at_ms,
       DATE '1970-01-01' + ((epoch_ms(r.created_at) + getvariable('day_offset_ms')) // 86400000)::INTEGER AS day,
       nullif(r.supplier_transaction_id, '') AS supplier_id, nullif(r.reference, '') AS reference,
       nullif(r.supplier_reference, '') AS supplier_reference, nullif(r.supplier_product_id, '') AS product_code,
       r.vas_type, r.currency, r.amount::DECIMAL(18,2) AS amount,
       (CASE WHEN r.type = 'refund' THEN -abs(r.commission) ELSE r.commission END)::DECIMAL(18,2) AS commission,
       r.status AS raw_status, m.compared AS status,
       CASE WHEN r.type = 'refund' THEN 'refund' ELSE 'purchase' END AS side,
       (CASE WHEN m.compared <> 'completed' THEN 0 WHEN r.type = 'refund' THEN -r.amount ELSE r.amount END
       )::DECIMAL(18,2) AS value,
       DATE '1970-01-01' + ((epoch_ms(r.created_at) + getvariable('day_offset_ms')) // 86400000)::INTEGER
           = getvariable('day') AS in_period,
       r.id IN (SELECT own_id FROM taken_own) AS taken
FROM own_rows AS r JOIN own_status AS m ON m.raw = r.status

-- name: create_results
CREATE TABLE pair (line_no BIGINT, own_id UUID, method VARCHAR, score DECIMAL(5,4))

-- name: create_suggestion
CREATE TABLE suggestion (line_no BIGINT, own_id UUID, method VARCHAR, score DECIMAL(5,4))

-- name: create_duplicates
CREATE TABLE duplicate_line (line_no BIGINT)

-- name: create_duplicate_own
CREATE TABLE duplicate_own (own_id UUID)

-- name: create_open_line
CREATE VIEW open_line AS
SELECT * FROM line
WHERE line_no NOT IN (SELECT line_no FROM pair) AND line_no NOT IN (SELECT line_no FROM attached)

-- name: create_open_own
CREATE VIEW open_own AS
SELECT * FROM own
WHERE NOT taken AND own_id NOT IN (SELECT own_id FROM pair) AND own_id NOT IN (SELECT own_id FROM attached_own)

-- name: create_covered_own
-- Every internal row that belongs to a line, and why.
CREATE VIEW covered_own AS
SELECT line_no, own_id, method, score FROM pair
UNION ALL
SELECT line_no, own_id, kind, 1 FROM attached_own

-- name: match_key
-- One to one on a key and what else is asked for; where several are equal, in the order of time.
INSERT INTO pair
WITH theirs AS (
    SELECT line_no, {line_key} AS key, currency, side, amount, status,
           row_number() OVER (PARTITION BY {line_key}, currency, side {also} ORDER BY at_ms, line_no) AS nth
    FROM open_line WHERE {line_key} IS NOT NULL AND side <> 'payout'
), ours AS (
    SELECT own_id, {own_key} AS key, currency, side, amount, status,
           row_number() OVER (PARTITION BY {own_key}, currency, side {also} ORDER BY at_ms, own_id) AS nth
    FROM open_own WHERE {own_key} IS NOT NULL
)
SELECT line_no, own_id, '{method}', 1 FROM theirs JOIN ours USING (key, currency, side, nth {also})

-- name: match_lone_key
-- What is left of a key is matched whatever its amount, where each side has one left and no more.
INSERT INTO pair
WITH theirs AS (
    SELECT min(line_no) AS line_no, {line_key} AS key, currency, side
    FROM open_line WHERE {line_key} IS NOT NULL AND side <> 'payout' GROUP BY ALL HAVING count(*) = 1
), ours AS (
    SELECT any_value(own_id) AS own_id, {own_key} AS key, currency, side
    FROM open_own WHERE {own_key} IS NOT NULL GROUP BY ALL HAVING count(*) = 1
)
SELECT line_no, own_id, '{method}', 1 FROM theirs JOIN ours USING (key, currency, side)

-- name: find_duplicate_lines
-- An open line whose transaction was matched already, by another line or on another day. A reversal that repeats its
-- purchase's identifiers is not the purchase again.
INSERT INTO duplicate_line
WITH used AS (
    SELECT supplier_id, reference, currency, side, amount FROM line
    WHERE line_no IN (SELECT line_no FROM pair) OR line_no IN (SELECT line_no FROM attached)
    UNION ALL
    SELECT supplier_id, reference, currency, side, amount FROM own WHERE taken
)
SELECT line_no FROM open_line AS l
WHERE side <> 'payout' AND NOT carried
  AND (EXISTS (SELECT 1 FROM used AS u WHERE u.supplier_id = l.supplier_id AND u.side = l.side)
       OR EXISTS (SELECT 1 FROM used AS u WHERE u.reference = l.reference AND u.currency = l.currency
                  AND u.side = l.side AND u.amount = l.amount))

-- name: find_duplicate_own
-- An unfinished internal row whose transaction was matched already. A reference that many rows share identifies none.
INSERT INTO duplicate_own
WITH used AS (
    SELECT supplier_id, reference, currency, side, amount FROM own
    WHERE own_id IN (SELECT own_id FROM pair) OR own_id IN (SELECT own_id FROM attached_own)
), rare AS (
    SELECT reference FROM own WHERE reference IN (SELECT reference FROM open_own)
    GROUP BY reference HAVING count(*) <= 3
)
SELECT own_id FROM open_own AS o
WHERE in_period AND status <> 'failed'
  AND (EXISTS (SELECT 1 FROM used AS u WHERE u.supplier_id = o.supplier_id AND u.side = o.side)
       OR reference IN (SELECT reference FROM rare)
          AND EXISTS (SELECT 1 FROM used AS u WHERE u.reference = o.reference AND u.currency = o.currency
                      AND u.side = o.side AND u.amount = o.amount))

-- name: create_loose_line
-- Lines for scoring. `identity` says which identifiers a row has: two rows that both have one, and differ in it, are
-- not the same, however alike they are; they are only ever suggested.
CREATE TABLE loose_line AS
SELECT line_no, at_ms, currency, side, vas_type, product_code, amount,
       (supplier_id IS NOT NULL)::INTEGER + 2 * (reference IS NOT NULL)::INTEGER AS identity,
       floor(amount / getvariable('amount_reach'))::BIGINT AS bucket
FROM open_line
WHERE side <> 'payout' AND line_no NOT IN (SELECT line_no FROM duplicate_line)
  AND line_no NOT IN (SELECT line_no FROM suggestion)

-- name: create_loose_own
CREATE TABLE loose_own AS
SELECT own_id, at_ms, currency, side, vas_type, product_code, amount,
       (supplier_id IS NOT NULL)::INTEGER
           + 2 * (reference IS NOT NULL OR supplier_reference IS NOT NULL)::INTEGER AS identity,
       floor(amount / getvariable('amount_reach'))::BIGINT AS bucket,
       row_number() OVER (ORDER BY own_id) AS own_no
FROM open_own
WHERE own_id NOT IN (SELECT own_id FROM duplicate_own) AND own_id NOT IN (SELECT own_id FROM suggestion)

-- name: count_loose
SELECT (SELECT count(*) FROM loose_line), (SELECT count(*) FROM loose_own)

-- name: score_candidates
-- Each line with the rows nearest to it in time, either way, within blocks of currency, side, product and amount. The
-- blocks are sorted once and looked up by place, so the work grows with the lines, not with lines times rows.
WITH placed AS (
    SELECT *, row_number() OVER (ORDER BY currency, side, {product}, identity, bucket, at_ms, own_no) AS place,
           {product} AS block_product
    FROM loose_own WHERE {own_filter}
), block AS (
    SELECT currency, side, block_product, identity, bucket, min(place) AS first_place, max(place) AS last_place
    FROM placed GROUP BY ALL
), probe AS (
    SELECT l.*, l.bucket + step AS wanted_bucket, b.first_place, b.last_place, b.identity AS wanted_identity,
           b.block_product
    FROM loose_line AS l, unnest([-1, 0, 1]) AS steps(step)
    JOIN block AS b ON b.currency = l.currency AND b.side = l.side AND b.bucket = l.bucket + step
         AND b.block_product = {line_product} AND ((b.identity & l.identity) <> 0) = {contradicting}
    WHERE {line_filter}
), found AS (
    SELECT p.*, coalesce(o.place, p.first_place - 1) AS before
    FROM probe AS p ASOF LEFT JOIN placed AS o
      ON o.currency = p.currency AND o.side = p.side AND o.block_product = p.block_product
     AND o.identity = p.wanted_identity AND o.bucket = p.wanted_bucket AND p.at_ms >= o.at_ms
), reached AS (
    SELECT *, unnest(range(greatest(first_place, before - getvariable('neighbours') + 1),
                           least(last_place, before + getvariable('neighbours')) + 1)) AS place
    FROM found
)
SELECT l.line_no, o.own_no,
       getvariable('weight_amount') * (1 - abs(l.amount - o.amount)::DOUBLE / getvariable('amount_span'))
       + getvariable('weight_time') * (1 - abs(l.at_ms - o.at_ms)::DOUBLE / getvariable('time_window_ms'))
       + getvariable('weight_product') * CASE
             WHEN l.product_code = o.product_code THEN 1.0
             WHEN l.vas_type <> o.vas_type THEN 0.0
             ELSE 0.5 END AS score
FROM reached AS l JOIN placed AS o ON o.place = l.place
WHERE abs(l.at_ms - o.at_ms) <= getvariable('time_reach_ms') AND abs(l.amount - o.amount) <= getvariable('amount_reach')
  AND score >= getvariable('threshold')

-- name: add_scored
INSERT INTO pair SELECT line_no, own_id, 'scored', round(score, 4) FROM firm JOIN loose_own USING (own_no)

-- name: add_suggested_firm
INSERT INTO suggestion SELECT line_no, own_id, 'scored', round(score, 4) FROM firm JOIN loose_own USING (own_no)

-- name: add_suggested
INSERT INTO suggestion SELECT line_no, own_id, 'scored', round(score, 4) FROM doubtful JOIN loose_own USING (own_no)

-- name: create_compared
-- Every pair with what the two sides differ in, each together with what is attached to it. A payout's rows are compared as
-- one, below. What is left as a difference of value is an issue of its own: no money goes by in silence.
CREATE TABLE compared AS
WITH more_lines AS (
    SELECT main_no, sum(value) AS value, bool_or(kind = 'reversal') AS taken_back,
           sum(amount) FILTER (WHERE kind = 'split') AS amount, sum(commission) FILTER (WHERE kind = 'split') AS commission
    FROM attached GROUP BY main_no
), more_rows AS (
    SELECT main_id, sum(value) AS value, bool_or(kind = 'reversal') AS taken_back,
           sum(amount) FILTER (WHERE kind = 'split') AS amount, sum(commission) FILTER (WHERE kind = 'split') AS commission
    FROM attached_own GROUP BY main_id
), facts AS (
    SELECT p.*, l.currency, l.carried, o.in_period,
           l.amount + coalesce(ml.amount, 0) AS line_amount, o.amount + coalesce(mo.amount, 0) AS own_amount,
           CASE WHEN ml.taken_back THEN 'reversed'::compared_status ELSE l.status END AS line_status,
           CASE WHEN mo.taken_back THEN 'reversed'::compared_status ELSE o.status END AS own_status,
           (l.value + coalesce(ml.value, 0))::DECIMAL(18,2) AS line_value,
           (o.value + coalesce(mo.value, 0))::DECIMAL(18,2) AS own_value,
           CASE WHEN p.method <> 'late_reversal' THEN abs(l.at_ms - o.at_ms) END AS apart_ms, l.day <> o.day AS other_day,
           l.day = DATE '1970-01-01' + ((l.at_ms + getvariable('day_offset_ms')) // 86400000)::INTEGER AS on_its_day,
           l.product_code <> o.product_code AS other_product, l.vas_type <> o.vas_type AS other_vas_type,
           l.commission + coalesce(ml.commission, 0) AS line_commission,
           o.commission + coalesce(mo.commission, 0) AS own_commission,
           round((CASE WHEN l.side = 'refund' THEN -1 ELSE 1 END) * line_amount * coalesce(by_product.rate, by_type.rate), 4
           )::DECIMAL(20,4) AS expected_commission,
           round((CASE WHEN o.side = 'refund' THEN -1 ELSE 1 END) * own_amount * coalesce(by_product.rate, by_type.rate), 4
           )::DECIMAL(20,4) AS own_expected_commission
    FROM pair AS p
    JOIN line AS l USING (line_no)
    JOIN own AS o USING (own_id)
    LEFT JOIN more_lines AS ml ON ml.main_no = p.line_no
    LEFT JOIN more_rows AS mo ON mo.main_id = p.own_id
    LEFT JOIN rate AS by_product ON by_product.product = coalesce(l.product_code, o.product_code)
    LEFT JOIN rate AS by_type ON by_type.vas_type = coalesce(l.vas_type, o.vas_type)
    WHERE p.method <> 'payout'
), drift AS (
    -- Where the amounts differ, ours may be the commission of our amount: then nothing else is wrong with it, and the
    -- difference is named once, as the amount's.
    SELECT *, CASE WHEN line_status = 'completed' AND own_status = 'completed' AND expected_commission IS NOT NULL
                   AND line_commission IS NOT NULL THEN abs(line_commission - expected_commission) ELSE 0 END
                  AS contract_drift,
              CASE WHEN line_status = 'completed' AND own_status = 'completed' AND getvariable('check_own_commission')
                   THEN least(abs(own_commission - coalesce(line_commission, expected_commission, own_commission)),
                              CASE WHEN abs(line_amount - own_amount) > getvariable('amount_tolerance')
                                   THEN abs(own_commission - own_expected_commission) END) ELSE 0 END
                  AS booked_drift,
              abs(line_amount - own_amount) AS amount_drift
    FROM facts
)
SELECT line_no, own_id, method, score, currency, carried, in_period, line_value, own_value, apart_ms,
       line_commission, own_commission, expected_commission, line_status, own_status,
       on_its_day, amount_drift, greatest(contract_drift, booked_drift)::DECIMAL(20,4) AS commission_drift,
       CASE WHEN method = 'late_reversal' THEN ['late_posting'] ELSE list_filter([
           CASE WHEN amount_drift > getvariable('amount_tolerance')
                     OR line_status = own_status AND abs(line_value - own_value) > getvariable('amount_tolerance')
                THEN 'amount' END,
           CASE WHEN line_status <> own_status THEN 'status' END,
           CASE WHEN other_day THEN 'late_posting' END,
           CASE WHEN other_product OR other_vas_type THEN 'product' END,
           CASE WHEN NOT other_day AND apart_ms > getvariable('time_tolerance_ms') THEN 'time' END,
           CASE WHEN greatest(contract_drift, booked_drift) > getvariable('commission_tolerance') THEN 'commission' END
       ], lambda issue: issue IS NOT NULL) END::break_class[] AS issues
FROM drift

-- name: create_payout_compared
-- Each payout with the internal rows that it covers, as one.
CREATE TABLE payout_compared AS
SELECT p.line_no, any_value(l.currency) AS currency, any_value(l.carried) AS carried, any_value(l.value) AS line_value,
       sum(o.value)::DECIMAL(18,2) AS own_value, count(*) AS rows
FROM pair AS p JOIN line AS l USING (line_no) JOIN own AS o USING (own_id)
WHERE p.method = 'payout'
GROUP BY p.line_no

-- name: create_lost_line
-- The statement's lines that nothing was found for.
CREATE TABLE lost_line AS
SELECT l.line_no, (l.value + coalesce(r.value, 0))::DECIMAL(18,2) AS value,
       CASE WHEN l.line_no IN (SELECT line_no FROM duplicate_line) THEN 'duplicate' ELSE 'missing_here' END AS class
FROM open_line AS l LEFT JOIN (SELECT main_no, sum(value) AS value FROM attached GROUP BY main_no) AS r
  ON r.main_no = l.line_no
WHERE NOT carried AND line_no NOT IN (SELECT line_no FROM payout_cover)

-- name: create_lost_own
-- The internal rows of the day that nothing was found for. A failed row that the supplier does not know either is as it must be.
CREATE TABLE lost_own AS
SELECT own_id, CASE WHEN own_id IN (SELECT own_id FROM duplicate_own) THEN 'duplicate'
                    WHEN status = 'failed' THEN 'nothing_expected' ELSE 'missing_there' END AS class
FROM open_own WHERE in_period

-- name: create_found
-- Every difference of the day as one row, whatever it is a difference of.
CREATE TABLE found AS
WITH several AS (
    SELECT line_no, own_id, issues, currency, (line_value - own_value)::DECIMAL(18,2) AS variance,
           greatest(CASE WHEN list_contains(issues, 'amount') THEN amount_drift ELSE 0 END,
                    CASE WHEN list_contains(issues, 'commission') THEN commission_drift ELSE 0 END,
                    abs(line_value - own_value))::DECIMAL(20,4) AS difference,
           apart_ms, on_its_day, amount_drift, commission_drift, line_status, own_status
    FROM compared WHERE len(issues) > 0
    UNION ALL BY NAME
    SELECT line_no, ['amount'::break_class] AS issues, currency, (line_value - own_value)::DECIMAL(18,2) AS variance,
           abs(line_value - own_value)::DECIMAL(20,4) AS difference
    FROM payout_compared WHERE line_value <> own_value
    UNION ALL BY NAME
    SELECT c.line_no, ['amount'::break_class] AS issues, l.currency, 0::DECIMAL(18,2) AS variance,
           abs(l.signed - c.total)::DECIMAL(20,4) AS difference
    FROM payout_cover AS c JOIN line AS l USING (line_no) WHERE l.signed <> c.total
    UNION ALL BY NAME
    SELECT k.line_no, [k.class::break_class] AS issues, l.currency, k.value AS variance,
           l.amount::DECIMAL(20,4) AS difference
    FROM lost_line AS k JOIN line AS l USING (line_no)
    UNION ALL BY NAME
    SELECT own_id, [class::break_class] AS issues, currency, (-value)::DECIMAL(18,2) AS variance,
           amount::DECIMAL(20,4) AS difference
    FROM lost_own JOIN own USING (own_id) WHERE class <> 'nothing_expected'
)
SELECT row_number() OVER (ORDER BY f.line_no NULLS LAST, f.own_id) AS found_no, f.*,
       f.difference > getvariable('escalate_above') OR len(f.issues) >= getvariable('escalate_issues') AS escalated,
       CASE WHEN l.line_no IS NOT NULL THEN json_object(
           'supplier_transaction_id', l.supplier_id, 'reference', l.reference, 'kind', l.kind,
           'status', l.status::VARCHAR, 'at_ms', l.at_ms, 'day', l.day::VARCHAR, 'vas_type', l.vas_type,
           'product_code', l.product_code, 'product_name', l.product_name, 'currency', l.currency,
           'amount', l.signed::VARCHAR,
           'commission', l.commission::VARCHAR, 'net', l.net::VARCHAR, 'payout_reference', l.payout_reference)::VARCHAR
       END AS line,
       CASE WHEN o.own_id IS NOT NULL THEN json_object(
           'id', o.own_id::VARCHAR, 'supplier_transaction_id', o.supplier_id, 'reference', o.reference,
           'supplier_reference', o.supplier_reference, 'status', o.raw_status, 'at_ms', o.at_ms, 'day', o.day::VARCHAR,
           'vas_type', o.vas_type, 'product_code', o.product_code, 'currency', o.currency,
           'amount', (CASE WHEN o.side = 'refund' THEN -o.amount ELSE o.amount END)::VARCHAR,
           'commission', o.commission::VARCHAR)::VARCHAR
       END AS own,
       -- Which of several equal lines it is: without it, three times the same line would be one break.
       row_number() OVER (PARTITION BY l.supplier_id, l.reference, l.kind, l.amount, l.at_ms, l.payout_reference, f.own_id
                          ORDER BY f.line_no) AS nth,
       concat_ws('; ', ls.note, ln.note, os.note) AS note
FROM several AS f LEFT JOIN line AS l ON l.line_no = f.line_no LEFT JOIN own AS o ON o.own_id = f.own_id
LEFT JOIN (
    SELECT line_no, 'may be our row ' || min(own_id::VARCHAR)
           || CASE WHEN count(*) > 1 THEN ' and ' || (count(*) - 1) || ' more' ELSE '' END AS note
    FROM suggestion GROUP BY line_no
) AS ls ON ls.line_no = f.line_no AND f.own_id IS NULL
LEFT JOIN (
    SELECT line_no, string_agg(note, '; ' ORDER BY note) AS note FROM line_note GROUP BY line_no
) AS ln ON ln.line_no = f.line_no AND f.own_id IS NULL
LEFT JOIN (
    SELECT own_id, 'may be line ' || min(line_no)
           || CASE WHEN count(*) > 1 THEN ' and ' || (count(*) - 1) || ' more' ELSE '' END AS note
    FROM suggestion GROUP BY own_id
) AS os ON os.own_id = f.own_id AND f.line_no IS NULL

-- name: matched_rows
-- Every match, for the archive: plain ones, scored ones, what is attached to them, payouts, suggestions. A reversal that came
-- a day late is none: its row belongs to the purchase's line.
SELECT line_no, own_id, own.at_ms AS own_at_ms, own.day AS own_day, method, 'confirmed' AS state, score
FROM covered_own JOIN own USING (own_id) WHERE method <> 'late_reversal'
UNION ALL
SELECT a.line_no, own_id, own.at_ms, own.day, a.kind, 'confirmed', 1::DECIMAL(5,4)
FROM attached AS a JOIN pair ON pair.line_no = a.main_no JOIN own USING (own_id)
UNION ALL
SELECT line_no, own_id, own.at_ms, own.day, method, 'suggested', score FROM suggestion JOIN own USING (own_id)
ORDER BY line_no, own_id

-- name: notable_rows
-- The matches that PostgreSQL keeps: what was not plain.
SELECT m.line_no, m.own_id::VARCHAR AS own_id, make_timestamp(m.own_at_ms * 1000)::VARCHAR || 'Z' AS own_created_at, method, state, score
FROM ({matched}) AS m
WHERE method IN ('scored', 'payout', 'split', 'reversal', 'confirmed') OR state = 'suggested' OR own_day <> getvariable('day') OR line_no < 0
ORDER BY line_no, own_id

-- name: totals
-- The total of each side and what explains the difference, per currency. See tasks/reconciliation/engine/tieout.py.
SELECT currency, item, count(*) AS rows, sum(value)::DECIMAL(38,2) AS value
FROM (
    SELECT currency, 'statement' AS item, value FROM line WHERE NOT carried
    UNION ALL SELECT currency, 'own', value FROM own WHERE in_period
    UNION ALL SELECT currency, 'matched_statement', line_value FROM compared WHERE NOT carried
    UNION ALL SELECT currency, 'matched_statement', line_value FROM payout_compared WHERE NOT carried
    UNION ALL SELECT o.currency, CASE WHEN NOT o.in_period THEN 'own_of_other_days'
                                      WHEN l.carried THEN 'own_on_other_statements' ELSE 'matched_own' END, o.value
              FROM covered_own JOIN own AS o USING (own_id) JOIN line AS l USING (line_no)
              WHERE o.in_period OR NOT l.carried
    UNION ALL SELECT o.currency, 'own_on_other_statements', o.value FROM own AS o WHERE in_period AND taken
    UNION ALL SELECT o.currency, 'own_nothing_expected', o.value FROM lost_own JOIN own AS o USING (own_id)
              WHERE class = 'nothing_expected'
    UNION ALL SELECT currency, 'payout_over_entries', value FROM payout_cover JOIN line USING (line_no)
    UNION ALL SELECT l.currency, 'tolerated', line_value - own_value FROM compared AS l
              WHERE len(issues) = 0 AND NOT carried AND line_value <> own_value
    UNION ALL SELECT currency, 'break_' || issues[1]::VARCHAR, variance FROM found
              WHERE line_no IS NULL OR line_no >= 0
    UNION ALL SELECT l.currency, 'unmatched_statement', k.value FROM lost_line AS k JOIN line AS l USING (line_no)
    UNION ALL SELECT currency, 'unmatched_own', value FROM lost_own JOIN own USING (own_id)
              WHERE class <> 'nothing_expected'
)
GROUP BY ALL ORDER BY ALL

-- name: create_vat_of
-- The VAT in a commission, in cents, halves away from zero: whole numbers throughout, as `vat_included` has it.
CREATE MACRO vat_of(commission) AS (
    sign(commission) * ((2 * (abs(commission) * 10000)::HUGEINT * getvariable('vat_units')
                         + (1000000 + getvariable('vat_units')) * 100)
                        // (2 * (1000000 + getvariable('vat_units')) * 100)) / 100
)::DECIMAL(18,2)

-- name: commission_totals
-- Commission, fees and net of what really moved. What was sold and taken back in one statement is left out on both lines.
WITH moved AS (
    SELECT l.*, coalesce(by_product.rate, by_type.rate) AS rate FROM line AS l
    LEFT JOIN rate AS by_product ON by_product.product = l.product_code
    LEFT JOIN rate AS by_type ON by_type.vas_type = l.vas_type
    WHERE NOT l.carried AND l.status = 'completed' AND l.line_no NOT IN (SELECT line_no FROM payout_cover)
      AND l.line_no NOT IN (SELECT main_no FROM attached WHERE kind = 'reversal')
      AND l.line_no NOT IN (SELECT line_no FROM attached WHERE kind = 'reversal')
), theirs AS (
    SELECT m.currency, sum(m.commission) AS statement, sum(vat_of(m.commission)) AS statement_vat, sum(m.fee) AS fee,
           sum(x.expected) AS expected, sum(vat_of(x.expected)) AS expected_vat,
           sum(coalesce(m.net, m.value - coalesce(m.commission, x.expected, 0) - coalesce(m.fee, 0))) AS net
    FROM (
        SELECT m.*, CASE WHEN m.line_no IN (SELECT line_no FROM attached) THEN NULL  -- it is in its main line's
                         ELSE coalesce(c.expected_commission, round(m.signed * m.rate, 4)) END AS contract
        FROM moved AS m LEFT JOIN compared AS c ON c.line_no = m.line_no
    ) AS m, LATERAL (SELECT m.contract::DECIMAL(20,4) AS expected) AS x
    GROUP BY m.currency
), ours AS (
    SELECT currency, sum(commission) AS own, sum(vat_of(commission)) AS own_vat, sum(value - commission) AS own_net
    FROM own WHERE in_period AND status = 'completed'
    GROUP BY currency
)
SELECT currency, coalesce(statement, 0)::DECIMAL(38,4) AS statement, coalesce(expected, 0)::DECIMAL(38,4) AS expected,
       coalesce(own, 0)::DECIMAL(38,4) AS own, coalesce(fee, 0)::DECIMAL(38,4) AS fee,
       coalesce(net, 0)::DECIMAL(38,4) AS net, coalesce(own_net, 0)::DECIMAL(38,4) AS own_net,
       coalesce(statement_vat, 0)::DECIMAL(38,2) AS statement_vat,
       coalesce(expected_vat, 0)::DECIMAL(38,2) AS expected_vat, coalesce(own_vat, 0)::DECIMAL(38,2) AS own_vat
FROM theirs FULL JOIN ours USING (currency) ORDER BY currency

-- name: counts
SELECT (SELECT count(*) FROM line WHERE NOT carried) AS lines,
       (SELECT count(*) FROM own WHERE in_period) AS own,
       (SELECT count(*) FROM line WHERE NOT carried AND (line_no IN (SELECT line_no FROM pair)
            OR line_no IN (SELECT a.line_no FROM attached AS a JOIN pair ON pair.line_no = a.main_no)
            OR line_no IN (SELECT line_no FROM payout_cover))) AS matched_lines,
       (SELECT count(*) FROM own WHERE in_period AND (taken OR own_id IN (SELECT own_id FROM covered_own))) AS matched_own,
       (SELECT count(*) FROM lost_own WHERE class = 'nothing_expected') AS nothing_expected,
       (SELECT count(*) FROM found) AS breaks

-- name: own_text
-- The internal side as text, a line a row, for its digest.
SELECT concat_ws(chr(31), own_id, at_ms, coalesce(supplier_id, chr(30)), coalesce(reference, chr(30)),
                 coalesce(supplier_reference, chr(30)), coalesce(product_code, chr(30)), vas_type, currency, amount,
                 commission, raw_status, side, taken) || chr(10) AS text
FROM own ORDER BY own_id

-- name: line_text
SELECT concat_ws(chr(31), line_no, coalesce(supplier_id, chr(30)), coalesce(reference, chr(30)), kind, status, at_ms, day,
                 coalesce(vas_type, chr(30)), coalesce(product_code, chr(30)), coalesce(product_name, chr(30)), currency,
                 amount, side, coalesce(commission::VARCHAR, chr(30)), coalesce(fee::VARCHAR, chr(30)),
                 coalesce(net::VARCHAR, chr(30)),
                 coalesce(payout_reference, chr(30))) || chr(10) AS text
FROM line WHERE carried = {carried} ORDER BY line_no

-- name: unknown_statuses
SELECT DISTINCT r.status FROM own_rows AS r LEFT JOIN own_status AS m ON m.raw = r.status WHERE m.raw IS NULL

-- name: create_taken_own
CREATE TABLE taken_own (own_id UUID)

-- name: create_carried_line
-- Lines of earlier days, from the breaks that hold them; in the types that a statement has.
CREATE TABLE carried_line AS
SELECT (-(kept ->> 'break_id')::BIGINT) AS line_no, kept ->> 'supplier_transaction_id' AS supplier_id,
       kept ->> 'reference' AS reference, kept ->> 'kind' AS kind, (kept ->> 'status')::VARCHAR AS status,
       (kept ->> 'at_ms')::BIGINT AS at_ms, (kept ->> 'day')::DATE AS day, kept ->> 'vas_type' AS vas_type,
       kept ->> 'product_code' AS product_code, kept ->> 'product_name' AS product_name, kept ->> 'currency' AS currency,
       (kept ->> 'amount')::DECIMAL(18,2) AS amount, (kept ->> 'commission')::DECIMAL(18,4) AS commission,
       (kept ->> 'net')::DECIMAL(18,4) AS net, kept ->> 'payout_reference' AS payout_reference, true AS carried
FROM (SELECT unnest($lines::VARCHAR[])::JSON AS kept)

-- name: arrived
-- Which carried lines and which rows of other days have been matched.
SELECT -line_no AS break_id, NULL::UUID AS own_id FROM pair WHERE line_no < 0
UNION ALL
SELECT NULL, own_id FROM covered_own JOIN own USING (own_id) WHERE NOT in_period AND method <> 'late_reversal'

-- name: found_rows
-- The breaks as PostgreSQL takes them. The fingerprint is of the facts alone: found again, it is the same break.
SELECT found_no, sha256(concat_ws(chr(31), issues::VARCHAR, coalesce(line, ''), coalesce(own, ''), nth)) AS fingerprint,
       issues[1]::VARCHAR AS class, '{' || array_to_string(issues::VARCHAR[], ',') || '}' AS issues, currency, difference,
       variance, escalated::VARCHAR AS escalated, line_no, line, own, note, rule
FROM found ORDER BY found_no

-- name: report_rows
-- The breaks as people read them. Times are of Africa/Johannesburg.
SELECT f.found_no AS no, f.issues[1]::VARCHAR AS class, array_to_string(f.issues::VARCHAR[], ' ') AS issues, f.currency,
       f.difference, f.variance, f.escalated, f.rule, f.line_no, l.supplier_id AS supplier_transaction_id, l.reference,
       l.status::VARCHAR AS their_status, l.amount AS their_amount,
       strftime(make_timestamp((l.at_ms + getvariable('day_offset_ms')) * 1000), '%Y-%m-%d %H:%M:%S') AS their_time,
       f.own_id::VARCHAR AS our_id, o.reference AS our_reference, o.raw_status AS our_status, o.amount AS our_amount,
       strftime(make_timestamp((o.at_ms + getvariable('day_offset_ms')) * 1000), '%Y-%m-%d %H:%M:%S') AS our_time,
       f.note
FROM found AS f LEFT JOIN line AS l ON l.line_no = f.line_no LEFT JOIN own AS o ON o.own_id = f.own_id
ORDER BY f.found_no

-- name: return_rows
-- Our transactions of the day, for suppliers that ask them back in columns of their own.
SELECT epoch_ms(o.at_ms)::TIMESTAMP_MS AS occurred_at, o.product_code, any_value(l.product_name) AS product_name,
       (CASE WHEN o.side = 'refund' THEN -o.amount ELSE o.amount END) AS amount, o.reference,
       o.supplier_id AS supplier_transaction_id, o.status::VARCHAR AS status
FROM own AS o LEFT JOIN covered_own AS p ON p.own_id = o.own_id LEFT JOIN line AS l ON l.line_no = p.line_no
WHERE o.in_period
GROUP BY o.own_id, o.at_ms, o.product_code, o.side, o.amount, o.reference, o.supplier_id, o.status
ORDER BY o.at_ms, o.own_id

-- name: class_counts
SELECT issues[1]::VARCHAR AS class, count(*) AS breaks, count(rule) AS auto_resolved,
       count(*) FILTER (WHERE escalated) AS escalated, sum(variance)::DECIMAL(38,2) AS variance,
       sum(difference)::DECIMAL(38,4) AS difference
FROM found GROUP BY ALL ORDER BY class

-- name: found_text
SELECT fingerprint || coalesce(rule, '') || chr(10) AS text FROM ({found}) ORDER BY found_no
