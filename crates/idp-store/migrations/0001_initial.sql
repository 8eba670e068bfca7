-- One text for SQLite and PostgreSQL. Columns are TEXT, BIGINT (milliseconds since the epoch, or counts) and BYTES, which
-- becomes BLOB or BYTEA. Statements end with a semicolon at the end of a line. A migration that has been released never
-- changes; a new one is added.

CREATE TABLE tenants (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- secret: sealed for client/TENANT/CLIENT/secret.
CREATE TABLE clients (
    tenant_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    body TEXT NOT NULL,
    secret BYTES,
    created_at BIGINT NOT NULL,
    CONSTRAINT clients_client_id PRIMARY KEY (tenant_id, client_id)
);

-- signing_secret: sealed for resource_server/TENANT/ID/signing_secret.
CREATE TABLE resource_servers (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    identifier TEXT NOT NULL,
    body TEXT NOT NULL,
    signing_secret BYTES,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX resource_servers_identifier ON resource_servers (tenant_id, identifier);

CREATE TABLE client_grants (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    audience TEXT NOT NULL,
    subject_type TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX client_grants_client_id ON client_grants (tenant_id, client_id, audience, subject_type);

CREATE TABLE connections (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX connections_name ON connections (tenant_id, name);

-- email, username and search are folded to lower case; password is a PHC string.
CREATE TABLE users (
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    connection TEXT NOT NULL,
    email TEXT,
    username TEXT,
    search TEXT NOT NULL,
    body TEXT NOT NULL,
    password TEXT,
    last_login BIGINT,
    last_ip TEXT,
    logins_count BIGINT NOT NULL,
    last_password_reset BIGINT,
    created_at BIGINT NOT NULL,
    CONSTRAINT users_user_id PRIMARY KEY (tenant_id, user_id)
);
CREATE UNIQUE INDEX users_email ON users (tenant_id, connection, email);
CREATE UNIQUE INDEX users_username ON users (tenant_id, connection, username);

-- pkcs8: sealed for signing_key/TENANT/KID/pkcs8.
CREATE TABLE signing_keys (
    tenant_id TEXT NOT NULL,
    kid TEXT NOT NULL,
    alg TEXT NOT NULL,
    state TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    pkcs8 BYTES NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT signing_keys_kid PRIMARY KEY (tenant_id, kid)
);
CREATE UNIQUE INDEX signing_keys_role ON signing_keys (tenant_id, alg, state) WHERE state IN ('current', 'next');

CREATE TABLE sessions (
    tenant_id TEXT NOT NULL,
    sid TEXT NOT NULL,
    cookie BYTES NOT NULL,
    user_id TEXT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (tenant_id, sid)
);
CREATE UNIQUE INDEX sessions_cookie ON sessions (tenant_id, cookie);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id);

CREATE TABLE login_transactions (
    tenant_id TEXT NOT NULL,
    handle BYTES NOT NULL,
    browser BYTES NOT NULL,
    request TEXT NOT NULL,
    sid TEXT,
    expires_at BIGINT NOT NULL,
    finished_at BIGINT,
    PRIMARY KEY (tenant_id, handle)
);

CREATE TABLE consents (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    audience TEXT NOT NULL,
    scope TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX consents_subject ON consents (tenant_id, user_id, client_id, audience);

CREATE TABLE codes (
    tenant_id TEXT NOT NULL,
    code BYTES NOT NULL,
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    grant_body TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (tenant_id, code)
);
CREATE INDEX codes_user ON codes (tenant_id, user_id);

CREATE TABLE refresh_tokens (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    token BYTES NOT NULL,
    family TEXT NOT NULL,
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    sid TEXT NOT NULL,
    grant_body TEXT NOT NULL,
    parent TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    rotated_at BIGINT,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX refresh_tokens_token ON refresh_tokens (tenant_id, token);
CREATE INDEX refresh_tokens_family ON refresh_tokens (tenant_id, family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (tenant_id, user_id, client_id);
CREATE INDEX refresh_tokens_parent ON refresh_tokens (tenant_id, parent);
CREATE INDEX refresh_tokens_sid ON refresh_tokens (tenant_id, sid);

CREATE TABLE access_tokens (
    tenant_id TEXT NOT NULL,
    token BYTES NOT NULL,
    client_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    grant_body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    PRIMARY KEY (tenant_id, token)
);
CREATE INDEX access_tokens_user ON access_tokens (tenant_id, user_id);

CREATE TABLE revocations (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
