//! Access tokens about which somebody must be asked: the provider for its keys, or what one of its endpoints says of them.

use std::{rc::Rc, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base::{Secret, UnixMillis};
use jose::CompactJws;
use rp::{
    bearer::{Refusal, numeric_date},
    provider::{Introspected, ProviderError},
};
use serde_json::{Map, Value};

use super::{
    super::{
        Inner, Introspection,
        additions::Along,
        caller::{Introduction, Place},
        issuers::{self, Issuer, Verifier, Way},
        proof::Presented,
        token_headers::TokenPart,
        tokens::{Failure, Unverified, verify_by_jwks},
    },
    Bearer, Denial, Said, Verified, caller, misfit,
};

/// That a token is not active is remembered no longer, where it is remembered at all.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// What the userinfo endpoint said of a token counts no longer.
const USERINFO_FOR: Duration = Duration::from_secs(60);

/// A token, and what came with it and goes along where it is asked about.
#[derive(Clone, Copy)]
pub(super) struct Inquiry<'a> {
    pub(super) token: &'a Secret<String>,
    pub(super) along: &'a Along,
    /// Whether the upstream finds the token where it came.
    pub(super) stays: bool,
}

impl Bearer {
    /// The verdict of a token, whoever must be asked for it.
    pub(super) async fn settle(
        &self,
        inner: &Inner,
        inquiry: &Inquiry<'_>,
        presented: &Presented,
        place: &Place<'_>,
    ) -> Result<(Introduction, Rc<Verified>), Denial> {
        let token = inquiry.token.expose();
        let clock = &inner.services.clock;
        let verified = match self.verified(inner, token, inquiry.along, clock.now()) {
            Some(known) => known.map_err(Denial::Refused)?,
            None => self.ask(inner, inquiry).await.map_err(Denial::from)?,
        };
        let (introduction, showing) = Self::decide(inner, presented, token, &verified, place, clock.now())?;
        if let (Some(showing), Some(record)) = (showing, &self.proofs) {
            let noted = showing.note(record, clock.now()).await;
            noted.map_err(Denial::Unproven)?;
        }
        Ok((introduction, verified))
    }

    async fn ask(&self, inner: &Inner, inquiry: &Inquiry<'_>) -> Result<Rc<Verified>, Failure> {
        let token = inquiry.token;
        let place = issuers::pick_later(&self.issuers, token.expose()).await?;
        let issuer = self.issuers.get(place).ok_or(Refusal::Issuer)?;
        match issuer.way(token.expose()) {
            Way::Keys => self.ask_for_keys(inner, issuer, place, inquiry).await,
            Way::Refuse(refusal) => Err(refusal.into()),
            Way::Userinfo => self.ask_for_userinfo(inner, issuer, place, inquiry).await,
            Way::Introspect(introspection) => {
                let discovered = matches!(issuer.verifier, Verifier::Discovered(_));
                match self.introspect(inner, issuer, place, introspection, inquiry).await {
                    Err(Failure::Provider(ProviderError::Missing(_))) if issuer.userinfo => {
                        self.ask_for_userinfo(inner, issuer, place, inquiry).await
                    }
                    Err(Failure::Provider(ProviderError::Missing(_))) if discovered => Err(unreadable(token)),
                    other => other,
                }
            }
        }
    }

    async fn ask_for_keys(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        place: usize,
        inquiry: &Inquiry<'_>,
    ) -> Result<Rc<Verified>, Failure> {
        let Inquiry { token, along, .. } = *inquiry;
        let jws = CompactJws::parse(token.expose()).map_err(Refusal::from)?;
        issuer.until_known().await?;
        let (payload, keys) = match &issuer.verifier {
            Verifier::Key(key) => {
                (jws.verify(key).map_err(|error| issuer.signature_refusal(&jws, error))?, None)
            }
            _ => match verify_by_jwks(&issuer.provider, &jws, &issuer.algs).await {
                Ok((payload, keys)) => (payload, Some(keys)),
                Err(Unverified::Jose(error)) => return Err(issuer.signature_refusal(&jws, error).into()),
                Err(Unverified::Provider(error)) => return Err(error.into()),
            },
        };
        let read = |found: Option<&Introspected>| {
            Self::read_jwt(inner, issuer, place, &jws, &payload, keys.clone(), found)
        };
        let verified = match inner.config.searches_userinfo {
            false => read(None)?,
            true => {
                // Before anybody else is shown it.
                let alone = read(None)?;
                alone.claims.check_times(
                    inner.services.clock.now(),
                    inner.config.expiry_leeway,
                    inner.config.slack,
                )?;
                let said = oauth::json_object(&payload).unwrap_or_default();
                let subject = said.get("sub").and_then(Value::as_str);
                read(Some(&self.search(inner, issuer, inquiry, subject).await?))?
            }
        };
        Ok(self.keep(inner, self.key(token.expose(), along), token.expose(), verified))
    }

    async fn introspect(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        place: usize,
        introspection: &Introspection,
        inquiry: &Inquiry<'_>,
    ) -> Result<Rc<Verified>, Failure> {
        let Inquiry { token, along, .. } = *inquiry;
        let read = |answer: &Introspected, found: Option<&Introspected>| {
            read_introspection((inner, issuer, place), introspection, answer, found)
        };
        let refused_until = || {
            let counts = introspection.max_age.min(REFUSED_FOR);
            introspection.remembers_refusals.then(|| inner.services.clock.now() + counts)
        };
        let until = |answer: Option<&Introspected>| match answer {
            _ if self.uncached => None,
            Some(answer) => read(answer, None).ok().map(|verified| verified.until),
            None => refused_until(),
        };
        let (client, how, reader) = (&inner.client, introspection.asking(&along.fields), &self.identity);
        let answer = issuer.provider.introspected(client, &how, token, &along.headers, reader, until).await?;
        let answer = answer.ok_or(Refusal::Inactive)?;
        let found = match inner.config.searches_userinfo {
            false => None,
            true => {
                let subject = answer.claims.get("sub").and_then(Value::as_str);
                Some(self.search(inner, issuer, inquiry, subject).await?)
            }
        };
        let verified = read(&answer, found.as_ref())?;
        if how.always_asks {
            return Ok(Rc::new(verified));
        }
        Ok(self.keep(inner, self.key(token.expose(), along), token.expose(), verified))
    }

    /// Takes a token for good of which the userinfo endpoint says whose it is.
    async fn ask_for_userinfo(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        place: usize,
        inquiry: &Inquiry<'_>,
    ) -> Result<Rc<Verified>, Failure> {
        let key = self.key(inquiry.token.expose(), inquiry.along);
        let answer = self.userinfo(inner, issuer, inquiry).await?;
        let until = answer.at + USERINFO_FOR;
        let claims = issuer.read_introspection(&answer.claims, until)?;
        let objection = issuer.objection(&claims, &answer.claims);
        let said = Said { part: Some(TokenPart::Userinfo), ..Said::by(&answer) };
        let caller = caller(inner, objection, said, None);
        let misfit = misfit(inner, &answer.claims);
        let verified = Verified { claims, caller, misfit, issuer: place, keys: None, until, token: None };
        Ok(self.keep(inner, key, inquiry.token.expose(), verified))
    }

    /// What the userinfo endpoint says of whom a token is of; of somebody else it says nothing (OIDC Core 5.3.2).
    async fn search(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        inquiry: &Inquiry<'_>,
        subject: Option<&str>,
    ) -> Result<Introspected, Failure> {
        let found = self.userinfo(inner, issuer, inquiry).await?;
        let sub = found.claims.get("sub").and_then(Value::as_str);
        match subject.is_none_or(|subject| sub == Some(subject)) {
            true => Ok(found),
            false => Err(Refusal::Inactive.into()),
        }
    }

    /// What the userinfo endpoint says of a token that it takes.
    async fn userinfo(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        inquiry: &Inquiry<'_>,
    ) -> Result<Introspected, Failure> {
        let Inquiry { token, along, .. } = *inquiry;
        let ask = async {
            let said = inner.claims_of(token, &along.further).await?;
            let at = inner.services.clock.now();
            Ok(said.map(|(claims, signed)| Introspected { claims: Arc::new(claims), signed, at }))
        };
        let until =
            |answer: Option<&Introspected>| Some(answer?.at + USERINFO_FOR).filter(|_| !self.uncached);
        let answer = issuer.provider.remembered(self.userinfo_key(token, along), ask, until).await?;
        Ok(answer.ok_or(Refusal::Inactive)?)
    }

    fn userinfo_key(&self, token: &Secret<String>, along: &Along) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"userinfo\n");
        context.update(&self.identity);
        context.update(token.expose().as_bytes());
        if !along.is_empty() {
            let mut text = vec![b'\n'];
            along.write(&mut text);
            context.update(&text);
        }
        let mut key = [0; 32];
        key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

fn read_introspection(
    (inner, issuer, place): (&Inner, &Issuer, usize),
    introspection: &Introspection,
    answer: &Introspected,
    found: Option<&Introspected>,
) -> Result<Verified, Refusal> {
    let object = &answer.claims;
    let expires = expiry(introspection, object, answer.at)?;
    let claims = issuer.read_introspection(object, expires)?;
    let until = claims.expires.min(answer.at + introspection.max_age);
    let objection = issuer.objection(&claims, object);
    let said = Said { part: Some(TokenPart::Introspection), found, ..Said::by(answer) };
    let caller = caller(inner, objection, said, None);
    Ok(Verified {
        claims,
        caller,
        misfit: misfit(inner, object),
        issuer: place,
        keys: None,
        until,
        token: None,
    })
}

/// Why a token that nobody can be asked about is refused.
fn unreadable(token: &Secret<String>) -> Failure {
    let encrypted = token.expose().bytes().filter(|byte| *byte == b'.').count() == 4;
    if encrypted { Refusal::Encrypted.into() } else { Refusal::Opaque.into() }
}

/// Until when an introspection answer counts.
fn expiry(
    introspection: &Introspection,
    object: &Map<String, Value>,
    asked: UnixMillis,
) -> Result<UnixMillis, Refusal> {
    let exp = object.get("exp").map(|exp| numeric_date(exp).ok_or(Refusal::Claim("exp"))).transpose()?;
    let Some(claim) = &introspection.lifetime_claim else { return exp.ok_or(Refusal::Claim("exp")) };
    let seconds =
        object.get(claim).and_then(Value::as_u64).ok_or(Refusal::Claim("introspection_expiry_claim"))?;
    let until = asked + Duration::from_secs(seconds);
    Ok(exp.map_or(until, |exp| exp.min(until)))
}
