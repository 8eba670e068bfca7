//! How tokens are made.

use base::Secret;
use jose::{
    Alg, SigningKey, half_hash,
    jwe::{Enc, EncryptionKey},
};
use oauth::{ErrorCode, Scopes};
use serde_json::{Map, Value, json};

use crate::{
    EndpointError, IdpError, Site,
    authorization::request::ACR,
    idp::Core,
    model::{AccessTokenRecord, Client, Confirmation, Grant, ResourceServer, TokenEncryption, User},
    possession::check_possession,
    standard_claims::{self, user_claims},
};

/// The claim of an access token that names the single claims `/userinfo` is to give for it (OpenID Connect Core 5.5).
pub(crate) const USERINFO_CLAIMS: &str = "userinfo_claims";
/// Seconds an opaque access token is good for.
const OPAQUE_LIFETIME: i64 = 86_400;
/// The same for one that went through the browser.
const OPAQUE_LIFETIME_IN_BROWSER: i64 = 7_200;

/// How access tokens are encrypted for their API, as Auth0 does it.
const TOKEN_ENC: Enc = Enc::A256Gcm;

/// Where a client's access tokens are bound to keys, and somebody wants one in an authorization response.
const UNBOUND: &str = "The client's access tokens are bound to a key, which the request does not name.";

/// An access token for an API, before it is signed.
pub(crate) struct AccessToken<'a> {
    /// The issuer, with its slash.
    pub(crate) issuer: &'a str,
    pub(crate) api: &'a ResourceServer,
    /// The API as the request named it: the Management API has several names.
    pub(crate) audience: &'a str,
    /// A user's id, or `CLIENT_ID@clients`.
    pub(crate) subject: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) scope: &'a Scopes,
    /// What the subject holds of the API, asked for or not; told in the dialects that have `permissions`.
    pub(crate) permissions: &'a Scopes,
    /// Auth0's name of the grant, where it tells one.
    pub(crate) gty: Option<&'a str>,
    /// What is revoked together.
    pub(crate) family: &'a str,
    /// What it is bound to.
    pub(crate) confirmation: Option<&'a Confirmation>,
    /// Whether it goes through the browser.
    pub(crate) in_browser: bool,
    /// The end of what it was made from, seconds since the epoch.
    pub(crate) until: Option<i64>,
    /// Who acts for the subject (RFC 8693 section 4.1).
    pub(crate) act: Option<&'a Value>,
    /// What exactly was allowed (RFC 9396).
    pub(crate) authorization_details: &'a [Value],
    /// Single claims that `/userinfo` is to give for this token.
    pub(crate) userinfo_claims: Vec<&'static str>,
}

/// An access token of a user flow.
pub(crate) struct UserAccessToken {
    pub(crate) token: Secret<String>,
    /// Seconds.
    pub(crate) expires_in: i64,
    /// What of the scope asked for it has.
    pub(crate) scope: Scopes,
}

/// What goes along with an ID token and is bound to it by a hash (OpenID Connect Core 3.1.3.6 and 3.3.2.11).
#[derive(Clone, Copy, Default)]
pub(crate) struct Hashed<'a> {
    /// `c_hash`.
    pub(crate) code: Option<&'a str>,
    /// `at_hash`.
    pub(crate) access_token: Option<&'a str>,
    /// `s_hash` (FAPI 1.0 Part 2 section 5.1): the ID token is the signature of the whole answer.
    pub(crate) state: Option<&'a str>,
}

/// Whose tokens of a user flow are made, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Holder<'a> {
    /// The issuer, with its slash.
    pub(crate) issuer: &'a str,
    pub(crate) client: &'a Client,
    pub(crate) grant: &'a Grant,
    pub(crate) user: &'a User,
    /// Whether the access token goes through the browser, where it may be lost: it is good for less time then.
    pub(crate) in_browser: bool,
}

impl Core {
    /// Signs an access token; the token and the seconds it is good for.
    pub(crate) async fn sign_access_token(
        &self,
        site: &Site,
        order: &AccessToken<'_>,
    ) -> Result<(Secret<String>, i64), IdpError> {
        let api = order.api;
        let rfc9068 = api.token_dialect.is_rfc9068();
        let lifetime = api.token_lifetime.clamp(1, 2_592_000);
        let lifetime =
            if order.in_browser { lifetime.min(api.token_lifetime_for_web.max(1)) } else { lifetime };
        let issued = self.clock.now().secs();
        let lifetime = order.until.map_or(lifetime, |until| lifetime.min(until - issued).max(1));
        let userinfo = format!("{}userinfo", order.issuer);
        // What only the API can read is of no use at our own endpoint.
        let audience = if order.scope.contains("openid") && api.token_encryption.is_none() {
            json!([order.audience, userinfo])
        } else {
            json!(order.audience)
        };
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(order.issuer));
        claims.insert("sub".to_owned(), json!(order.subject));
        claims.insert("aud".to_owned(), audience);
        claims.insert("iat".to_owned(), json!(issued));
        claims.insert("exp".to_owned(), json!(issued + lifetime));
        if !order.scope.is_empty() {
            claims.insert("scope".to_owned(), json!(order.scope.to_string()));
        }
        // Auth0's own dialect has no jti; revocation needs one, and nobody minds.
        claims.insert("jti".to_owned(), json!(format!("{}.{}", order.family, self.random.alphanumeric(12))));
        claims.insert(if rfc9068 { "client_id" } else { "azp" }.to_owned(), json!(order.client_id));
        if let (false, Some(gty)) = (rfc9068, order.gty) {
            claims.insert("gty".to_owned(), json!(gty));
        }
        if let Some(act) = order.act {
            claims.insert("act".to_owned(), act.clone());
        }
        if let Some(confirmation) = order.confirmation {
            claims.insert("cnf".to_owned(), json!(confirmation));
        }
        if !order.authorization_details.is_empty() {
            claims.insert("authorization_details".to_owned(), json!(order.authorization_details));
        }
        if !order.userinfo_claims.is_empty() {
            claims.insert(USERINFO_CLAIMS.to_owned(), json!(order.userinfo_claims));
        }
        if api.token_dialect.has_permissions() {
            claims.insert("permissions".to_owned(), order.permissions.iter().collect());
        }
        let typ = if rfc9068 { "at+jwt" } else { "JWT" };
        let token = self.sign(site, &api.signing_alg, api.signing_secret.as_ref(), typ, &claims).await?;
        match &api.token_encryption {
            None => Ok((token, lifetime)),
            Some(TokenEncryption { encryption_key: key, .. }) => {
                let recipient = EncryptionKey::from_pem(&key.pem, key.kid.as_deref())?;
                let (alg, enc, text) = (key.alg.parse()?, TOKEN_ENC, token.expose().as_bytes());
                let sealed = recipient.encrypt(&self.random, alg, enc, Some("JWT"), text)?;
                Ok((Secret::new(sealed), lifetime))
            }
        }
    }

    /// Makes an opaque access token; the token and the seconds it is good for.
    pub(crate) async fn opaque_access_token(
        &self,
        site: &Site,
        grant: Grant,
        lifetime: i64,
    ) -> Result<(Secret<String>, i64), IdpError> {
        let now = self.clock.now();
        let token = Secret::new(self.random.token(32));
        let record = AccessTokenRecord {
            token: self.digester.digest(token.expose()),
            grant,
            created_at: now.0,
            expires_at: now.0 + lifetime * 1000,
            revoked_at: None,
        };
        self.repository.create_access_token(&site.tenant.id, &record).await?;
        Ok((token, lifetime))
    }

    /// The access token of a user flow: a JWT for the grant's API, or an opaque one.
    pub(crate) async fn user_access_token(
        &self,
        site: &Site,
        holder: &Holder<'_>,
        scope: &Scopes,
        gty: Option<&str>,
    ) -> Result<UserAccessToken, EndpointError> {
        let Holder { issuer, client, grant, user, in_browser } = *holder;
        let refused = |text: &str| EndpointError::oauth(ErrorCode::InvalidGrant, text);
        if client.needs_possession() && grant.confirmation.is_none() {
            return Err(EndpointError::oauth(ErrorCode::InvalidRequest, UNBOUND));
        }
        let Some(audience) = grant.audience.as_deref() else {
            let grant = Grant { scope: scope.clone(), issuer: issuer.to_owned(), ..grant.clone() };
            let lifetime = if in_browser { OPAQUE_LIFETIME_IN_BROWSER } else { OPAQUE_LIFETIME };
            let (token, expires_in) = self.opaque_access_token(site, grant, lifetime).await?;
            return Ok(UserAccessToken { token, expires_in, scope: scope.clone() });
        };
        let api = self.api(site, Some(audience)).await?;
        let api = api.ok_or_else(|| refused("The API of this grant does not exist any more."))?;
        check_possession(&api, grant.confirmation.as_ref())?;
        // The grant may be months old: what the API gives users by now is what counts.
        let scope = self.user_scope(site, client, &api, scope).await?.map_err(refused)?;
        let permissions = self.permissions(site, &api, user).await?;
        let scope = held_scope(&api, scope, &permissions);
        let subject = self.subject(site, client, &user.user_id).await?;
        let order = AccessToken {
            issuer,
            api: &api,
            audience,
            subject: &subject,
            client_id: &client.client_id,
            scope: &scope,
            permissions: &permissions,
            gty,
            family: &grant.family,
            confirmation: grant.confirmation.as_ref(),
            in_browser,
            until: None,
            act: None,
            authorization_details: &details_for(grant, &api),
            userinfo_claims: match scope.contains("openid") {
                true => standard_claims::beyond(&scope, grant.claims.userinfo.keys().map(String::as_str)),
                false => Vec::new(),
            },
        };
        let (token, expires_in) = self.sign_access_token(site, &order).await?;
        Ok(UserAccessToken { token, expires_in, scope })
    }

    /// What a user holds of an API at this moment, by roles or directly. Empty where the API asks nothing of it.
    pub(crate) async fn permissions(
        &self,
        site: &Site,
        api: &ResourceServer,
        user: &User,
    ) -> Result<Scopes, IdpError> {
        if !api.enforce_policies && !api.token_dialect.has_permissions() {
            return Ok(Scopes::default());
        }
        let names = self.repository.permission_names(&site.tenant.id, &user.user_id, &api.identifier).await?;
        let held = Scopes::parse(&names.join(" ")).unwrap_or_default();
        Ok(held.intersection(&api.scope_names()))
    }

    /// Signs an ID token (OpenID Connect Core section 2). `nonce` only the first time.
    pub(crate) async fn sign_id_token(
        &self,
        site: &Site,
        holder: &Holder<'_>,
        scope: &Scopes,
        nonce: Option<&str>,
        hashed: Hashed<'_>,
    ) -> Result<Secret<String>, IdpError> {
        let Holder { issuer, client, grant, user, .. } = *holder;
        let name = client.id_token_alg();
        let alg: Option<Alg> = if name == "none" { None } else { Some(name.parse()?) };
        let issued = self.clock.now().secs();
        let elsewhere = site.tenant.settings.flags.scope_claims_in_userinfo_alone
            && (hashed.code.is_some() || hashed.access_token.is_some());
        let none = Scopes::default();
        let scope = if elsewhere { &none } else { scope };
        let mut claims = Map::new();
        user_claims(site, user, scope, grant.claims.id_token.keys().map(String::as_str), &mut claims);
        claims.insert("iss".to_owned(), json!(issuer));
        claims.insert("aud".to_owned(), json!(client.client_id));
        claims.insert("iat".to_owned(), json!(issued));
        claims.insert(
            "exp".to_owned(),
            json!(issued + client.jwt_configuration.lifetime_in_seconds.clamp(1, 2_592_000)),
        );
        claims.insert("sub".to_owned(), json!(self.subject(site, client, &user.user_id).await?));
        if !grant.sid.is_empty() {
            claims.insert("sid".to_owned(), json!(grant.sid));
        }
        let hashes = [("at_hash", hashed.access_token), ("c_hash", hashed.code), ("s_hash", hashed.state)];
        for (name, issued) in hashes {
            if let (Some(issued), Some(alg)) = (issued, alg) {
                claims.insert(name.to_owned(), json!(half_hash(alg, issued)));
            }
        }
        if let Some(nonce) = nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
        if grant.acr_requested {
            claims.insert("acr".to_owned(), json!(ACR));
        }
        if grant.claims.id_token.contains_key("amr") {
            claims.insert("amr".to_owned(), json!(["pwd"]));
        }
        if grant.auth_time_requested {
            claims.insert("auth_time".to_owned(), json!(grant.auth_time));
        }
        self.protected(site, client, client.id_token_protection(), "JWT", &claims).await
    }

    /// Signs claims with the tenant's key for `alg`, or with `secret`.
    pub(crate) async fn sign(
        &self,
        site: &Site,
        alg: &str,
        secret: Option<&Secret<String>>,
        typ: &str,
        claims: &Map<String, Value>,
    ) -> Result<Secret<String>, IdpError> {
        let payload = Value::Object(claims.clone()).to_string();
        let alg: Alg = alg.parse()?;
        let token = if alg.is_symmetric() {
            let secret = secret.map_or("", |secret| secret.expose().as_str());
            let key = SigningKey::from_hmac_secret(alg, String::new(), secret.as_bytes())?;
            // A shared secret has no id to tell.
            let header = Map::from_iter([("typ".to_owned(), json!(typ)), ("kid".to_owned(), Value::Null)]);
            key.sign_with_header(&header, payload.as_bytes())?
        } else {
            let key = self.keys.signing(&site.tenant.id, alg).await?;
            key.sign(Some(typ), payload.as_bytes())?
        };
        Ok(Secret::new(token))
    }
}

/// What is left of `scope` for a user who holds `permissions`, where the API enforces them. What it does not define is
/// not its to give, and stays.
pub(crate) fn held_scope(api: &ResourceServer, scope: Scopes, permissions: &Scopes) -> Scopes {
    if !api.enforce_policies {
        return scope;
    }
    let own = api.scope_names();
    let kept: Vec<&str> =
        scope.iter().filter(|name| !own.contains(name) || permissions.contains(name)).collect();
    Scopes::parse(&kept.join(" ")).unwrap_or_default()
}

/// The details of a grant whose types an API has.
fn details_for(grant: &Grant, api: &ResourceServer) -> Vec<Value> {
    let knows = |detail: &&Value| {
        let kind = detail.get("type").and_then(Value::as_str);
        api.authorization_details.iter().any(|known| Some(known.kind.as_str()) == kind)
    };
    grant.authorization_details.iter().filter(knows).cloned().collect()
}
