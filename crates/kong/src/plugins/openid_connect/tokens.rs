//! Access tokens, sessions and logins, in the words of the engine's plugin.

use std::time::Duration;

use base::Secret;
use gateway::error::ConfigError;
use http::header;
use plugins::openid_connect::{
    AccessTokenHeader, AudienceRule, BearerConfig, Config, Headers, Introspection, Judging, PROOF_AGE,
    Places, RequiredProof, TokenHeader, TokenPart, TokenSource, Verification, Words,
};
use rp::provider::Introspecting;

use super::{Reader, UNEXPECTED, callers_header, fields, header_name};

/// How long an introspection answer counts at most, where nothing shorter is said.
const INTROSPECTION_MAX_AGE: Duration = Duration::from_secs(60);
/// The header with a token that Kong looks at beside `Authorization`. The other one, `X-Access-Token`, is among those by
/// which the gate tells upstreams of tokens, and is taken from every caller.
const ACCESS_TOKEN: &str = "access-token";

impl Reader<'_> {
    pub(super) fn tokens(&self) -> Result<Config, ConfigError> {
        let (discovery, realm) = self.issuer()?;
        let logs_in = self.has("authorization_code");
        let login = logs_in || self.has("session");
        for field in ["verify_signature", "verify_claims"] {
            if !self.flag(field, true) {
                let reason = "tokens that callers send are always verified: leave it on, or leave methods that take them out";
                return Err(ConfigError::new(field, reason));
            }
        }
        let takes_tokens = ["bearer", "introspection", "userinfo"].iter().any(|method| self.has(method));
        let leeway = self.seconds("leeway")?.unwrap_or_default();
        let Judging { rules, consumer, credential, headers, back } = self.judging()?;
        Ok(Config {
            client_id: self.one("client_id")?.unwrap_or_default().to_owned(),
            client_secret: self.one("client_secret")?.map(|secret| Secret::new(secret.to_owned())),
            discovery,
            issuers: self.texts("issuers_allowed").into_iter().map(str::to_owned).collect(),
            calls: self.calls()?,
            alg: None,
            slack: leeway,
            expiry_leeway: leeway,
            required_scopes: Vec::new(),
            claim_rules: rules,
            credential,
            claim_headers: headers,
            assertion: None,
            consumer,
            realm,
            bearer: takes_tokens.then(|| self.bearer()).transpose()?,
            login: login.then(|| self.login(logs_in)).transpose()?,
            searches_userinfo: self.flag("search_user_info", false),
            claim_schema: None,
            headers: Headers { back, ..self.headers()? },
            words: self.words()?,
        })
    }

    fn words(&self) -> Result<Words, ConfigError> {
        let place = |field: &str| self.one(field).map(|place| place.map(str::to_owned));
        Ok(Words {
            unauthorized: Some(self.text("unauthorized_error_message").unwrap_or("Unauthorized").to_owned()),
            forbidden: Some(self.text("forbidden_error_message").unwrap_or("Forbidden").to_owned()),
            unexpected: Some(UNEXPECTED.to_owned()),
            unauthorized_redirect: place("unauthorized_redirect_uri")?,
            forbidden_redirect: place("forbidden_redirect_uri")?,
            unexpected_redirect: place("unexpected_redirect_uri")?,
            hides_errors: !self.flag("expose_error_code", true),
            shows_reasons: self.flag("display_errors", false),
            ends_forbidden_sessions: self.flag("forbidden_destroy_session", true),
            keeps_refused_sessions: !self.flag("unauthorized_destroy_session", true),
        })
    }

    fn bearer(&self) -> Result<BearerConfig, ConfigError> {
        let (bearer, userinfo) = (self.has("bearer"), self.has("userinfo"));
        let verification = match (self.has("introspection"), bearer) {
            (true, true) if !self.flag("introspect_jwt_tokens", false) => {
                Verification::Discovered(self.introspection()?)
            }
            (true, _) => Verification::Introspection(self.introspection()?),
            (false, true) => Verification::Jwks,
            (false, false) => Verification::Userinfo,
        };
        let proof = match (self.text("proof_of_possession_mtls"), self.text("proof_of_possession_dpop")) {
            (Some("strict"), Some("strict")) => RequiredProof::Any,
            (Some("strict"), _) => RequiredProof::Mtls,
            (_, Some("strict")) => RequiredProof::Dpop,
            _ => RequiredProof::None,
        };
        Ok(BearerConfig {
            source: self.source()?,
            verification,
            audience: AudienceRule {
                claim: "aud".to_owned(),
                required: false,
                is_client: false,
                values: Vec::new(),
            },
            additional_issuers: Vec::new(),
            typed: false,
            optional: false,
            uncached: self.has("userinfo") && !self.flag("cache_user_info", true),
            userinfo,
            hides: self.flag("hide_credentials", true),
            cache_segment: None,
            proof,
            proof_age: self.seconds("dpop_proof_lifetime")?.unwrap_or(PROOF_AGE),
            proof_record: self.storage(),
        })
    }

    fn introspection(&self) -> Result<Introspection, ConfigError> {
        const CLIENTS: &str = "introspection_headers_client";
        let hint =
            self.text("introspection_hint").map(|hint| ("token_type_hint".to_owned(), hint.to_owned()));
        let named = self.pairs("introspection_post_args_names", "introspection_post_args_values")?;
        let headers = self.texts(CLIENTS).into_iter().map(|name| header_name(CLIENTS, name));
        Ok(Introspection {
            how: Introspecting {
                endpoint: self.text("introspection_endpoint").map(str::to_owned),
                token_param: self.text("introspection_token_param_name").unwrap_or("token").to_owned(),
                params: hint.into_iter().chain(named).collect(),
                always_asks: !self.flag("cache_introspection", true),
            },
            headers: headers.collect::<Result<_, _>>()?,
            cookies: Vec::new(),
            remembers_refusals: false,
            max_age: self
                .seconds("cache_ttl_max")?
                .map_or(INTROSPECTION_MAX_AGE, |most| most.min(INTROSPECTION_MAX_AGE)),
            lifetime_claim: None,
        })
    }

    fn source(&self) -> Result<TokenSource, ConfigError> {
        const NAME: &str = "bearer_token_header_name";
        const COOKIE: &str = "bearer_token_cookie_name";
        let places = self.listed("bearer_token_param_type", &fields::PLACES);
        let has = |place: &str| places.contains(&place);
        let (named, cookie) = (self.text(NAME), self.text(COOKIE));
        if has("cookie") && cookie.is_none() {
            return Err(ConfigError::new(COOKIE, "it is needed where tokens come in a cookie"));
        }
        let named = named.map(|name| callers_header(NAME, name)).transpose()?;
        let headers = match named.clone() {
            _ if !has("header") => Vec::new(),
            Some(name) if name == header::AUTHORIZATION => Vec::new(),
            Some(name) => vec![name],
            None => vec![header_name(NAME, ACCESS_TOKEN)?],
        };
        Ok(TokenSource::Places(Places {
            authorization: has("header") && named.is_none_or(|name| name == header::AUTHORIZATION),
            headers,
            query: has("query"),
            body: has("body"),
            cookie: cookie.filter(|_| has("cookie")).map(str::to_owned),
        }))
    }

    fn headers(&self) -> Result<Headers, ConfigError> {
        let mut named = self.token_headers()?;
        let usual = |header: &TokenHeader| {
            header.part == TokenPart::AccessToken
                && header.name == header::AUTHORIZATION
                && header.bearer
                && !header.downstream
        };
        let in_authorization = named.iter().any(usual);
        named.retain(|header| !usual(header));
        Ok(Headers {
            access_token: match in_authorization {
                true => AccessTokenHeader::Authorization,
                false => AccessTokenHeader::None,
            },
            id_token: false,
            raw_id_token: false,
            userinfo: false,
            refresh_token: false,
            named,
            back: Vec::new(),
        })
    }
}
