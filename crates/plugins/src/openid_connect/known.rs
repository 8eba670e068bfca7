//! What is known of a session's user: the claims of its tokens, and of userinfo.

use base::Secret;
use jose::parse_json;
use rp::{bearer, session::Session};
use serde_json::{Map, Value};

use crate::json_schema::JsonSchema;

use super::{Config, answer, browser::payload, claims::Documents};

/// Levels of nesting in claims.
const MAX_DEPTH: usize = 32;

/// The sets of claims that a session has; only those that the configuration asks for are read.
#[derive(Default)]
pub(super) struct Known {
    access_token: Option<Map<String, Value>>,
    id_token: Option<Map<String, Value>>,
    userinfo: Option<Map<String, Value>>,
}

impl Known {
    pub(super) fn of(session: &Session, config: &Config) -> Self {
        let claims = config.looks_into_claims();
        let any = claims || !config.required_scopes.is_empty();
        if !any {
            return Self::default();
        }
        let of_token = |token: &Secret<String>| payload(token.expose()).and_then(|payload| object(&payload));
        Self {
            access_token: session.access_token.as_ref().and_then(of_token),
            id_token: session.id_claims().and_then(|claims| object(&claims)),
            userinfo: session.userinfo.as_ref().filter(|_| claims).and_then(|text| object(text.as_bytes())),
        }
    }

    pub(super) fn documents(&self) -> Documents<'_> {
        Documents {
            access_token: self.access_token.as_ref(),
            id_token: self.id_token.as_ref(),
            userinfo: self.userinfo.as_ref(),
        }
    }

    /// Why the session does not suffice on this route, in the words of the 403.
    pub(super) fn objection(&self, session: &Session, config: &Config) -> Option<Box<str>> {
        let scopes = self.scopes(session);
        let has = |scope: &String| scopes.iter().any(|have| **have == **scope);
        if !config.required_scopes.iter().all(has) {
            return Some(answer::scopes_missing(&config.required_scopes).into());
        }
        answer::claims_failing(&self.documents().failing(&config.claim_rules))
    }

    /// Those that the access token names, else those that the token endpoint granted, else those that the ID token
    /// names.
    fn scopes(&self, session: &Session) -> Box<[Box<str>]> {
        let named = |claims: &Option<Map<String, Value>>| {
            claims.as_ref().map(bearer::scopes).filter(|scopes| !scopes.is_empty())
        };
        let granted = || {
            let text = session.scope.as_deref()?;
            Some(text.split(' ').filter(|scope| !scope.is_empty()).map(Box::from).collect())
        };
        named(&self.access_token).or_else(granted).or_else(|| named(&self.id_token)).unwrap_or_default()
    }
}

/// Why a session does not match the schema, which speaks of `{user, access_token, id_token}`.
pub(super) fn misfit(schema: &JsonSchema, session: &Session) -> Option<Box<str>> {
    let user = session.userinfo.as_ref().and_then(|json| object(json.as_bytes())).map(Value::Object);
    let access_token = session.access_token.as_ref().map(|token| Value::from(token.expose().as_str()));
    let id_token = session.id_claims().and_then(|claims| object(&claims)).map(Value::Object);
    let members = [("user", user), ("access_token", access_token), ("id_token", id_token)];
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    schema.check(&Value::Object(members.collect())).err().map(String::into_boxed_str)
}

fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match parse_json(json, MAX_DEPTH) {
        Ok(Value::Object(claims)) => Some(claims),
        _ => None,
    }
}
