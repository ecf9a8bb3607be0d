-- What a canonical statement must be before it is reconciled. Run by DuckDB.

-- name: wrong_lines
-- The first lines that break a rule, with the field and the rule. A field that may not be empty is looked at by itself: what
-- is NULL is neither equal nor unequal to anything, and no other rule would see it.
SELECT line_no, field, rule
FROM (
    SELECT line_no, unnest(list_filter([{empty}], lambda field: field IS NOT NULL)) AS field, 'must not be empty' AS rule
    FROM statement WHERE {any_empty}
    UNION ALL
    SELECT line_no, 'supplier', 'must be ' || $supplier FROM statement WHERE supplier <> $supplier
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
    SELECT line_no, 'line_no', 'appears more than once' FROM statement WHERE line_no IS NOT NULL
    GROUP BY line_no HAVING count(*) > 1
    UNION ALL
    SELECT line_no, 'line_no', 'must be more than 0' FROM statement WHERE line_no <= 0
)
ORDER BY line_no NULLS FIRST, field
LIMIT 4
