//! Users from a file, with the hashes of their passwords.

use serde_json::{Map, Value, json};

use super::{JobService, ManagementError, Object, password_hash};
use crate::{
    RepositoryError, Site,
    management::{users, wording::invalid},
    model::{Connection, Job, JobKind, JobStatus, JobSummary, User, fold},
    policy,
};

/// Users of one file.
const MAX_USERS: usize = 10_000;
/// What a record may say, but for passwords. All else is refused by name.
const MEMBERS: [&str; 14] = [
    "app_metadata",
    "blocked",
    "email",
    "email_verified",
    "family_name",
    "given_name",
    "name",
    "nickname",
    "phone_number",
    "phone_verified",
    "picture",
    "user_id",
    "user_metadata",
    "username",
];

/// An import that was begun.
#[derive(Debug)]
pub struct ImportOrder {
    job: Job,
    connection: Connection,
    users: Vec<Value>,
}

/// What became of one record.
enum Imported {
    Inserted,
    Updated,
}

/// Why one was left out: a code, words, and the member.
pub(super) struct Flaw(pub(super) &'static str, pub(super) String, pub(super) Option<String>);

impl Flaw {
    fn of(error: &ManagementError) -> Self {
        let text = error.to_string();
        let member = text.rsplit_once(" on property ").map(|(_, name)| name.trim_end_matches('.').to_owned());
        Self("INVALID_FORMAT", text, member)
    }
}

impl JobService {
    /// Begins an import (202). The order is done by [`JobService::import`].
    pub async fn begin_import(
        &self,
        site: &Site,
        connection_id: &str,
        users: &[u8],
        upsert: bool,
        external_id: Option<String>,
    ) -> Result<(Object, ImportOrder), ManagementError> {
        let connection = self.connection(site, connection_id).await?;
        let users = match jose::parse_json(users, 16) {
            Ok(Value::Array(users)) if users.len() <= MAX_USERS => users,
            Ok(_) => {
                return Err(invalid("users", &format!("Expected an array of up to {MAX_USERS} users")));
            }
            Err(error) => return Err(invalid("users", &format!("The file is no usable JSON: {error}"))),
        };
        let mut job = self.new_job(JobKind::UsersImport, Some(&connection));
        (job.upsert, job.external_id) = (Some(upsert), external_id);
        let wire = self.begin(site, &job).await?;
        Ok((wire, ImportOrder { job, connection, users }))
    }

    /// Does what [`JobService::begin_import`] began.
    pub async fn import(&self, site: &Site, order: ImportOrder) -> Result<(), ManagementError> {
        let ImportOrder { mut job, connection, users } = order;
        let upsert = job.upsert == Some(true);
        let mut summary = JobSummary { total: users.len() as u64, ..JobSummary::default() };
        let mut errors = Vec::new();
        for mut record in users {
            let outcome = self.import_user(site, &connection, record.clone(), upsert).await;
            match outcome {
                Ok(Imported::Inserted) => summary.inserted += 1,
                Ok(Imported::Updated) => summary.updated += 1,
                Err(Flaw(code, message, path)) => {
                    summary.failed += 1;
                    // Hashes of passwords are not for reading.
                    if let Value::Object(members) = &mut record {
                        members.retain(|name, _| MEMBERS.contains(&name.as_str()));
                    }
                    errors.push(json!({
                        "user": record, "errors": [{ "code": code, "message": message, "path": path }],
                    }));
                }
            }
        }
        (job.status, job.summary) = (JobStatus::Completed, Some(summary));
        let result = Value::Array(errors).to_string();
        Ok(self.core.repository.finish_job(&site.tenant.id, &job, &result).await?)
    }

    async fn import_user(
        &self,
        site: &Site,
        connection: &Connection,
        record: Value,
        upsert: bool,
    ) -> Result<Imported, Flaw> {
        let Value::Object(mut record) = record else {
            return Err(Flaw("INVALID_FORMAT", "Expected type object".to_owned(), None));
        };
        let hash = password_hash::take(&mut record)?;
        if let Some(name) = record.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let text = format!("The property {name} is not supported.");
            return Err(Flaw("ADDITIONAL_PROPERTIES", text, Some(name.clone())));
        }
        let id = match record.shift_remove("user_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if users::is_id(&id) => Some(format!("auth0|{id}")),
            Some(_) => {
                let text = "Expected up to 200 letters, digits, and . _ - + @";
                return Err(Flaw::of(&invalid("user_id", text)));
            }
        };
        let failed = |error: RepositoryError| Flaw::of(&ManagementError::from(error));
        let known = self.known(site, connection, &record, id.as_deref()).await.map_err(failed)?;
        if known.is_some() && !upsert {
            return Err(Flaw("DUPLICATED_USER", "The user already exists.".to_owned(), None));
        }
        let mut user = match &known {
            Some(known) => users::RULES.apply(known, record),
            None => users::RULES.apply(&User::default(), record),
        }
        .map_err(|error| Flaw::of(&error))?;
        let now = self.core.clock.now().0;
        user.connection.clone_from(&connection.name);
        user.updated_at = now;
        user.email = user.email.map(|email| fold(&email));
        well_formed(connection, &user).map_err(|error| Flaw::of(&error))?;
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        if known.is_some() {
            // A password is never replaced: whoever has an account keeps the one that opens it.
            repository.update_user(tenant, &user).await.map_err(failed)?;
            return Ok(Imported::Updated);
        }
        user.user_id = id.unwrap_or_else(|| format!("auth0|{}", self.core.random.hex(12)));
        user.created_at = now;
        let user = user.newly_made();
        match repository.create_user(tenant, &user, hash.as_deref()).await {
            Err(RepositoryError::Conflict(_)) => {
                Err(Flaw("DUPLICATED_USER", "The user already exists.".to_owned(), None))
            }
            made => made.map(|()| Imported::Inserted).map_err(failed),
        }
    }

    /// The user that a record is about, if there is one already.
    async fn known(
        &self,
        site: &Site,
        connection: &Connection,
        record: &Map<String, Value>,
        id: Option<&str>,
    ) -> Result<Option<User>, RepositoryError> {
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        if let Some(id) = id
            && let Some(known) = repository.user(tenant, id).await?
        {
            return Ok(Some(known).filter(|known| known.connection == connection.name));
        }
        for name in ["email", "username"] {
            let Some(text) = record.get(name).and_then(Value::as_str) else { continue };
            let found = repository.user_by_identifier(tenant, &connection.name, &fold(text)).await?;
            if let Some((known, _)) = found {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }
}

fn well_formed(connection: &Connection, user: &User) -> Result<(), ManagementError> {
    if user.email.as_ref().is_some_and(|email| !policy::is_email(email)) {
        return Err(invalid("email", "Object didn't pass validation for format email"));
    }
    if user.username.as_ref().is_some_and(|name| !policy::is_username(connection, name)) {
        return Err(invalid("username", "Object didn't pass validation for format username"));
    }
    if user.email.is_none() && user.username.is_none() {
        return Err(invalid("email", "A user needs an e-mail address or a username"));
    }
    users::check(user)
}
