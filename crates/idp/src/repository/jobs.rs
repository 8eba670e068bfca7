use super::Fut;
use crate::model::Job;

/// Work that goes on after its request.
pub trait Jobs {
    /// Notes that one began.
    fn create_job<'a>(&'a self, tenant: &'a str, job: &'a Job) -> Fut<'a, ()>;
    /// One of them.
    fn job<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<Job>>;
    /// Notes what it came to: an import's errors as JSON, an export's file.
    fn finish_job<'a>(&'a self, tenant: &'a str, job: &'a Job, result: &'a str) -> Fut<'a, ()>;
    /// What [`Jobs::finish_job`] was given.
    fn job_result<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<String>>;
}
