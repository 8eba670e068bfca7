//! Claims: what they must be, who may have issued them, and how the upstream learns of them. None of this is APISIX's.

use gateway::error::ConfigError;
use http::HeaderName;
use plugins::openid_connect::{
    AssertionConfig, ClaimHeader, ClaimRef, ClaimRule, ClaimTest, ConsumerConfig, ConsumerName, Document,
    IssuerConfig,
};
use rp::bearer::ClaimPath;
use serde_json::{Map, Value};

use super::{is_on, seconds, text, texts};
use crate::schema::Schema;

const ASSERTION_HEADER: &str = "X-Identity-Assertion";
const ASSERTION_ISSUER: &str = "portcullis";
const ASSERTION_JWKS: &str = "/.well-known/portcullis/jwks.json";
const ASSERTION_LIFETIME: u64 = 60;
const DOCUMENTS: &[&str] = &["access_token", "id_token", "userinfo"];
const PATH: &str = "a claim: `email`, `realm_access.roles`, a JSON pointer, the whole of a name with a colon or slash in \
                    it, or a list of names";

pub(super) fn fields(schema: Schema) -> Schema {
    let strings = || Schema::array(Schema::string());
    let headers = Schema::map(Schema::any_of(vec![Schema::string(), strings(), claim()])).at_most(32);
    let issuer = Schema::object()
        .required("discovery", Schema::string().doc("URL of the issuer's discovery document"))
        .field("client_id", Schema::string().doc("id of the client there, where it is another one"))
        .field("valid_issuers", strings().doc("issuers that count in place of the one that discovery names"))
        .field("audiences", strings().doc("in place of claim_validator.audience.values"))
        .field("required_scopes", strings().doc("in place of the route's"))
        .field("claim_rules", rules().doc("in place of the route's"));
    schema
        .field(
            "claim_rules",
            rules().doc("conditions over claims of every token or session; all must hold, else 403"),
        )
        .field(
            "claim_headers",
            headers.doc("headers that tell claims to the upstream: {\"X-User-Email\": \"email\"}"),
        )
        .field("identity_assertion", assertion_schema())
        .field("consumer", consumer_schema())
        .field(
            "additional_issuers",
            Schema::array(issuer)
                .at_most(16)
                .doc("providers whose JWTs are taken as well; the `iss` of a token picks its keys and rules"),
        )
}

fn claim() -> Schema {
    Schema::object().required("claim", place()).field("in", document_name())
}

fn assertion_schema() -> Schema {
    let named = Schema::any_of(vec![Schema::string(), Schema::array(Schema::string()), claim()]);
    Schema::object()
        .field("header", Schema::string().default(ASSERTION_HEADER).doc("header that carries it"))
        .field("issuer", Schema::string().length(1, 256).default(ASSERTION_ISSUER).doc("its iss"))
        .field(
            "audience",
            Schema::string()
                .length(1, 256)
                .doc("its aud; left out: services/ID, or routes/ID without a service"),
        )
        .field("claims", Schema::map(named).at_most(32).doc("further claims, and where they come from"))
        .field(
            "lifetime",
            Schema::integer()
                .at_least(5)
                .at_most(3600)
                .default(ASSERTION_LIFETIME)
                .doc("seconds from iat to exp"),
        )
        .field(
            "jwks_path",
            Schema::string()
                .default(ASSERTION_JWKS)
                .doc("path of this route at which its public keys are served"),
        )
        .doc("a JWT (ES256) by which the gateway itself tells the upstream who is calling")
}

fn consumer_schema() -> Schema {
    Schema::object()
        .required("claim", place())
        .field("in", document_name())
        .field(
            "by",
            Schema::string().choices(&["username", "custom_id"]).default("username").doc("what it holds"),
        )
        .field("required", Schema::boolean().default(true).doc("a caller who is no consumer gets 403"))
        .field(
            "anonymous",
            Schema::string().length(1, 256).doc("name of the consumer that such a caller counts as"),
        )
        .doc("the claim that says which consumer a caller is")
}

/// A test of one claim. What `any` holds are these, so a rule adds `any` to them.
fn test() -> Schema {
    tested(claim())
}

fn tested(claim: Schema) -> Schema {
    let value = || Schema::any_of(vec![Schema::string(), Schema::number(), Schema::boolean()]);
    let values = || Schema::array(value()).at_least(1);
    claim
        .field("any_of", values().doc("one of these is among its values"))
        .field("all_of", values().doc("all of these are"))
        .field("none_of", values().doc("none of these is"))
}

fn rules() -> Schema {
    // One shape for both, so that an error names the member that is wrong.
    let rule = tested(Schema::object().field("claim", place()).field("in", document_name()))
        .field("any", Schema::array(test()).at_least(1).doc("in place of a claim: one of these tests holds"))
        .one_required(&[&["claim"], &["any"]]);
    Schema::array(rule).at_most(64)
}

fn place() -> Schema {
    Schema::any_of(vec![Schema::string(), Schema::array(Schema::string())]).doc(PATH)
}

fn document_name() -> Schema {
    Schema::string().choices(DOCUMENTS).doc("whose word counts in a session; else the first that has it")
}

pub(super) fn claim_rules(conf: &Value, field: &str) -> Result<Vec<ClaimRule>, ConfigError> {
    let rules = conf.get("claim_rules").and_then(Value::as_array).into_iter().flatten();
    let one = |(place, rule): (usize, &Value)| {
        let at = format!("{field}[{place}]");
        match rule.get("any").and_then(Value::as_array) {
            None => claim_test(rule, &at).map(ClaimRule::Test),
            Some(_) if ["in", "any_of", "all_of", "none_of"].iter().any(|name| rule.get(*name).is_some()) => {
                Err(ConfigError::new(at, "`any` stands alone: what its tests ask for is written in them"))
            }
            Some(tests) => {
                let tests = tests.iter().enumerate();
                let tests = tests.map(|(place, test)| claim_test(test, &format!("{at}.any[{place}]")));
                tests.collect::<Result<_, _>>().map(ClaimRule::AnyOf)
            }
        }
    };
    rules.enumerate().map(one).collect()
}

fn claim_test(test: &Value, field: &str) -> Result<ClaimTest, ConfigError> {
    let list = |name: &str| test.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (any_of, all_of, none_of) = (list("any_of"), list("all_of"), list("none_of"));
    Ok(ClaimTest { claim: claim_ref(test, field)?, any_of, all_of, none_of })
}

pub(super) fn claim_headers(conf: &Value) -> Result<Vec<ClaimHeader>, ConfigError> {
    let headers = conf.get("claim_headers").and_then(Value::as_object).into_iter().flatten();
    let one = |(name, claim): (&String, &Value)| {
        let field = format!("claim_headers.{name}");
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| ConfigError::new(&*field, "this is not the name of a header"))?;
        Ok(ClaimHeader { name: parsed, claim: claim_ref(claim, &field)? })
    };
    headers.map(one).collect()
}

/// A claim as it is written: a text, a list of names, or an object with one of them and `in`.
pub(super) fn claim_ref(value: &Value, field: &str) -> Result<ClaimRef, ConfigError> {
    let wrong = || ConfigError::new(field, format!("this does not name {PATH}"));
    let path = |value: &Value| match value {
        Value::String(text) => ClaimPath::parse(text),
        Value::Array(names) => ClaimPath::over(names.iter().filter_map(Value::as_str)),
        _ => None,
    };
    let (place, document) = match value.as_object() {
        None => (Some(value), Document::Any),
        Some(members) => (members.get("claim"), document(members)),
    };
    Ok(ClaimRef { path: place.and_then(path).ok_or_else(wrong)?, document })
}

pub(super) fn assertion(conf: &Value) -> Result<Option<AssertionConfig>, ConfigError> {
    const FIELD: &str = "identity_assertion";
    let Some(conf) = conf.get(FIELD) else { return Ok(None) };
    let claims = conf.get("claims").and_then(Value::as_object).into_iter().flatten();
    let claims =
        claims.map(|(name, claim)| Ok((name.clone(), claim_ref(claim, &format!("{FIELD}.claims.{name}"))?)));
    let header = text(conf, "header").unwrap_or_else(|| ASSERTION_HEADER.to_owned());
    let header = HeaderName::from_bytes(header.as_bytes());
    Ok(Some(AssertionConfig {
        header: header
            .map_err(|_| ConfigError::new(format!("{FIELD}.header"), "this is not the name of a header"))?,
        issuer: text(conf, "issuer").unwrap_or_else(|| ASSERTION_ISSUER.to_owned()),
        audience: text(conf, "audience"),
        claims: claims.collect::<Result<_, ConfigError>>()?,
        lifetime: seconds(conf, "lifetime", ASSERTION_LIFETIME),
        jwks_path: text(conf, "jwks_path").unwrap_or_else(|| ASSERTION_JWKS.to_owned()),
    }))
}

pub(super) fn consumer(conf: &Value) -> Result<Option<ConsumerConfig>, ConfigError> {
    let Some(conf) = conf.get("consumer") else { return Ok(None) };
    let by = match conf.get("by").and_then(Value::as_str) {
        Some("custom_id") => ConsumerName::CustomId,
        _ => ConsumerName::Username,
    };
    Ok(Some(ConsumerConfig {
        groups: None,
        claims: vec![claim_ref(conf, "consumer")?],
        by: vec![by],
        required: is_on(conf, "required", true),
        anonymous: text(conf, "anonymous"),
    }))
}

fn document(members: &Map<String, Value>) -> Document {
    match members.get("in").and_then(Value::as_str) {
        Some("access_token") => Document::AccessToken,
        Some("id_token") => Document::IdToken,
        Some("userinfo") => Document::Userinfo,
        _ => Document::Any,
    }
}

pub(super) fn additional_issuers(conf: &Value) -> Result<Vec<IssuerConfig>, ConfigError> {
    let issuers = conf.get("additional_issuers").and_then(Value::as_array).into_iter().flatten();
    let one = |(place, issuer): (usize, &Value)| {
        let list = |name: &str| issuer.get(name).map(|list| texts(Some(list)));
        let rules = claim_rules(issuer, &format!("additional_issuers[{place}].claim_rules"))?;
        Ok(IssuerConfig {
            discovery: text(issuer, "discovery").unwrap_or_default(),
            issuers: list("valid_issuers").unwrap_or_default(),
            client_id: text(issuer, "client_id"),
            audiences: list("audiences"),
            required_scopes: list("required_scopes"),
            claim_rules: issuer.get("claim_rules").map(|_| rules),
        })
    };
    issuers.enumerate().map(one).collect()
}
