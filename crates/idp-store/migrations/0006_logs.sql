-- What happened, and whom to tell of sessions that ended.

-- id: digits that sort by time.
CREATE TABLE logs (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX logs_user ON logs (tenant_id, user_id, id);
CREATE INDEX logs_at ON logs (at);

CREATE TABLE logout_deliveries (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX logout_deliveries_due ON logout_deliveries (due_at);

ALTER TABLE session_clients ADD COLUMN issuer TEXT NOT NULL DEFAULT '';

-- account: a keyed hash of whoever is guessed at; address: a network, or empty for the account as a whole.
CREATE TABLE login_attempts (
    tenant_id TEXT NOT NULL,
    account BYTES NOT NULL,
    address TEXT NOT NULL,
    failures BIGINT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, account, address)
);
CREATE INDEX login_attempts_since ON login_attempts (since);
