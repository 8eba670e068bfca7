//! `/api/v2`, in the shapes of Auth0's Management API.
//!
//! A call goes: path split, then decoded; caller known by its token; route found in the one table of `routes`; one of
//! its scopes demanded; body read as a strict JSON value; then one of the functions in `objects`, `users` or `settings`.
//! What is no route gets the same 403 as a call without scope: tools that find a kind of resource closed to them say so
//! and go on, where they would repeat a call that ends in 5xx for minutes.

mod actions;
mod credentials;
mod grants;
mod jobs;
mod listing;
mod logs;
mod multipart;
mod objects;
mod roles;
mod routes;
mod sessions;
mod settings;
mod shape;
mod tickets;
mod users;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use idp::{
    Site,
    management::{Caller, Management, ManagementError, Object},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

pub(crate) use self::jobs::users_export;
#[cfg(test)]
pub(crate) use self::routes::{ROUTES, Route};
use self::{listing::Listing, multipart::Parts, routes::Operation};
use crate::{IdpState, answer, fields, visit::Visit};

/// Bytes of a body.
const MAX_BODY: usize = 1024 * 1024;
/// Nesting of a body.
const MAX_DEPTH: usize = 32;
/// Segments of a path, and bytes of one.
const MAX_SEGMENTS: usize = 8;
const MAX_SEGMENT: usize = 2048;

/// A call whose caller may make it.
struct Call<'a> {
    state: &'a IdpState,
    site: &'a Site,
    caller: &'a Caller,
    /// The path's segments, decoded.
    segments: &'a [String],
    query: Option<&'a str>,
    body: Option<Value>,
    /// What was sent in place of a body in JSON.
    parts: Option<Parts>,
}

/// What a call came to.
enum Done {
    Found(Value),
    /// With the next call in the header `Link`.
    Linked(Value, HeaderValue),
    Created(Value),
    /// 202, with nothing to tell.
    Accepted,
    /// 202, with what goes on now.
    Begun(Value),
    Gone,
}

/// Why there is no such outcome.
enum Failed {
    Management(ManagementError),
    /// What the domain has no words for: status, `errorCode`, message.
    Request(StatusCode, &'static str, String),
}

impl From<ManagementError> for Failed {
    fn from(error: ManagementError) -> Self {
        Self::Management(error)
    }
}

impl Failed {
    fn status(&self) -> StatusCode {
        match self {
            Self::Management(error) => {
                StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::Request(status, ..) => *status,
        }
    }
}

/// Everything at and below `/api/v2`.
pub(crate) async fn serve(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Response {
    match judge(&state, &visit, request).await {
        Ok(Done::Found(value)) => Json(value).into_response(),
        Ok(Done::Linked(value, next)) => ([(header::LINK, next)], Json(value)).into_response(),
        Ok(Done::Created(value)) => (StatusCode::CREATED, Json(value)).into_response(),
        Ok(Done::Begun(value)) => (StatusCode::ACCEPTED, Json(value)).into_response(),
        Ok(Done::Accepted) => StatusCode::ACCEPTED.into_response(),
        Ok(Done::Gone) => StatusCode::NO_CONTENT.into_response(),
        Err(failed) => refuse(failed),
    }
}

async fn judge(state: &IdpState, visit: &Visit, request: Request) -> Result<Done, Failed> {
    let (head, body) = request.into_parts();
    let authorization = answer::authorization(&head.headers)
        .map_err(|_| ManagementError::Unauthorized("Bad HTTP authentication header format"))?;
    let caller = state.idp.management.caller(&visit.site, authorization).await?;
    let segments = segments(head.uri.path())?;
    let Some(route) = routes::find(&head.method, &segments) else {
        let scope = routes::would_be_scope(&head.method, &segments);
        return Err(ManagementError::InsufficientScope(scope).into());
    };
    caller.require_any(route.scopes)?;
    let takes_body = matches!(head.method.as_str(), "POST" | "PATCH" | "PUT" | "DELETE");
    let (mut parts, mut json) = (None, None);
    if route.operation == Operation::ImportUsers {
        parts = multipart::read(&head.headers, &whole(body).await?)?;
    } else if takes_body {
        json = json_body(&head.headers, whole(body).await?)?;
    }
    let (query, site) = (head.uri.query(), &visit.site);
    let call = Call { state, site, caller: &caller, segments: &segments, query, body: json, parts };
    let done = call.perform(route.operation).await;
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let status = match &done {
            Ok(_) => None,
            Err(failed) => Some(failed.status().as_u16()),
        };
        let client = &caller.claims().client_id;
        let (browser, path) = (visit.browser(&head.headers), head.uri.path());
        let logs = &state.idp.management.logs;
        logs.note_change(&visit.site, &browser, client, head.method.as_str(), path, status);
    }
    done
}

impl Call<'_> {
    async fn perform(self, operation: Operation) -> Result<Done, Failed> {
        use Operation::*;
        match operation {
            ListClients => self.list_clients().await,
            CreateClient => self.create_client().await,
            ReadClient => self.read_client().await,
            UpdateClient => self.update_client().await,
            DeleteClient => self.delete_client().await,
            RotateSecret => self.rotate_secret().await,
            ListCredentials => self.list_credentials().await,
            CreateCredential => self.create_credential().await,
            ReadCredential => self.read_credential().await,
            UpdateCredential => self.update_credential().await,
            DeleteCredential => self.delete_credential().await,
            ListClientConnections => self.list_client_connections().await,
            ListApis => self.list_apis().await,
            CreateApi => self.create_api().await,
            ReadApi => self.read_api().await,
            UpdateApi => self.update_api().await,
            DeleteApi => self.delete_api().await,
            ListGrants => self.list_grants().await,
            CreateGrant => self.create_grant().await,
            ReadGrant => self.read_grant().await,
            UpdateGrant => self.update_grant().await,
            DeleteGrant => self.delete_grant().await,
            ListConnections => self.list_connections().await,
            CreateConnection => self.create_connection().await,
            ReadConnection => self.read_connection().await,
            UpdateConnection => self.update_connection().await,
            DeleteConnection => self.delete_connection().await,
            ListConnectionClients => self.list_connection_clients().await,
            UpdateConnectionClients => self.update_connection_clients().await,
            DeleteConnectionUser => self.delete_connection_user().await,
            ListUsers => self.list_users().await,
            CreateUser => self.create_user().await,
            ReadUser => self.read_user().await,
            UpdateUser => self.update_user().await,
            DeleteUser => self.delete_user().await,
            UsersByEmail => self.users_by_email().await,
            VerificationTicket => self.verification_ticket().await,
            PasswordTicket => self.password_ticket().await,
            ImportUsers => self.import_users().await,
            ExportUsers => self.export_users().await,
            MailVerification => self.mail_verification().await,
            ReadJob => self.read_job().await,
            ReadJobErrors => self.read_job_errors().await,
            ListActions => self.list_actions().await,
            ListLogs => self.list_logs().await,
            ReadLog => self.read_log().await,
            ListUserLogs => self.list_user_logs().await,
            ListConsents => self.list_consents().await,
            DeleteConsentsOf => self.delete_consents_of().await,
            DeleteConsent => self.delete_consent().await,
            BlocksByName => self.blocks_by_name().await,
            UnblockByName => self.unblock_by_name().await,
            BlocksOfUser => self.blocks_of_user().await,
            UnblockUser => self.unblock_user().await,
            BlockOfAddress => self.block_of_address().await,
            UnblockAddress => self.unblock_address().await,
            LinkUser => self.link_user().await,
            UnlinkUser => self.unlink_user().await,
            ListUserSessions => self.list_user_sessions().await,
            EndUserSessions => self.end_user_sessions().await,
            ListUserTokens => self.list_user_tokens().await,
            EndUserTokens => self.end_user_tokens().await,
            RevokeAccess => self.revoke_access().await,
            ReadSession => self.read_session().await,
            EndSession => self.end_session().await,
            RevokeSession => self.revoke_session().await,
            ListTokens => self.list_tokens().await,
            ReadToken => self.read_token().await,
            EndToken => self.end_token().await,
            ListRoles => self.list_roles().await,
            CreateRole => self.create_role().await,
            ReadRole => self.read_role().await,
            UpdateRole => self.update_role().await,
            DeleteRole => self.delete_role().await,
            ListRolePermissions => self.list_role_permissions().await,
            AddRolePermissions => self.add_role_permissions().await,
            RemoveRolePermissions => self.remove_role_permissions().await,
            ListRoleUsers => self.list_role_users().await,
            AddRoleUsers => self.add_role_users().await,
            ListUserRoles => self.list_user_roles().await,
            AddUserRoles => self.add_user_roles().await,
            RemoveUserRoles => self.remove_user_roles().await,
            ListUserPermissions => self.list_user_permissions().await,
            AddUserPermissions => self.add_user_permissions().await,
            RemoveUserPermissions => self.remove_user_permissions().await,
            ReadTenant => self.read_tenant().await,
            UpdateTenant => self.update_tenant().await,
            ListKeys => self.list_keys().await,
            ReadKey => self.read_key().await,
            RotateKeys => self.rotate_keys().await,
            RevokeKey => self.revoke_key().await,
        }
    }

    fn management(&self) -> &Management {
        &self.state.idp.management
    }

    /// The segment at `place`, which the route's pattern has.
    fn segment(&self, place: usize) -> &str {
        self.segments.get(place).map(String::as_str).unwrap_or_default()
    }

    /// The id in `KIND/ID…`.
    fn id(&self) -> &str {
        self.segment(1)
    }

    fn listing(&self, filters: &[&str]) -> Result<Listing, ManagementError> {
        Listing::parse(self.query, filters)
    }

    /// The body of a creation, with what nothing is made without.
    fn new_object(&mut self, required: &[&str]) -> Result<Object, ManagementError> {
        let body = self.object()?;
        match required.iter().find(|name| body.get(**name).is_none_or(Value::is_null)) {
            Some(missing) => Err(invalid_body(&format!("Missing required property: {missing}"))),
            None => Ok(body),
        }
    }

    /// The body, which must be an object.
    fn object(&mut self) -> Result<Object, ManagementError> {
        match self.body.take() {
            Some(Value::Object(object)) => shape::check(&object).map(|()| object),
            Some(_) => Err(invalid_body("Expected type object")),
            None => Err(invalid_body("Expected a JSON object as the body")),
        }
    }
}

/// `invalid_body` in Auth0's words.
fn invalid_body(reason: &str) -> ManagementError {
    ManagementError::InvalidBody(format!("Payload validation error: '{reason}'."))
}

/// The segments below `/api/v2`: split first, decoded then, since ids have slashes and bars in them.
fn segments(path: &str) -> Result<Vec<String>, Failed> {
    let refused = |reason: &str| {
        let message = format!("Path validation error: '{reason}'.");
        Failed::Request(StatusCode::BAD_REQUEST, "invalid_uri", message)
    };
    let below = path.strip_prefix("/api/v2").unwrap_or_default();
    let below = below.strip_prefix('/').unwrap_or(below);
    let raw: Vec<&str> = below.strip_suffix('/').unwrap_or(below).split('/').collect();
    if raw.len() > MAX_SEGMENTS || raw.iter().any(|segment| segment.len() > MAX_SEGMENT) {
        return Err(refused("The path is too long"));
    }
    raw.into_iter()
        .map(|segment| match percent_decode_str(segment).decode_utf8() {
            Ok(text) if text.chars().any(char::is_control) => {
                Err(refused("An id has control characters in it"))
            }
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(refused("An id is not UTF-8")),
        })
        .collect()
}

async fn whole(body: axum::body::Body) -> Result<Bytes, Failed> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("The request body is larger than {MAX_BODY} bytes.");
            Err(Failed::Request(StatusCode::PAYLOAD_TOO_LARGE, "invalid_body", message))
        }
        Err(_) => Err(invalid_body("The body broke off").into()),
    }
}

/// Reads a body. None is no error here: some calls need none.
fn json_body(headers: &axum::http::HeaderMap, bytes: Bytes) -> Result<Option<Value>, Failed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if fields::media_type(headers).as_deref() != Some("application/json") {
        return Err(invalid_body("The body must be application/json").into());
    }
    let parsed = jose::parse_json(&bytes, MAX_DEPTH);
    parsed.map(Some).map_err(|error| invalid_body(&format!("The body is no usable JSON: {error}")).into())
}

fn refuse(failed: Failed) -> Response {
    let (status, body) = match failed {
        Failed::Management(error) => {
            if let ManagementError::Internal(error) = &error {
                tracing::error!(%error, "a call of the Management API failed");
            }
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Value::Object(error.to_wire()))
        }
        Failed::Request(status, code, message) => {
            let error = status.canonical_reason().unwrap_or_default();
            let body = json!({ "statusCode": status.as_u16(), "error": error, "message": message, "errorCode": code });
            (status, body)
        }
    };
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, answer::RETRY_AFTER);
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 11.6.1: a 401 names the scheme that would do.
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_decoded_after_the_path_is_split() {
        let split = |path| segments(path).ok();
        let of = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(split("/api/v2/users/auth0%7C123"), of(&["users", "auth0|123"]));
        assert_eq!(
            split("/api/v2/resource-servers/https:%2F%2Fapi%2F"),
            of(&["resource-servers", "https://api/"])
        );
        assert_eq!(split("/api/v2/clients/"), of(&["clients"]));
        assert_eq!(split("/api/v2"), of(&[""]));
        for bad in ["/api/v2/users/%ff", "/api/v2/users/a%00b", "/api/v2/a/b/c/d/e/f/g/h/i"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_operation_is_on_one_line_of_the_table() {
        for (place, route) in ROUTES.iter().enumerate() {
            assert!(!ROUTES.iter().skip(place + 1).any(|other| other.operation == route.operation));
            assert!(!route.scopes.is_empty());
        }
    }
}
