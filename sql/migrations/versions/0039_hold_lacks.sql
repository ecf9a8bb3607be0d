-- A hold keeps what is left of a month of which rows were deleted before. Its record says so, with the certificates.
ALTER TABLE holds ADD COLUMN lacks jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(lacks) = 'array');
