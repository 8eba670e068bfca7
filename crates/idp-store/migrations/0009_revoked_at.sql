-- When an id was revoked, so that gates can follow what is new; NULL for ids that are used up. Which of the two the rows
-- were that are here already is not known any more: taking one too many for revoked ends nothing.
ALTER TABLE revocations ADD COLUMN revoked_at BIGINT;
UPDATE revocations SET revoked_at = 0;
CREATE INDEX revocations_revoked_at ON revocations (revoked_at);
