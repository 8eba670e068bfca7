use base::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::iso8601;

/// How long work may take. A job that is still under way then ended with its process.
const PATIENCE_MS: i64 = 10 * 60 * 1000;

/// Work on many users that goes on after the request that ordered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// `job_` and 16 letters.
    pub id: String,
    /// What is done.
    #[serde(rename = "type")]
    pub kind: JobKind,
    /// How far it is.
    pub status: JobStatus,
    /// Whose users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// The connection's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// What the caller calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Imports: whether users that are there already are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upsert: Option<bool>,
    /// Exports: what the file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ExportFormat>,
    /// Imports: what became of the users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<JobSummary>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Users from a file.
    UsersImport,
    /// Users into a file.
    UsersExport,
    /// A mail that asks to confirm an address.
    VerificationEmail,
}

/// `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Under way.
    Pending,
    /// Done.
    Completed,
    /// Given up.
    Failed,
}

/// `format` of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// One JSON object a line.
    Json,
    /// RFC 4180.
    Csv,
}

/// `summary` of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSummary {
    /// Not imported, and why can be read.
    pub failed: u64,
    /// Were there, and were changed.
    pub updated: u64,
    /// Are new.
    pub inserted: u64,
    /// All of the file.
    pub total: u64,
}

impl Job {
    /// The object as the Management API sends it at `now`.
    pub fn to_wire(&self, now: UnixMillis) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.insert("created_at".to_owned(), json!(iso8601(UnixMillis(self.created_at))));
        if self.is_lost(now) {
            wire.insert("status".to_owned(), json!("failed"));
            wire.insert("status_details".to_owned(), json!("The job was interrupted. Start it again."));
        }
        wire
    }

    fn is_lost(&self, now: UnixMillis) -> bool {
        self.status == JobStatus::Pending && self.created_at + PATIENCE_MS < now.0
    }
}
