//! Telling clients that a session has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! What is to be told is kept in the same transaction that ends the session, and delivered by [`Idp::deliver_logouts`]
//! afterwards, by whichever node comes first, until the client takes it or five tries have failed.

use std::time::Duration;

use base::Secret;
use serde_json::{Map, json};

use crate::{
    Idp, IdpError, Site,
    idp::Core,
    model::{Client, LogEvent, LogoutDelivery, LogoutInitiator, Session},
    outbound::Call,
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long a token is good for (section 2.4 recommends two minutes at most).
const LIFETIME: i64 = 120;
/// When to try again after a try has failed; after the last one nobody does.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(15), Duration::from_secs(120), Duration::from_secs(900)];
/// How long a node has for one round before another one may take over.
const LEASE: Duration = Duration::from_secs(60);
/// Deliveries of one round, which go out side by side.
const ROUND: u32 = 16;
/// Bytes of an answer, which nobody reads.
const MAX_ANSWER: usize = 64 * 1024;

impl Core {
    /// Ends a session and keeps what its clients are to be told. `false` where it had ended before.
    pub(crate) async fn end_session(
        &self,
        site: &Site,
        session: &Session,
        initiator: LogoutInitiator,
    ) -> Result<bool, IdpError> {
        let (tenant, repository) = (&site.tenant.id, &self.repository);
        let mut deliveries = Vec::new();
        for (client_id, issuer) in repository.session_clients(tenant, &session.sid).await? {
            let Some(client) = repository.client(tenant, &client_id).await? else { continue };
            let Some(logout) = client.oidc_logout.filter(|logout| logout.tells(initiator)) else { continue };
            deliveries.extend(logout.backchannel_logout_urls.into_iter().map(|url| LogoutDelivery {
                id: self.random.alphanumeric(22),
                client_id: client_id.clone(),
                url,
                issuer: issuer.clone(),
                user_id: session.user_id.clone(),
                sid: session.sid.clone(),
                attempts: 0,
            }));
        }
        Ok(repository.end_session_telling(tenant, &session.sid, &deliveries, self.clock.now()).await?)
    }

    /// The same for every session of a user.
    pub(crate) async fn end_sessions_of(
        &self,
        site: &Site,
        user_id: &str,
        initiator: LogoutInitiator,
    ) -> Result<(), IdpError> {
        let page = crate::repository::Page::ALL;
        let now = self.clock.now();
        for session in self.repository.user_sessions(&site.tenant.id, user_id, now, page).await?.items {
            self.end_session(site, &session, initiator).await?;
        }
        Ok(())
    }

    /// A logout token (section 2.4), signed as the client's ID tokens are.
    async fn logout_token(
        &self,
        site: &Site,
        client: &Client,
        delivery: &LogoutDelivery,
    ) -> Result<Secret<String>, IdpError> {
        let issued = self.clock.now().secs();
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(delivery.issuer));
        claims.insert("sub".to_owned(), json!(self.subject(site, client, &delivery.user_id).await?));
        claims.insert("aud".to_owned(), json!(client.client_id));
        claims.insert("iat".to_owned(), json!(issued));
        claims.insert("exp".to_owned(), json!(issued + LIFETIME));
        claims.insert("jti".to_owned(), json!(delivery.id));
        claims.insert("sid".to_owned(), json!(delivery.sid));
        claims.insert("events".to_owned(), json!({ EVENT: {} }));
        // An ID token may be unsigned, which its way here vouches for; a logout token may not (section 2.6).
        let alg = Some(client.id_token_alg()).filter(|alg| *alg != "none").unwrap_or("RS256");
        self.sign(site, alg, client.client_secret.as_ref(), "logout+jwt", &claims).await
    }

    /// Tries one delivery, and sees to what follows.
    async fn deliver(&self, site: &Site, delivery: &LogoutDelivery) -> Result<(), IdpError> {
        let tenant = &site.tenant.id;
        let event = |kind: &str| LogEvent::new(kind).by(&delivery.client_id).about(&delivery.user_id);
        let client = self.repository.client(tenant, &delivery.client_id).await?;
        // Who was deleted, or does not want it any more, is told nothing.
        let wanted = client.as_ref().and_then(|client| client.oidc_logout.as_ref());
        let wanted = wanted.is_some_and(|logout| logout.backchannel_logout_urls.contains(&delivery.url));
        let (Some(client), true) = (client, wanted) else {
            return Ok(self.repository.forget_logout(tenant, &delivery.id).await?);
        };
        let token = self.logout_token(site, &client, delivery).await?;
        // A compact JWS needs no escapes in a form.
        let body = Secret::new(format!("logout_token={}", token.expose()));
        let call = Call {
            url: &delivery.url,
            headers: &[("content-type", "application/x-www-form-urlencoded"), ("accept", "*/*")],
            body: Some(body.expose().as_bytes()),
            max_body: MAX_ANSWER,
        };
        let failure = match self.outbound.send(call).await {
            Ok(reply) if matches!(reply.status, 200 | 204) => None,
            Ok(reply) => Some((format!("the client answered {}", reply.status), is_final(reply.status))),
            Err(error) => Some((error.to_string(), false)),
        };
        let Some((why, is_final)) = failure else {
            self.repository.forget_logout(tenant, &delivery.id).await?;
            self.note(site, None, event("oidc_backchannel_logout_succeeded"));
            return Ok(());
        };
        let pause = usize::try_from(delivery.attempts - 1).ok().and_then(|done| PAUSES.get(done));
        match pause.filter(|_| !is_final) {
            Some(pause) => {
                let due = self.clock.now() + *pause;
                self.repository.postpone_logout(tenant, &delivery.id, due).await?;
            }
            None => {
                self.repository.forget_logout(tenant, &delivery.id).await?;
                self.note(site, None, event("oidc_backchannel_logout_failed").described(&why));
            }
        }
        Ok(())
    }
}

/// Whether another try would be answered alike: the client has understood and refused (section 2.8).
fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 404 | 408 | 425 | 429)
}

impl Idp {
    /// Delivers the logout tokens that are due. To be called every second; how many were tried.
    pub async fn deliver_logouts(&self) -> Result<usize, IdpError> {
        let core = self.core();
        let now = core.clock.now();
        let due = core.repository.claim_logouts(now, now + LEASE, ROUND).await?;
        let mut tries = Vec::with_capacity(due.len());
        for (tenant, delivery) in &due {
            let Some(site) = self.site_of(tenant).await? else { continue };
            tries.push(async move { core.deliver(&site, delivery).await });
        }
        // Side by side: one client that does not answer holds up no other.
        let count = tries.len();
        for outcome in together(tries).await {
            if let Err(error) = outcome {
                tracing::warn!(%error, "a logout token is not delivered yet");
            }
        }
        Ok(count)
    }

    /// Writes the log entries that wait. To be called every second.
    pub async fn write_logs(&self) -> Result<(), IdpError> {
        self.core().write_logs().await
    }
}

/// Drives all of `futures` to their ends.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, outcome) in &mut running {
            if outcome.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *outcome = Some(done),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, outcome)| outcome).collect()
}
