-- What a question believes of a lookup is checked where it is read (sql/lookups.py): a filter that somebody has changed would
-- leave out months that have rows, and a footer of another file would be counted. A filter is stored in stretches of 8 blocks,
-- the last one of fewer. Each has 8 bytes behind it, of the SHA-256 of the file's key, the column, the stretch's place, the
-- number of blocks and the stretch. Each row of archive_lookups has the SHA-256 of its contents.
ALTER TABLE archive_filters DROP CONSTRAINT archive_filters_bits_check;
UPDATE archive_filters AS f
SET bits = (
    SELECT string_agg(stretch || substring(sha256(convert_to(f.object_key, 'UTF8') || int4send(f.field_id) || int4send(number)
                                                  || int4send(octet_length(f.bits) / 32) || stretch) FOR 8), '' ORDER BY number)
    FROM generate_series(0, (octet_length(f.bits) - 1) / 256) AS number,
         substring(f.bits FROM 1 + 256 * number FOR 256) AS stretch);
ALTER TABLE archive_filters
    ADD CONSTRAINT archive_filters_bits_check
        CHECK (octet_length(bits) > 0 AND (octet_length(bits) % 264 = 0 OR octet_length(bits) % 264 % 32 = 8));

ALTER TABLE archive_lookups ADD COLUMN check_sha256 bytea;
UPDATE archive_lookups
SET check_sha256 = sha256(sha256(convert_to(object_key, 'UTF8')) || sha256(pieces) || sha256(footer));
ALTER TABLE archive_lookups
    ALTER COLUMN check_sha256 SET NOT NULL,
    ADD CONSTRAINT archive_lookups_check_sha256_check CHECK (octet_length(check_sha256) = 32);
