-- A row of ours that the statement ended leaves a record with its break, also where something else in the break stays
-- for people: such a record leaves the break's state as it is.
ALTER TABLE recon_resolutions DROP CONSTRAINT recon_resolutions_action_check;
ALTER TABLE recon_resolutions ADD CONSTRAINT recon_resolutions_action_check CHECK (action IN
    ('auto_resolved', 'proposed', 'rejected', 'resolved', 'closed', 'reopened', 'carried', 'noted'));
