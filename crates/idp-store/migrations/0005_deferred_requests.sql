-- Requests that are answered elsewhere than where they were made: the device flow and CIBA. notification: sealed for
-- deferred/TENANT/HANDLE/notification, HANDLE in hexadecimal.

CREATE TABLE deferred_requests (
    tenant_id TEXT NOT NULL,
    handle BYTES NOT NULL,
    kind TEXT NOT NULL,
    client_id TEXT NOT NULL,
    user_code BYTES,
    user_id TEXT,
    request TEXT NOT NULL,
    notification BYTES,
    poll_interval BIGINT NOT NULL,
    polled_at BIGINT,
    too_soon BIGINT NOT NULL,
    state TEXT NOT NULL,
    grant_body TEXT,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, handle)
);
CREATE UNIQUE INDEX deferred_requests_user_code ON deferred_requests (tenant_id, user_code);
CREATE INDEX deferred_requests_user ON deferred_requests (tenant_id, user_id);
