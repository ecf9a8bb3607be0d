-- The watch over transactions: how far it has come, what it found, what is usual.

-- Every row created before `settled_until` has been evaluated, also those that became visible late.
CREATE TABLE watch_progress (
    table_name      text PRIMARY KEY,
    settled_until   timestamptz(3) NOT NULL,
    baseline_until  date,                                   -- the last day whose sums are in watch_baselines
    slices          bigint NOT NULL DEFAULT 0,
    evaluated_at    timestamptz(3)
);

-- One line for each thing that a rule found: the key makes a second evaluation of the same rows find nothing new.
CREATE TABLE watch_findings (
    rule        varchar(64) NOT NULL,
    table_name  text NOT NULL,
    subject     varchar(200) NOT NULL,                      -- a user or a wallet
    window_key  varchar(128) NOT NULL,                      -- a row, a day, a stretch of time
    at          timestamptz(3) NOT NULL,                    -- when the last row of it was created
    evidence    jsonb NOT NULL CHECK (octet_length(evidence::text) <= 32768),
    found_at    timestamptz(3) NOT NULL DEFAULT now(),
    PRIMARY KEY (rule, table_name, subject, window_key)
);
CREATE INDEX watch_findings_at ON watch_findings (at);

-- Sums of each ended day; the mean of a type is taken over the days of a window.
CREATE TABLE watch_baselines (
    table_name  text NOT NULL,
    day         date NOT NULL,
    type        varchar(16) NOT NULL,
    currency    varchar(3) NOT NULL,
    samples     bigint NOT NULL CHECK (samples > 0),
    total       numeric NOT NULL,
    PRIMARY KEY (table_name, day, type, currency)
);
