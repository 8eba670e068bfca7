//! `/jobs`: imports and exports of users, and mails that ask to confirm an address. A job is begun by the request and
//! done after its answer; it is kept for a day.

mod export;
mod import;
mod password_hash;

use std::sync::Arc;

use base::same_bytes;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

pub use self::{export::ExportOrder, import::ImportOrder};
use super::{ManagementError, Object, wording::invalid};
use crate::{
    Site,
    idp::Core,
    model::{Connection, Job, JobKind, JobStatus},
};

/// Where the file of an export is.
pub const EXPORT_PATH: &str = "/u/users-export";

/// Jobs.
#[derive(Clone)]
pub struct JobService {
    core: Arc<Core>,
}

const MISSING: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_job"), message: "The job does not exist" };

impl JobService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// How far a job is; a finished export says where its file is.
    pub async fn read(&self, site: &Site, id: &str) -> Result<Object, ManagementError> {
        let job = self.core.repository.job(&site.tenant.id, id).await?.ok_or(MISSING)?;
        let mut wire = job.to_wire(self.core.clock.now());
        if job.kind == JobKind::UsersExport && job.status == JobStatus::Completed {
            let url = format!("{}?job={}&key={}", site.url(EXPORT_PATH), job.id, self.key(site, &job.id));
            wire.insert("location".to_owned(), url.into());
        }
        Ok(wire)
    }

    /// Why users of an import are not there; `None` where there is nothing to tell (204).
    pub async fn errors(&self, site: &Site, id: &str) -> Result<Option<Value>, ManagementError> {
        let job = self.core.repository.job(&site.tenant.id, id).await?.ok_or(MISSING)?;
        if job.kind != JobKind::UsersImport {
            return Ok(None);
        }
        let result = self.core.repository.job_result(&site.tenant.id, id).await?;
        let errors = result.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        Ok(errors.filter(|errors| errors.as_array().is_some_and(|errors| !errors.is_empty())))
    }

    /// The file of an export, for whoever has its address. `None` where the address is wrong.
    pub async fn file(
        &self,
        site: &Site,
        id: &str,
        key: &str,
    ) -> Result<Option<(Job, String)>, ManagementError> {
        if !same_bytes(key.as_bytes(), self.key(site, id).as_bytes()) {
            return Ok(None);
        }
        let job = self.core.repository.job(&site.tenant.id, id).await?;
        let job = job.filter(|job| job.kind == JobKind::UsersExport && job.status == JobStatus::Completed);
        let Some(job) = job else { return Ok(None) };
        let result = self.core.repository.job_result(&site.tenant.id, id).await?;
        Ok(result.map(|file| (job, file)))
    }

    /// Mails a user a link that confirms the address (201).
    pub async fn verification_email(&self, site: &Site, mut body: Object) -> Result<Object, ManagementError> {
        let user_id = match body.shift_remove("user_id") {
            Some(Value::String(id)) => id,
            _ => return Err(invalid("user_id", "Expected type string")),
        };
        // Only says whose mail template to use.
        body.shift_remove("client_id");
        if let Some(name) = body.keys().next() {
            return Err(ManagementError::Unsupported(format!("The property {name} is not supported.")));
        }
        if self.core.mailer.is_none() {
            return Err(ManagementError::Unsupported("No mail is sent here.".to_owned()));
        }
        let user = self.core.repository.user(&site.tenant.id, &user_id).await?;
        let user = user.ok_or(ManagementError::NotFound {
            code: Some("inexistent_user"),
            message: "The user does not exist.",
        })?;
        self.core.mail_verification(site, &user).await?;
        let job = Job { status: JobStatus::Completed, ..self.new_job(JobKind::VerificationEmail, None) };
        self.core.repository.create_job(&site.tenant.id, &job).await?;
        Ok(job.to_wire(self.core.clock.now()))
    }

    async fn begin(&self, site: &Site, job: &Job) -> Result<Object, ManagementError> {
        self.core.repository.create_job(&site.tenant.id, job).await?;
        Ok(job.to_wire(self.core.clock.now()))
    }

    fn new_job(&self, kind: JobKind, connection: Option<&Connection>) -> Job {
        Job {
            id: format!("job_{}", self.core.random.alphanumeric(16)),
            kind,
            status: JobStatus::Pending,
            connection_id: connection.map(|connection| connection.id.clone()),
            connection: connection.map(|connection| connection.name.clone()),
            external_id: None,
            upsert: None,
            format: None,
            summary: None,
            status_details: None,
            created_at: self.core.clock.now().0,
        }
    }

    async fn connection(&self, site: &Site, id: &str) -> Result<Connection, ManagementError> {
        let found = self.core.repository.connection(&site.tenant.id, id).await?;
        let found = found.filter(|connection| connection.id == id);
        found.ok_or_else(|| invalid("connection_id", "The connection does not exist"))
    }

    /// What only the job's own answer tells: no account is needed to fetch a file, as with Auth0.
    fn key(&self, site: &Site, id: &str) -> String {
        let digest = self.core.digester.digest(&format!("users export/{}/{id}", site.tenant.id));
        URL_SAFE_NO_PAD.encode(digest.0)
    }
}
