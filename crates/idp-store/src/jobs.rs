use idp::{
    model::Job,
    repository::{Fut, Jobs},
};

use crate::{
    SqlRepository,
    cells::{json, params},
};

impl Jobs for SqlRepository {
    fn create_job<'a>(&'a self, tenant: &'a str, job: &'a Job) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO jobs (tenant_id, id, body, created_at) VALUES ($1, $2, $3, $4)";
            self.database.write(sql, params![tenant, &job.id, json(job)?, job.created_at]).await?;
            Ok(())
        })
    }

    fn job<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<Job>> {
        Box::pin(async move {
            let sql = "SELECT body FROM jobs WHERE tenant_id = $1 AND id = $2";
            let row = self.database.row(sql, params![tenant, id]).await?;
            row.map(|row| row.json(0)).transpose()
        })
    }

    fn finish_job<'a>(&'a self, tenant: &'a str, job: &'a Job, result: &'a str) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE jobs SET body = $3, result = $4 WHERE tenant_id = $1 AND id = $2";
            self.database.write(sql, params![tenant, &job.id, json(job)?, result]).await?;
            Ok(())
        })
    }

    fn job_result<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<String>> {
        Box::pin(async move {
            let sql = "SELECT result FROM jobs WHERE tenant_id = $1 AND id = $2";
            let row = self.database.row(sql, params![tenant, id]).await?;
            Ok(match row {
                Some(row) => row.text_or_null(0)?.map(str::to_owned),
                None => None,
            })
        })
    }
}
