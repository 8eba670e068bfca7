//! Imports and exports of users.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::{Idp, management::ManagementError, model::ExportFormat};
use serde_json::Value;

use super::{Call, Done, Failed, invalid_body, multipart::Parts};
use crate::{IdpState, pages, visit::Visit};

/// Bytes of a file of users, as with Auth0.
const MAX_FILE: usize = 500 * 1024;

impl Call<'_> {
    pub(super) async fn import_users(mut self) -> Result<Done, Failed> {
        let parts = self.parts.take().ok_or_else(|| invalid_body("The body must be multipart/form-data"))?;
        let form = Form::read(parts)?;
        let jobs = &self.management().jobs;
        let begun =
            jobs.begin_import(self.site, &form.connection_id, &form.users, form.upsert, form.external_id);
        let (job, order) = begun.await?;
        let (idp, site) = (Arc::clone(&self.state.idp), self.site.clone());
        go_on(async move { idp.management.jobs.import(&site, order).await });
        Ok(Done::Begun(Value::Object(job)))
    }

    pub(super) async fn export_users(mut self) -> Result<Done, Failed> {
        let body = if self.body.is_some() { self.object()? } else { serde_json::Map::new() };
        let (job, order) = self.management().jobs.begin_export(self.site, body).await?;
        let (idp, site): (Arc<Idp>, _) = (Arc::clone(&self.state.idp), self.site.clone());
        go_on(async move { idp.management.jobs.export(&site, order).await });
        Ok(Done::Found(Value::Object(job)))
    }

    pub(super) async fn mail_verification(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["user_id"])?;
        let job = self.management().jobs.verification_email(self.site, body).await?;
        Ok(Done::Created(Value::Object(job)))
    }

    pub(super) async fn read_job(self) -> Result<Done, Failed> {
        Ok(Done::Found(Value::Object(self.management().jobs.read(self.site, self.id()).await?)))
    }

    pub(super) async fn read_job_errors(self) -> Result<Done, Failed> {
        let errors = self.management().jobs.errors(self.site, self.id()).await?;
        Ok(errors.map_or(Done::Gone, Done::Found))
    }
}

/// Does the work when the answer is on its way. What fails then is for the log; the job stays under way, and is said to
/// have been interrupted later.
fn go_on(work: impl Future<Output = Result<(), ManagementError>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = work.await {
            tracing::error!(%error, "a job with users failed");
        }
    });
}

/// The form of an import.
struct Form {
    users: Vec<u8>,
    connection_id: String,
    upsert: bool,
    external_id: Option<String>,
}

impl Form {
    fn read(mut parts: Parts) -> Result<Self, Failed> {
        let users = parts.remove("users").ok_or_else(|| invalid_body("Missing required property: users"))?;
        if users.len() > MAX_FILE {
            let message = format!("The file of users is larger than {MAX_FILE} bytes.");
            return Err(Failed::Request(StatusCode::PAYLOAD_TOO_LARGE, "invalid_body", message));
        }
        let connection_id = text(&mut parts, "connection_id")?
            .ok_or_else(|| invalid_body("Missing required property: connection_id"))?;
        let upsert = flag(&mut parts, "upsert")?;
        let external_id = text(&mut parts, "external_id")?;
        if flag(&mut parts, "send_completion_email")? {
            let text = "No mail is sent when a job is done: send_completion_email cannot be true.";
            return Err(ManagementError::Unsupported(text.to_owned()).into());
        }
        match parts.keys().next() {
            Some(name) => Err(invalid_body(&format!("Additional properties not allowed: {name}")).into()),
            None => Ok(Self { users, connection_id, upsert, external_id }),
        }
    }
}

fn text(parts: &mut Parts, name: &str) -> Result<Option<String>, ManagementError> {
    let Some(bytes) = parts.remove(name) else { return Ok(None) };
    let text = String::from_utf8(bytes).ok();
    let text = text.filter(|text| text.len() <= 255 && !text.chars().any(char::is_control));
    match text {
        Some(text) => Ok(Some(text)),
        None => Err(invalid_body(&format!("Expected up to 255 characters on property {name}"))),
    }
}

fn flag(parts: &mut Parts, name: &str) -> Result<bool, ManagementError> {
    match text(parts, name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid_body(&format!("Expected type boolean on property {name}"))),
    }
}

/// The file of an export, for whoever was told its address.
pub(crate) async fn users_export(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Response {
    const DISPOSITION: HeaderName = header::CONTENT_DISPOSITION;
    let query = query.unwrap_or_default();
    let params = oauth::form::parse(query.as_bytes()).ok();
    let value =
        |name: &str| params.as_ref().and_then(|params| params.value(name)).unwrap_or_default().to_owned();
    let found = state.idp.management.jobs.file(&visit.site, &value("job"), &value("key")).await;
    match found {
        Ok(Some((job, file))) => {
            let (kind, name) = match job.format {
                Some(ExportFormat::Csv) => ("text/csv; charset=utf-8", "attachment; filename=\"users.csv\""),
                _ => ("application/x-ndjson", "attachment; filename=\"users.ndjson\""),
            };
            ([(header::CONTENT_TYPE, kind), (DISPOSITION, name)], file).into_response()
        }
        Ok(None) => pages::error_page(StatusCode::NOT_FOUND, "not_found", "There is no such file."),
        Err(error) => {
            tracing::error!(%error, "a file of users could not be read");
            pages::error_page(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "Try again later.")
        }
    }
}
