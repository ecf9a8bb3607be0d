-- Since when a job's outcome is noted here: one that never ended well is judged from then on. The row `schedules` is for
-- those of which nothing was noted yet.
ALTER TABLE job_outcomes ADD COLUMN known_since timestamptz(3) NOT NULL DEFAULT now();
INSERT INTO job_outcomes (job) VALUES ('schedules') ON CONFLICT (job) DO NOTHING;
