-- What sessions tell of themselves, and records that are linked to another.

ALTER TABLE users ADD COLUMN linked_to TEXT;
CREATE INDEX users_linked_to ON users (tenant_id, linked_to);
CREATE INDEX users_created_at ON users (tenant_id, created_at, user_id);

ALTER TABLE sessions ADD COLUMN ip TEXT;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;

CREATE TABLE session_clients (
    tenant_id TEXT NOT NULL,
    sid TEXT NOT NULL,
    client_id TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sid, client_id)
);
