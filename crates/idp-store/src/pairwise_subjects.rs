use idp::{
    RepositoryError,
    repository::{Fut, PairwiseSubjects},
};

use crate::{SqlRepository, cells::params};

impl PairwiseSubjects for SqlRepository {
    fn pairwise_subject<'a>(
        &'a self,
        tenant: &'a str,
        sector: &'a str,
        user_id: &'a str,
        fresh: &'a str,
    ) -> Fut<'a, String> {
        Box::pin(async move {
            let known = "SELECT subject FROM pairwise_subjects
                         WHERE tenant_id = $1 AND sector = $2 AND user_id = $3";
            if let Some(row) = self.database.row(known, params![tenant, sector, user_id]).await? {
                return Ok(row.text(0)?.to_owned());
            }
            // Of two that come at once one makes it, and both give out that one.
            let make = "INSERT INTO pairwise_subjects (tenant_id, sector, user_id, subject)
                        VALUES ($1, $2, $3, $4)
                        ON CONFLICT (tenant_id, sector, user_id) DO UPDATE SET user_id = excluded.user_id
                        RETURNING subject";
            let rows = self.database.write(make, params![tenant, sector, user_id, fresh]).await?;
            let row =
                rows.first().ok_or_else(|| RepositoryError::Failed("no subject was made".to_owned()))?;
            Ok(row.text(0)?.to_owned())
        })
    }

    fn user_of_pairwise_subject<'a>(&'a self, tenant: &'a str, subject: &'a str) -> Fut<'a, Option<String>> {
        Box::pin(async move {
            let sql = "SELECT user_id FROM pairwise_subjects WHERE tenant_id = $1 AND subject = $2";
            let row = self.database.row(sql, params![tenant, subject]).await?;
            row.map(|row| row.text(0).map(str::to_owned)).transpose()
        })
    }
}
