-- A statement that another superseded may count again: a second row of the same content, which supersedes that other one.
-- The intake looks under its lock whether a content counts already.
DROP INDEX statement_files_taken;
