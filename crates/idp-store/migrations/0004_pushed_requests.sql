-- Authorization requests that clients left at /oauth/par.

CREATE TABLE pushed_requests (
    tenant_id TEXT NOT NULL,
    handle BYTES NOT NULL,
    client_id TEXT NOT NULL,
    params TEXT NOT NULL,
    signed BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (tenant_id, handle)
);
