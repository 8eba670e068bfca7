-- What a new token is counted among. Rotated ones stay until they expire, and there may be thousands of them.
CREATE INDEX refresh_tokens_live ON refresh_tokens (tenant_id, user_id, client_id, created_at DESC, id)
    WHERE revoked_at IS NULL AND rotated_at IS NULL;
