//! **I**: an OpenID provider that a test scripts. It tells the truth until told otherwise, and records every hit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws, SigningKey};
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::{Answer, Seen, Upstream, process::locked, tokens};

type Override = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;
type IdTokens = Arc<dyn Fn(Value) -> String + Send + Sync>;

/// The provider.
pub(crate) struct Provider {
    server: Upstream,
    state: Arc<State>,
}

struct State {
    issuer: Mutex<String>,
    keys: Mutex<Vec<SigningKey>>,
    /// Published beside the keys, or instead of them.
    overrides: Mutex<BTreeMap<String, Override>>,
    /// What the next tokens say, beside what they must.
    claims: Mutex<Value>,
    /// Members of the metadata and of token answers, beside what it says by itself or in its place.
    published: Mutex<Value>,
    answered: Mutex<Value>,
    /// Authorization requests that were pushed, by their reference.
    pushed: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// Paths that want a nonce in DPoP proofs: the status that asks for it, and the nonce.
    nonces: Mutex<BTreeMap<String, (u16, String)>>,
    /// The nonce of the last authorization request.
    nonce: Mutex<Option<String>>,
    /// Codes that were given out and not yet redeemed, with what was asked for.
    codes: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// How many codes were given out.
    given: Mutex<usize>,
    /// Makes ID tokens of their claims in place of the provider.
    id_tokens: Mutex<Option<IdTokens>>,
    client: String,
    audience: String,
}

impl Provider {
    /// A new one with one ES256 key. `client` is whom it issues to.
    pub(crate) fn start(client: &str) -> Self {
        Self::listen(client, None)
    }

    /// The same over TLS.
    pub(crate) fn over_tls(client: &str, config: Arc<ServerConfig>) -> Self {
        Self::listen(client, Some(config))
    }

    fn listen(client: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let state = Arc::new(State {
            issuer: Mutex::default(),
            keys: Mutex::new(vec![tokens::key(Alg::ES256, "key-1")]),
            overrides: Mutex::default(),
            claims: Mutex::new(json!({})),
            published: Mutex::new(json!({})),
            answered: Mutex::new(json!({})),
            pushed: Mutex::default(),
            nonces: Mutex::default(),
            nonce: Mutex::default(),
            codes: Mutex::default(),
            given: Mutex::default(),
            id_tokens: Mutex::default(),
            client: client.to_owned(),
            audience: "https://api.example/".to_owned(),
        });
        let answering = Arc::clone(&state);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let script = move |seen: &Seen| answering.answer(seen);
        let server = match tls {
            Some(config) => Upstream::scripted_over_tls(config, script),
            None => Upstream::scripted(script),
        };
        *locked(&state.issuer) = format!("{scheme}://localhost:{}/", server.port());
        Self { server, state }
    }

    /// Its issuer, with a slash at the end.
    pub(crate) fn issuer(&self) -> String {
        locked(&self.state.issuer).clone()
    }

    /// Where its metadata is.
    pub(crate) fn discovery(&self) -> String {
        format!("{}.well-known/openid-configuration", self.issuer())
    }

    /// The audience of its access tokens.
    pub(crate) fn audience(&self) -> &str {
        &self.state.audience
    }

    /// Requests for this path so far.
    pub(crate) fn hits(&self, path: &str) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| seen.path() == path).collect()
    }

    /// Answers this path so from now on: a lie, a stall, an error.
    pub(crate) fn lie(&self, path: &str, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        locked(&self.state.overrides).insert(path.to_owned(), Arc::new(script));
    }

    /// Tells the truth again.
    pub(crate) fn be_honest(&self) {
        locked(&self.state.overrides).clear();
    }

    /// Signs with a new key from now on; the old ones stay published when `keep`.
    pub(crate) fn rotate(&self, kid: &str, keep: bool) {
        let mut keys = locked(&self.state.keys);
        if !keep {
            keys.clear();
        }
        keys.insert(0, tokens::key(Alg::ES256, kid));
    }

    /// Publishes and signs with the keys of `other` from now on.
    pub(crate) fn share_keys_with(&self, other: &Self) {
        let copy = |key: &SigningKey| {
            let pkcs8 = key.to_pkcs8().unwrap();
            SigningKey::from_pkcs8(key.alg(), key.kid().to_owned(), &pkcs8).unwrap()
        };
        let copies = locked(&other.state.keys).iter().map(copy).collect();
        *locked(&self.state.keys) = copies;
    }

    /// The key set that it publishes.
    pub(crate) fn published(&self) -> Value {
        tokens::jwks(&locked(&self.state.keys).iter().collect::<Vec<_>>())
    }

    /// The metadata that it publishes.
    pub(crate) fn described(&self) -> Value {
        self.state.metadata()
    }

    /// Goes down: its port refuses connections.
    pub(crate) fn stop(&self) {
        self.server.stop();
    }

    /// Adds claims to the tokens it issues, or replaces them.
    pub(crate) fn claim(&self, claims: Value) {
        *locked(&self.state.claims) = claims;
    }

    /// Makes ID tokens of their claims in this way from now on.
    pub(crate) fn make_id_tokens(&self, make: impl Fn(Value) -> String + Send + Sync + 'static) {
        *locked(&self.state.id_tokens) = Some(Arc::new(make));
    }

    /// Makes them itself again.
    pub(crate) fn make_good_id_tokens(&self) {
        *locked(&self.state.id_tokens) = None;
    }

    /// A JWT of its own over these claims and no others.
    pub(crate) fn signed(&self, typ: &str, claims: &Value) -> String {
        self.state.sign_as(typ, claims)
    }

    /// What signs as the provider does, for [`Provider::make_id_tokens`].
    pub(crate) fn signer(&self) -> impl Fn(&Value) -> String + Send + Sync + use<> {
        let state = Arc::clone(&self.state);
        move |claims| state.sign_as("JWT", claims)
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Says more in its metadata from now on, or something else.
    pub(crate) fn publish(&self, members: Value) {
        *locked(&self.state.published) = members;
    }

    /// Says more in its token answers from now on, or something else.
    pub(crate) fn answer_tokens_with(&self, members: Value) {
        *locked(&self.state.answered) = members;
    }

    /// Wants this nonce in DPoP proofs at a path, and asks for it with this status where it is missing.
    pub(crate) fn demand_nonce(&self, path: &str, status: u16, nonce: &str) {
        locked(&self.state.nonces).insert(path.to_owned(), (status, nonce.to_owned()));
    }

    /// The key set as it publishes it.
    pub(crate) fn published_keys(&self) -> Value {
        tokens::jwks(&locked(&self.state.keys).iter().collect::<Vec<_>>())
    }

    /// An access token as it issues them, with these claims on top.
    pub(crate) fn access_token(&self, claims: &Value) -> String {
        self.state.sign(&self.state.access_claims(), claims)
    }
}

impl State {
    fn answer(&self, seen: &Seen) -> Answer {
        let lie = locked(&self.overrides).get(seen.path()).cloned();
        if let Some(lie) = lie {
            return lie(seen);
        }
        if let Some(refusal) = self.wants_nonce(seen) {
            return refusal;
        }
        match seen.path() {
            "/.well-known/openid-configuration" => Answer::json(&self.metadata()),
            "/jwks" => {
                let keys = locked(&self.keys);
                Answer::json(&tokens::jwks(&keys.iter().collect::<Vec<_>>()))
            }
            "/authorize" => self.authorize(seen),
            "/par" => self.push(seen),
            "/token" => self.redeem(seen),
            "/userinfo" => Answer::json(&json!({"sub": "user-1", "name": "A User"})),
            "/introspect" => {
                let mut claims = self.access_claims();
                claims["active"] = json!(true);
                Answer::json(&claims)
            }
            _ => Answer::with(404, &[], "not found"),
        }
    }

    fn metadata(&self) -> Value {
        let issuer = locked(&self.issuer).clone();
        let at = |path: &str| format!("{issuer}{path}");
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "userinfo_endpoint": at("userinfo"),
            "introspection_endpoint": at("introspect"),
            "jwks_uri": at("jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        });
        extend(&mut metadata, &locked(&self.published));
        metadata
    }

    /// Whether a proof of possession lacks the nonce that is wanted at this path.
    fn wants_nonce(&self, seen: &Seen) -> Option<Answer> {
        let (status, nonce) = locked(&self.nonces).get(seen.path()).cloned()?;
        let proof = seen.header("dpop")?;
        let payload = CompactJws::parse(proof).ok()?.payload_unverified().ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        let headers = [("DPoP-Nonce", nonce.as_str()), ("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"")];
        (claims["nonce"] != nonce.as_str())
            .then(|| Answer::with(status, &headers, r#"{"error":"use_dpop_nonce"}"#))
    }

    /// Takes a pushed authorization request (RFC 9126).
    fn push(&self, seen: &Seen) -> Answer {
        let mut pushed = locked(&self.pushed);
        let reference = format!("urn:ietf:params:oauth:request_uri:{}", pushed.len());
        pushed.insert(reference.clone(), form_urlencoded::parse(&seen.message.body).into_owned().collect());
        let answer = json!({"request_uri": reference, "expires_in": 60}).to_string();
        Answer::with(201, &[("Content-Type", "application/json")], answer)
    }

    /// Sends the browser straight back with a code.
    fn authorize(&self, seen: &Seen) -> Answer {
        let query = seen.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let asked: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let asked = match asked.get("request_uri") {
            Some(reference) => locked(&self.pushed).remove(reference).unwrap_or_default(),
            None => asked,
        };
        *locked(&self.nonce) = asked.get("nonce").cloned();
        let (Some(back), Some(state)) = (asked.get("redirect_uri"), asked.get("state")) else {
            return Answer::with(400, &[], "redirect_uri and state are needed");
        };
        let code = {
            let mut given = locked(&self.given);
            *given += 1;
            format!("code-{given}")
        };
        locked(&self.codes).insert(code.clone(), asked.clone());
        let answer = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", state)
            .finish();
        Answer::with(302, &[("Location", &format!("{back}?{answer}"))], "")
    }

    /// Tokens for a code, which counts once and with the verifier of its challenge (RFC 7636 section 4.6), or for a
    /// refresh token.
    fn redeem(&self, seen: &Seen) -> Answer {
        let form: BTreeMap<_, _> = form_urlencoded::parse(&seen.message.body).into_owned().collect();
        if form.get("grant_type").is_none_or(|grant| grant != "authorization_code") {
            let nonce = locked(&self.nonce).clone();
            return Answer::json(&self.token(nonce.as_deref()));
        }
        let asked = form.get("code").and_then(|code| locked(&self.codes).remove(code));
        let proven = asked.filter(|asked| match (asked.get("code_challenge"), form.get("code_verifier")) {
            (Some(challenge), Some(verifier)) => {
                let digest = digest::digest(&digest::SHA256, verifier.as_bytes());
                URL_SAFE_NO_PAD.encode(digest) == *challenge
            }
            (challenge, verifier) => challenge.is_none() && verifier.is_none(),
        });
        match proven {
            Some(asked) => Answer::json(&self.token(asked.get("nonce").map(String::as_str))),
            None => {
                let json = [("Content-Type", "application/json")];
                Answer::with(400, &json, r#"{"error":"invalid_grant"}"#)
            }
        }
    }

    fn token(&self, nonce: Option<&str>) -> Value {
        let mut id = self.access_claims();
        id["aud"] = json!(self.client);
        if let Some(nonce) = nonce {
            id["nonce"] = json!(nonce);
        }
        let make = locked(&self.id_tokens).clone();
        let id_token = match make {
            Some(make) => make(self.claims_with(&id, &json!({}))),
            None => self.sign(&id, &json!({})),
        };
        let mut answer = json!({
            "access_token": self.sign(&self.access_claims(), &json!({})),
            "id_token": id_token,
            "refresh_token": "refresh-1",
            "token_type": "Bearer",
            "expires_in": 3600,
        });
        extend(&mut answer, &locked(&self.answered));
        answer
    }

    fn access_claims(&self) -> Value {
        let now = tokens::now();
        let issuer = locked(&self.issuer).clone();
        json!({"iss": issuer, "sub": "user-1", "aud": self.audience, "iat": now, "exp": now + 3600})
    }

    fn sign(&self, claims: &Value, on_top: &Value) -> String {
        self.sign_as("JWT", &self.claims_with(claims, on_top))
    }

    fn sign_as(&self, typ: &str, claims: &Value) -> String {
        let keys = locked(&self.keys);
        let key = keys.first().expect("the provider has a key");
        key.sign(Some(typ), claims.to_string().as_bytes()).unwrap()
    }

    fn claims_with(&self, claims: &Value, on_top: &Value) -> Value {
        let mut claims = claims.clone();
        let always = locked(&self.claims).clone();
        for (name, value) in [always.as_object(), on_top.as_object()].into_iter().flatten().flatten() {
            claims[name] = value.clone();
        }
        claims
    }
}

fn extend(object: &mut Value, members: &Value) {
    for (name, value) in members.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
}
