-- Who a user is to the clients of one sector.

CREATE TABLE pairwise_subjects (
    tenant_id TEXT NOT NULL,
    sector TEXT NOT NULL,
    user_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sector, user_id)
);
CREATE UNIQUE INDEX pairwise_subjects_subject ON pairwise_subjects (tenant_id, subject);
