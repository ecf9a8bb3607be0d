-- The hot parents of the built-in tables, made where no application has made them. Run with the search path on the schema
-- that they are made in. Every timestamp is timestamptz at millisecond precision: the precision that a UUIDv7 carries.

-- name: make_transactions
CREATE TABLE transactions_partitioned (
    id                      uuid NOT NULL,
    client_id               varchar(64) NOT NULL,
    user_id                 varchar(64) NOT NULL,
    wallet_id               varchar(64) NOT NULL,
    counterparty_wallet_id  varchar(64),
    type                    varchar(16) NOT NULL CONSTRAINT transactions_type CHECK (type IN
        ('send', 'receive', 'deposit', 'withdraw', 'transfer', 'payment', 'refund', 'fee')),
    status                  varchar(16) NOT NULL CONSTRAINT transactions_status CHECK (status IN
        ('pending', 'processing', 'completed', 'failed', 'cancelled', 'reversed')),
    amount                  numeric(18, 2) NOT NULL CONSTRAINT transactions_amount CHECK (amount > 0 AND amount < 'Infinity'),
    fee                     numeric(18, 2) NOT NULL DEFAULT 0 CONSTRAINT transactions_fee CHECK (fee >= 0 AND fee < 'Infinity'),
    currency                varchar(3) NOT NULL CONSTRAINT transactions_currency CHECK (currency ~ '^[A-Z]{3}$'),
    reference               varchar(128),
    description             varchar(512),
    metadata                jsonb NOT NULL DEFAULT '{}',
    created_at              timestamptz(3) NOT NULL,
    updated_at              timestamptz(3) NOT NULL,
    CONSTRAINT transactions_partitioned_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

CREATE INDEX idx_transactions_user_created ON transactions_partitioned (user_id, created_at DESC);
CREATE INDEX idx_transactions_wallet_created ON transactions_partitioned (wallet_id, created_at DESC);
CREATE INDEX idx_transactions_status_created ON transactions_partitioned (status, created_at DESC);
CREATE INDEX idx_transactions_type_created ON transactions_partitioned (type, created_at DESC)

-- name: make_vas_transactions
CREATE TABLE vas_transactions_partitioned (
    id                      uuid NOT NULL,
    client_id               varchar(64) NOT NULL,
    user_id                 varchar(64) NOT NULL,
    wallet_id               varchar(64) NOT NULL,
    counterparty_wallet_id  varchar(64),
    type                    varchar(16) NOT NULL CONSTRAINT vas_transactions_type CHECK (type IN
        ('send', 'receive', 'deposit', 'withdraw', 'transfer', 'payment', 'refund', 'fee')),
    status                  varchar(16) NOT NULL CONSTRAINT vas_transactions_status CHECK (status IN
        ('pending', 'processing', 'completed', 'failed', 'cancelled', 'reversed')),
    amount                  numeric(18, 2) NOT NULL CONSTRAINT vas_transactions_amount CHECK (amount > 0 AND amount < 'Infinity'),
    fee                     numeric(18, 2) NOT NULL DEFAULT 0 CONSTRAINT vas_transactions_fee CHECK (fee >= 0 AND fee < 'Infinity'),
    currency                varchar(3) NOT NULL CONSTRAINT vas_transactions_currency CHECK (currency ~ '^[A-Z]{3}$'),
    reference               varchar(128),
    description             varchar(512),
    metadata                jsonb NOT NULL DEFAULT '{}',
    created_at              timestamptz(3) NOT NULL,
    updated_at              timestamptz(3) NOT NULL,
    supplier                varchar(16) NOT NULL CONSTRAINT vas_transactions_supplier CHECK (supplier ~ '^[a-z][a-z0-9_]{0,15}$'),
    vas_type                varchar(16) NOT NULL CONSTRAINT vas_transactions_vas_type CHECK (vas_type IN
        ('airtime', 'data', 'electricity', 'bill_payment', 'cash_out', 'voucher_topup')),
    supplier_product_id     varchar(64),
    supplier_reference      varchar(128),
    supplier_transaction_id varchar(128),
    commission              numeric(18, 2) NOT NULL DEFAULT 0
        CONSTRAINT vas_transactions_commission CHECK (commission > '-Infinity' AND commission < 'Infinity'),
    mobile_number           varchar(16),
    processed_at            timestamptz(3),
    CONSTRAINT vas_transactions_partitioned_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

CREATE INDEX idx_vas_transactions_user_created ON vas_transactions_partitioned (user_id, created_at DESC);
CREATE INDEX idx_vas_transactions_wallet_created ON vas_transactions_partitioned (wallet_id, created_at DESC);
CREATE INDEX idx_vas_transactions_status_created ON vas_transactions_partitioned (status, created_at DESC);
CREATE INDEX idx_vas_transactions_type_created ON vas_transactions_partitioned (type, created_at DESC)
