//! Auth0's own endpoints for database connections: sign-up and change of password without a login page.

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use idp::{DirectSignUp, SignUpError};
use serde_json::{Map, Value, json};

use crate::{IdpState, answer, cors, fields, visit::Visit};

/// Bytes of a body.
const MAX_BODY: usize = 64 * 1024;
/// Said whether there is such a user or not.
const SENT: &str = "We've just sent you an email to reset your password.";

/// `POST /dbconnections/signup`.
pub(crate) async fn sign_up(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let response = match read(&headers, body).await {
        Ok(body) => made(&state, &visit, &headers, body).await,
        Err(reason) => bad_request("invalid_body", reason),
    };
    cors::open(&state, &visit, &headers, answer::uncached(response)).await
}

async fn made(state: &IdpState, visit: &Visit, headers: &HeaderMap, body: Map<String, Value>) -> Response {
    let browser = visit.browser(headers);
    match state.idp.login.sign_up_directly(&visit.site, &browser, body).await {
        Ok(DirectSignUp::Done(user)) => {
            let mut wire = Map::new();
            wire.insert("_id".to_owned(), json!(user.local_id()));
            wire.insert("email_verified".to_owned(), json!(user.email_verified));
            let told = [
                ("email", &user.email),
                ("username", &user.username),
                ("given_name", &user.given_name),
                ("family_name", &user.family_name),
                ("name", &user.name),
                ("nickname", &user.nickname),
                ("picture", &user.picture),
            ];
            for (name, value) in told {
                if let Some(value) = value {
                    wire.insert(name.to_owned(), json!(value));
                }
            }
            Json(wire).into_response()
        }
        Ok(DirectSignUp::Closed) => bad_request("unauthorized", "Public sign up is disabled"),
        Ok(DirectSignUp::Invalid(reason)) => bad_request("invalid_body", &reason),
        Ok(DirectSignUp::Refused(error)) => refusal(&error),
        Err(error) => answer::endpoint_error(&visit.site, error.into(), false),
    }
}

/// `POST /dbconnections/change_password`. The answer is a sentence, and the same for everybody.
pub(crate) async fn change_password(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let response = match read(&headers, body).await {
        Ok(body) => asked(&state, &visit, &headers, &body).await,
        Err(reason) => bad_request("invalid_body", reason),
    };
    cors::open(&state, &visit, &headers, answer::uncached(response)).await
}

async fn asked(state: &IdpState, visit: &Visit, headers: &HeaderMap, body: &Map<String, Value>) -> Response {
    if !state.idp.tickets.mails() {
        let error = json!({ "error": "endpoint_disabled", "error_description": "No mail is sent here." });
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    let known = ["client_id", "email", "connection", "password"];
    if let Some(unknown) = body.keys().find(|name| !known.contains(&name.as_str())) {
        let shown: String = unknown.chars().take(64).collect();
        return bad_request("invalid_body", &format!("unknown member {shown}"));
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(email), Some(connection)) = (text("email"), text("connection")) else {
        return bad_request("invalid_body", "email and connection are required");
    };
    let browser = visit.browser(headers);
    let client = text("client_id");
    match state.idp.login.reset_directly(&visit.site, &browser, client, connection, email).await {
        Ok(true) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], SENT).into_response()
        }
        Ok(false) => {
            bad_request("invalid_body", "connection does not exist or is not enabled for this client")
        }
        Err(error) => answer::endpoint_error(&visit.site, error.into(), false),
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, &'static str> {
    let bytes: Bytes =
        Limited::new(body, MAX_BODY).collect().await.map_err(|_| "the body is too long")?.to_bytes();
    match fields::media_type(headers).as_deref() {
        Some("application/json") => match jose::parse_json(&bytes, 4) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err("the body is not a usable JSON object"),
        },
        Some("application/x-www-form-urlencoded") => {
            let params = oauth::form::parse(&bytes).map_err(|_| "the body is not a usable form")?;
            Ok(params.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
        }
        _ => Err("the body must be application/json"),
    }
}

fn refusal(error: &SignUpError) -> Response {
    match error {
        SignUpError::WeakPassword(rules) => {
            let rules: Vec<Value> =
                rules.iter().map(|rule| json!({ "message": rule, "verified": false })).collect();
            let body = json!({
                "name": "PasswordStrengthError", "code": "invalid_password", "message": "Password is too weak",
                "description": { "rules": rules, "verified": false }, "statusCode": 400,
            });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        SignUpError::UsedPassword => {
            bad_request("password_history_error", "Password has previously been used")
        }
        SignUpError::Email => bad_request("invalid_body", "email is not a usable e-mail address"),
        SignUpError::Username => bad_request("invalid_body", "username is missing or not a usable one"),
        SignUpError::Exists => bad_request("user_exists", "The user already exists."),
        SignUpError::Rejected => bad_request("invalid_signup", "Invalid sign up"),
    }
}

/// The third dialect of Auth0's errors.
fn bad_request(code: &str, description: &str) -> Response {
    let body =
        json!({ "name": "BadRequestError", "code": code, "description": description, "statusCode": 400 });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}
