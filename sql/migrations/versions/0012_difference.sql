-- A whole amount has sixteen digits before the point, and a difference of it has four behind. Nothing is rewritten.
ALTER TABLE recon_breaks ALTER COLUMN difference TYPE numeric(20, 4);
