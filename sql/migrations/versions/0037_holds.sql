-- A hold keeps what is left of a month of which rows were deleted before. Its record says so, with the certificates.
ALTER TABLE holds ADD COLUMN lacks jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(lacks) = 'array');

-- A part of which a deletion found every row to be held has the names of these holds, and is not planned while they or
-- others of the same subjects are open.
ALTER TABLE archive_months ADD COLUMN wholly_held text[];
