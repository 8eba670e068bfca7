//! Users into a file. Without hashes of passwords.

use serde_json::{Map, Value};

use super::{JobService, ManagementError, Object};
use crate::{
    Site,
    management::wording::{additional, invalid},
    model::{ExportFormat, Job, JobKind, JobStatus, User},
    repository::UserFilter,
};

/// Users of one file.
const MAX_USERS: usize = 100_000;
/// Users that are read at once.
const BATCH: u32 = 1000;
/// What is written where the caller does not say.
const FIELDS: [&str; 15] = [
    "user_id",
    "email",
    "email_verified",
    "username",
    "phone_number",
    "phone_verified",
    "name",
    "nickname",
    "given_name",
    "family_name",
    "picture",
    "created_at",
    "updated_at",
    "last_login",
    "logins_count",
];

/// An export that was begun.
#[derive(Debug)]
pub struct ExportOrder {
    job: Job,
    limit: usize,
    fields: Vec<Field>,
}

/// A column: where its value is in a user, and what it is called in the file.
#[derive(Debug)]
struct Field {
    path: String,
    title: String,
}

impl JobService {
    /// Begins an export (200). The order is done by [`JobService::export`].
    pub async fn begin_export(
        &self,
        site: &Site,
        mut body: Object,
    ) -> Result<(Object, ExportOrder), ManagementError> {
        let connection = match body.shift_remove("connection_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(self.connection(site, &id).await?),
            Some(_) => return Err(invalid("connection_id", "Expected type string")),
        };
        let format = match body.shift_remove("format") {
            None | Some(Value::Null) => ExportFormat::Json,
            Some(format) => {
                let read = serde_json::from_value(format);
                read.map_err(|_| invalid("format", "No enum match, must be one of: json, csv"))?
            }
        };
        let limit = match body.shift_remove("limit") {
            None | Some(Value::Null) => MAX_USERS,
            Some(limit) => limit
                .as_u64()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=MAX_USERS).contains(limit))
                .ok_or_else(|| invalid("limit", &format!("Expected 1 to {MAX_USERS}")))?,
        };
        let fields = read_fields(body.shift_remove("fields"))?;
        if let Some(name) = body.keys().next() {
            return Err(additional(name));
        }
        let job = Job { format: Some(format), ..self.new_job(JobKind::UsersExport, connection.as_ref()) };
        let wire = self.begin(site, &job).await?;
        Ok((wire, ExportOrder { job, limit, fields }))
    }

    /// Does what [`JobService::begin_export`] began.
    pub async fn export(&self, site: &Site, order: ExportOrder) -> Result<(), ManagementError> {
        let ExportOrder { mut job, limit, fields } = order;
        let csv = job.format == Some(ExportFormat::Csv);
        let mut file = String::new();
        if csv {
            row(&mut file, fields.iter().map(|field| quoted(&field.title)));
        }
        let connection = job.connection.clone();
        let filter = UserFilter { connection: connection.as_deref(), ..UserFilter::default() };
        let (mut written, mut last) = (0, None::<(i64, String)>);
        'users: loop {
            let after = last.as_ref().map(|(at, id)| (*at, id.as_str()));
            let users = self.core.repository.users_after(&site.tenant.id, filter, after, BATCH).await?;
            let Some(end) = users.last() else { break };
            last = Some((end.created_at, end.user_id.clone()));
            for user in &users {
                if written == limit {
                    if limit == MAX_USERS {
                        let text = "There are more users than fit. Export a connection at a time.";
                        (job.status, job.status_details) = (JobStatus::Failed, Some(text.to_owned()));
                    }
                    break 'users;
                }
                write(&mut file, user, &fields, csv);
                written += 1;
            }
        }
        if job.status == JobStatus::Pending {
            job.status = JobStatus::Completed;
        }
        Ok(self.core.repository.finish_job(&site.tenant.id, &job, &file).await?)
    }
}

fn read_fields(fields: Option<Value>) -> Result<Vec<Field>, ManagementError> {
    let items = match fields {
        None | Some(Value::Null) => {
            let plain = |name: &&str| Field { path: (*name).to_owned(), title: (*name).to_owned() };
            return Ok(FIELDS.iter().map(plain).collect());
        }
        Some(Value::Array(items)) if (1..=100).contains(&items.len()) => items,
        Some(_) => return Err(invalid("fields", "Expected an array of 1 to 100 fields")),
    };
    let text = |item: &Value, member: &str| {
        let text = item.get(member).and_then(Value::as_str);
        text.filter(|text| (1..=255).contains(&text.len())).map(str::to_owned)
    };
    let field = |item: &Value| {
        let path = text(item, "name")?;
        let title = match item.get("export_as") {
            None | Some(Value::Null) => path.clone(),
            Some(_) => text(item, "export_as")?,
        };
        Some(Field { path, title })
    };
    let read: Option<Vec<Field>> = items.iter().map(field).collect();
    read.ok_or_else(|| invalid("fields", "Every field needs a name, and may have an export_as"))
}

fn write(file: &mut String, user: &User, fields: &[Field], csv: bool) {
    let wire = Value::Object(user.to_wire());
    if csv {
        let cell = |field: &Field| match find(&wire, &field.path) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => quoted(text),
            Some(other) => quoted(&other.to_string()),
        };
        row(file, fields.iter().map(cell));
        return;
    }
    let mut line = Map::new();
    for field in fields {
        if let Some(value) = find(&wire, &field.path) {
            line.insert(field.title.clone(), value.clone());
        }
    }
    file.push_str(&Value::Object(line).to_string());
    file.push('\n');
}

/// The value at `user_metadata.city` or `identities[0].connection`.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let mut here = value;
    for part in path.split('.') {
        let (name, index) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
            Some((name, index)) => (name, Some(index.parse::<usize>().ok()?)),
            None => (part, None),
        };
        here = here.get(name)?;
        if let Some(index) = index {
            here = here.get(index)?;
        }
    }
    Some(here)
}

fn row(file: &mut String, cells: impl Iterator<Item = String>) {
    file.push_str(&cells.collect::<Vec<_>>().join(","));
    file.push_str("\r\n");
}

/// RFC 4180 section 2. PostgreSQL keeps no text with U+0000 in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\0', "").replace('"', "\"\""))
}
