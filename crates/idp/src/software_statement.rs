//! Software statements (RFC 7591 section 2.3): what somebody whom the tenant trusts says of a client's software.

use jose::CompactJws;
use oauth::ErrorCode;
use serde_json::{Map, Value};

use crate::{EndpointError, Site, client_authentication::ASSERTION_ALGS, idp::Core, model::StatementIssuer};

/// Where a statement stands among the metadata.
const MEMBER: &str = "software_statement";
/// How far the clock of an issuer may be ahead, in seconds.
const SKEW: i64 = 60;
/// What a JWT says of itself, and what is said of a registration rather than of software.
const NO_METADATA: [&str; 12] = [
    "aud",
    "client_id",
    "client_secret",
    "exp",
    "iat",
    "iss",
    "jti",
    "nbf",
    "registration_access_token",
    "registration_client_uri",
    MEMBER,
    "sub",
];

impl Core {
    /// The metadata of a registration. What its statement says counts, whatever the client itself says of the same
    /// (section 3.1.1).
    ///
    /// # Errors
    ///
    /// `invalid_software_statement` and `unapproved_software_statement` (section 3.2.2).
    pub(crate) async fn stated(
        &self,
        site: &Site,
        metadata: &Map<String, Value>,
    ) -> Result<Map<String, Value>, EndpointError> {
        let mut stated = metadata.clone();
        let statement = match metadata.get(MEMBER) {
            None | Some(Value::Null) if site.tenant.settings.software_statements.required => {
                return Err(invalid("this tenant registers no client without a software_statement"));
            }
            None | Some(Value::Null) => return Ok(stated),
            Some(Value::String(statement)) => statement,
            Some(_) => return Err(invalid("software_statement must be a string")),
        };
        for (name, value) in self.statement(site, statement).await? {
            if !NO_METADATA.contains(&name.as_str()) {
                stated.insert(name, value);
            }
        }
        Ok(stated)
    }

    /// The claims of a statement.
    async fn statement(&self, site: &Site, text: &str) -> Result<Map<String, Value>, EndpointError> {
        let jws = CompactJws::parse(text).map_err(|_| invalid("software_statement is no signed JWT"))?;
        let header = jws.header();
        if header.typ.is_some() && !header.has_typ("JWT") {
            return Err(invalid("software_statement is a JWT for something else"));
        }
        let claims = |payload: &[u8]| match jose::parse_json(payload, 16) {
            Ok(Value::Object(claims)) => Ok(claims),
            _ => Err(invalid("the payload of software_statement is no object")),
        };
        // Only to find the keys that it then has to be signed with.
        let named = claims(&jws.payload_unverified().unwrap_or_default())?;
        let issuer = named.get("iss").and_then(Value::as_str).unwrap_or_default();
        let issuers = &site.tenant.settings.software_statements.issuers;
        let Some(issuer) = issuers.iter().find(|known| known.issuer == issuer) else {
            return Err(refused(
                "unapproved_software_statement",
                "the issuer of software_statement is none that this tenant trusts",
            ));
        };
        let StatementIssuer { jwks, jwks_uri, .. } = issuer;
        let payload = self.verified_by_keys(jwks.as_ref(), jwks_uri.as_deref(), &jws, &ASSERTION_ALGS).await;
        let payload = payload.ok_or_else(|| invalid("software_statement cannot be verified"))?;
        let claims = claims(&payload)?;
        self.check_statement(site, &claims)?;
        Ok(claims)
    }

    fn check_statement(&self, site: &Site, claims: &Map<String, Value>) -> Result<(), EndpointError> {
        let now = self.clock.now().secs();
        let moment = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_f64()
                .map(|at| Some(at as i64))
                .ok_or_else(|| invalid("exp, nbf and iat of software_statement are numbers")),
        };
        if moment("exp")?.is_some_and(|end| end <= now) {
            return Err(invalid("software_statement has expired"));
        }
        if moment("nbf")?.max(moment("iat")?).is_some_and(|begin| begin > now + SKEW) {
            return Err(invalid("software_statement is not valid yet"));
        }
        let endpoint = site.url("/oidc/register");
        let names_us = |value: &Value| {
            value
                .as_str()
                .is_some_and(|name| name == site.issuer() || name == &*site.origin || name == endpoint)
        };
        let ours = match claims.get("aud") {
            None => true,
            Some(Value::Array(several)) => several.iter().any(names_us),
            Some(one) => names_us(one),
        };
        if ours { Ok(()) } else { Err(invalid("software_statement is for somebody else")) }
    }
}

fn invalid(text: &str) -> EndpointError {
    refused("invalid_software_statement", text)
}

fn refused(code: &str, text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::parse(code).unwrap_or(ErrorCode::InvalidClientMetadata), text)
}
