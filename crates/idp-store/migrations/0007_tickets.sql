-- Links that were sent to users. token: a keyed hash.

CREATE TABLE tickets (
    tenant_id TEXT NOT NULL,
    token BYTES NOT NULL,
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL,
    terms TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, token)
);
CREATE INDEX tickets_user ON tickets (tenant_id, user_id, kind);
