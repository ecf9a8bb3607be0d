-- Some alerts have no moment at which their cause is over, such as a log that was forked: a person closes them.
ALTER TABLE alerts
    ADD COLUMN closed_by text CHECK (length(closed_by) BETWEEN 1 AND 128),
    ADD COLUMN close_reason text CHECK (length(close_reason) BETWEEN 1 AND 1000),
    ADD CHECK ((closed_by IS NULL) = (close_reason IS NULL)),
    ADD CHECK (closed_by IS NULL OR state = 'resolved');
