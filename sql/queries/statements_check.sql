-- What a canonical statement must be before it is reconciled. Run by DuckDB.

-- name: wrong_lines
-- The first lines that break a rule, with the field and the rule.
SELECT line_no, field, rule
FROM (
    SELECT line_no, 'supplier' AS field, 'must be ' || $supplier AS rule FROM statement WHERE supplier <> $supplier
    UNION ALL
    SELECT line_no, 'settlement_date', 'is ' || settlement_date || ', the statement is of ' || $day::DATE FROM statement
    WHERE settlement_date <> $day::DATE
    UNION ALL
    SELECT line_no, 'kind', 'must be one of ' || array_to_string(getvariable('kinds'), ', ') FROM statement
    WHERE NOT list_contains(getvariable('kinds'), kind)
    UNION ALL
    SELECT line_no, 'status', 'must be one of ' || array_to_string(getvariable('statuses'), ', ') FROM statement
    WHERE NOT list_contains(getvariable('statuses'), status)
    UNION ALL
    SELECT line_no, 'line_no', 'stands more than once' FROM statement GROUP BY line_no HAVING count(*) > 1
    UNION ALL
    SELECT line_no, 'line_no', 'must be more than 0' FROM statement WHERE line_no <= 0
)
ORDER BY line_no, field
LIMIT 4
