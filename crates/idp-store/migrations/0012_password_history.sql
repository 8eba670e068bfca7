-- Hashes of passwords that were replaced, for connections that refuse them.
CREATE TABLE password_history (
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    password TEXT NOT NULL,
    replaced_at BIGINT NOT NULL
);
CREATE INDEX password_history_user ON password_history (tenant_id, user_id, replaced_at);
