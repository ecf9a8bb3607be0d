-- When each run of the watch began, and a transaction number that PostgreSQL gave out just then. Once every transaction up to
-- that number has ended, no row that was stored before the instant can still become visible.
CREATE TABLE watch_horizons (
    at         timestamptz(3) PRIMARY KEY,
    taken_xid  xid8 NOT NULL
);

-- Days for which a supplier sends no statement, as people say: proposed by one, taken back, or confirmed by another. A
-- confirmed one names the statement without lines that stands for it. What is named here and below is not referenced: who
-- removes it past its trigger is found by the audit chain, not stopped by this.
CREATE TABLE statement_absences (
    absence_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    supplier    varchar(16) NOT NULL,
    day         date NOT NULL,                          -- Africa/Johannesburg
    action      text NOT NULL CHECK (action IN ('proposed', 'rejected', 'confirmed')),
    actor       varchar(128) NOT NULL,
    account     varchar(128) NOT NULL,
    reason      text NOT NULL CHECK (reason <> ''),
    file_id     bigint UNIQUE,
    created_at  timestamptz(3) NOT NULL DEFAULT now(),
    CHECK ((action = 'confirmed') = (file_id IS NOT NULL))
);
CREATE INDEX statement_absences_day ON statement_absences (supplier, day, absence_id DESC);

-- Decisions about breaks that people want to take back: proposed by one, rejected, or confirmed by another. A confirmed one
-- names the record that opened the break again; the decision itself stays in recon_resolutions.
CREATE TABLE recon_withdrawals (
    withdrawal_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    break_id       bigint NOT NULL,
    resolution_id  bigint NOT NULL,                      -- the decision
    action         text NOT NULL CHECK (action IN ('proposed', 'rejected', 'confirmed')),
    actor          varchar(128) NOT NULL,
    account        varchar(128) NOT NULL,
    reason         text NOT NULL CHECK (reason <> ''),
    reopened_by    bigint UNIQUE,
    created_at     timestamptz(3) NOT NULL DEFAULT now(),
    CHECK ((action = 'confirmed') = (reopened_by IS NOT NULL))
);
CREATE INDEX recon_withdrawals_break ON recon_withdrawals (break_id, withdrawal_id DESC);

CREATE TRIGGER statement_absences_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_absences
    EXECUTE FUNCTION treasury_refuse_change();
CREATE TRIGGER recon_withdrawals_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON recon_withdrawals
    EXECUTE FUNCTION treasury_refuse_change();
ALTER TABLE statement_absences ENABLE ALWAYS TRIGGER statement_absences_kept;
ALTER TABLE recon_withdrawals ENABLE ALWAYS TRIGGER recon_withdrawals_kept;
