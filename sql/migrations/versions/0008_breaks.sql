-- Breaks: confirmed matches, whose account decided, four eyes for closing, intake of statements in the audit chain.
-- Columns that are added here are left out of a record's digest while they are NULL: older events stay true.

ALTER TABLE recon_resolutions
    ADD COLUMN account     varchar(128),                      -- that the actor worked under: an account of the OS, or an API key
    ADD COLUMN period_day  date,                              -- the day that the break is accounted in from here on
    ADD CONSTRAINT recon_resolutions_period CHECK (action NOT IN ('carried', 'reopened') OR period_day IS NOT NULL) NOT VALID;

-- Those whose other side is to be corrected are among these.
CREATE INDEX recon_breaks_corrected ON recon_breaks (supplier, day)
    WHERE state = 'resolved' AND class IN ('missing_here', 'missing_there');

-- Of a suggestion: the break of its line.
ALTER TABLE recon_matches ADD COLUMN break_id bigint REFERENCES recon_breaks;
CREATE INDEX recon_matches_break ON recon_matches (break_id) WHERE break_id IS NOT NULL;
CREATE INDEX recon_matches_carried ON recon_matches (line_no) WHERE line_no < 0;
CREATE INDEX recon_matches_suggested ON recon_matches (own_id) WHERE state = 'suggested';

-- Which of our rows belong to the line of a break, as the resolution of that break says: proposed by one person, decided,
-- or come after the line was held for right. In force while it is the newest resolution of the break.
CREATE TABLE recon_confirmations (
    resolution_id   bigint NOT NULL REFERENCES recon_resolutions,
    break_id        bigint NOT NULL REFERENCES recon_breaks,   -- of the line
    own_id          uuid NOT NULL,
    own_created_at  timestamptz(3) NOT NULL,
    own_break_id    bigint REFERENCES recon_breaks,            -- of our row, where it has one
    method          text NOT NULL CHECK (method IN ('confirmed', 'payout')),
    PRIMARY KEY (resolution_id, own_id)
);
CREATE INDEX recon_confirmations_break ON recon_confirmations (break_id);
CREATE INDEX recon_confirmations_own_break ON recon_confirmations (own_break_id) WHERE own_break_id IS NOT NULL;

-- Who wants to close which days, or takes that back. The newest of the same days counts; somebody else closes them.
CREATE TABLE recon_period_proposals (
    proposal_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier     varchar(16) NOT NULL,
    first_day    date NOT NULL,
    last_day     date NOT NULL,
    action       text NOT NULL CHECK (action IN ('proposed', 'rejected')),
    carry        boolean NOT NULL,                             -- whether breaks that still wait are carried on
    actor        varchar(128) NOT NULL,
    account      varchar(128) NOT NULL,
    reason       text NOT NULL CHECK (reason <> ''),
    created_at   timestamptz(3) NOT NULL DEFAULT now(),
    CHECK (first_day <= last_day)
);
CREATE INDEX recon_period_proposals_days ON recon_period_proposals (supplier, first_day, last_day, proposal_id DESC);

ALTER TABLE recon_periods
    ADD COLUMN account      varchar(128),
    ADD COLUMN proposal_id  bigint UNIQUE REFERENCES recon_period_proposals;

CREATE TRIGGER recon_confirmations_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_confirmations
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_period_proposals_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_period_proposals
    EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE recon_confirmations ENABLE ALWAYS TRIGGER recon_confirmations_kept;
ALTER TABLE recon_period_proposals ENABLE ALWAYS TRIGGER recon_period_proposals_kept;

-- What was taken in before now enters the chain as it is now. The text is what tasks/reconciliation/audit/chain.py makes.
SET LOCAL timezone = 'UTC';
DO $$
DECLARE
    file record;
    last record;
    content text;
BEGIN
    FOR file IN SELECT file_id, encode(sha256(convert_to(to_jsonb(f)::text, 'UTF8')), 'hex') AS record
                FROM statement_files f ORDER BY file_id
    LOOP
        SELECT event_no, hash INTO last FROM recon_events ORDER BY event_no DESC LIMIT 1;
        content := format('{"event":"statement","event_no":%s,"file_id":%s,"record":"%s"}',
                          coalesce(last.event_no, 0) + 1, file.file_id, file.record);
        INSERT INTO recon_events (event_no, previous_hash, hash, content)
        VALUES (coalesce(last.event_no, 0) + 1, coalesce(last.hash, decode(repeat('00', 32), 'hex')),
                sha256(coalesce(last.hash, decode(repeat('00', 32), 'hex')) || convert_to(content, 'UTF8')), content);
    END LOOP;
END $$;
