//! What happens, noted for administrators.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use base::{Random, UnixMillis};
use oauth::{ErrorCode, Params};
use time::OffsetDateTime;

use crate::{Browser, EndpointError, IdpError, IssuedTokens, Site, idp::Core, model::LogEvent};

/// Events that wait to be written. Beyond, new ones are dropped and counted: a flood must not fill the memory.
const MAX_WAITING: usize = 20_000;
/// Events written together.
const BATCH: usize = 500;

/// Events on their way into the store. They are written in batches, once a second and before a list is read, so that no
/// token waits for its log entry; a process that is killed loses the last second of them.
#[derive(Default)]
pub(crate) struct Waiting {
    events: Mutex<Vec<(String, LogEvent)>>,
    /// Events so far: of two in one millisecond the first sorts first.
    count: AtomicU64,
    /// One writer at a time, so that who has seen an empty list has also seen it written.
    writing: tokio::sync::Mutex<()>,
}

impl Waiting {
    fn add(&self, tenant: &str, event: LogEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < MAX_WAITING {
            events.push((tenant.to_owned(), event));
            if events.len() == MAX_WAITING {
                tracing::warn!("more happens than can be logged: some events are left out");
            }
        }
    }

    fn take(&self) -> Vec<(String, LogEvent)> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let count = events.len().min(BATCH);
        events.drain(..count).collect()
    }
}

impl Core {
    /// Notes an event at this site, caused by this browser or program.
    pub(crate) fn note(&self, site: &Site, browser: Option<&Browser>, event: LogEvent) {
        let now = self.clock.now();
        let host = site.origin.split_once("://").map_or(&*site.origin, |(_, host)| host);
        let event = LogEvent {
            log_id: log_id(now, self.waiting.count.fetch_add(1, Ordering::Relaxed), &self.random),
            at: now.0,
            hostname: Some(host.to_owned()),
            ip: browser.and_then(|browser| browser.ip).map(|ip| ip.to_string()),
            user_agent: browser.and_then(|browser| browser.user_agent.clone()),
            ..event
        };
        self.waiting.add(&site.tenant.id, event);
    }

    /// Writes what waits.
    pub(crate) async fn write_logs(&self) -> Result<(), IdpError> {
        let _one = self.waiting.writing.lock().await;
        loop {
            let batch = self.waiting.take();
            if batch.is_empty() {
                return Ok(());
            }
            self.repository.add_logs(&batch).await?;
        }
    }

    /// Notes what became of a token request.
    pub(crate) fn note_token_request(
        &self,
        site: &Site,
        browser: &Browser,
        client_id: Option<&str>,
        params: &Params<'_>,
        outcome: &Result<IssuedTokens, EndpointError>,
    ) {
        let grant = params.value("grant_type").unwrap_or_default();
        let Some((succeeded, failed)) = kinds_of(grant) else { return };
        let mut event = match outcome {
            Ok(issued) => {
                let mut event = LogEvent::new(succeeded);
                event.user_id = issued.subject();
                event.scope = Some(issued.scope.to_string()).filter(|scope| !scope.is_empty());
                event
            }
            // Who waits for a person asks again and again.
            Err(EndpointError::OAuth(error))
                if matches!(error.code, ErrorCode::AuthorizationPending | ErrorCode::SlowDown) =>
            {
                return;
            }
            Err(EndpointError::OAuth(error)) => {
                let why = error.description.as_deref().unwrap_or_else(|| error.code.as_str());
                LogEvent::new(failed).described(why)
            }
            // The operator's log has it.
            Err(EndpointError::Internal(_)) => return,
        };
        if let Some(client) = client_id.or(params.value("client_id")) {
            event = event.by(client);
        }
        event.audience = params.value("audience").map(|audience| audience.chars().take(256).collect());
        self.note(site, Some(browser), event);
    }
}

/// Auth0's codes for what the token endpoint does and does not do.
fn kinds_of(grant_type: &str) -> Option<(&'static str, &'static str)> {
    Some(match grant_type {
        "authorization_code" => ("seacft", "feacft"),
        "client_credentials" => ("seccft", "feccft"),
        "refresh_token" => ("sertft", "fertft"),
        "password" | "http://auth0.com/oauth/grant-type/password-realm" => ("sepft", "fepft"),
        "urn:ietf:params:oauth:grant-type:device_code" => ("sede", "fede"),
        "urn:ietf:params:oauth:grant-type:token-exchange" => ("secte", "fecte"),
        "urn:openid:params:grant-type:ciba" => ("ciba_exchange_succeeded", "ciba_exchange_failed"),
        _ => return None,
    })
}

/// Sorts by time, and is never twice the same.
fn log_id(now: UnixMillis, count: u64, random: &Random) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now.0) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let date = format!("{:04}{:02}{:02}", at.year(), u8::from(at.month()), at.day());
    let (count, rest) = (count % 100_000_000, u64::from_be_bytes(random.bytes()) % 10_u64.pow(16));
    format!("9002{date}{:020}{count:08}{rest:016}", now.0.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_that_sort_by_time() {
        let random = Random::system();
        let ids: Vec<String> = [(0, 5), (0, 6), (86_400_000, 0), (1_800_000_000_000, 0)]
            .map(|(at, count)| log_id(UnixMillis(at), count, &random))
            .to_vec();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.len() == 56 && id.bytes().all(|byte| byte.is_ascii_digit())));
        assert!(ids[3].starts_with("900220270115"));
    }

    #[test]
    fn a_flood_of_events_is_bounded() {
        let waiting = Waiting::default();
        for _ in 0..MAX_WAITING + 5 {
            waiting.add("t", LogEvent::new("s"));
        }
        let mut taken = 0;
        loop {
            let batch = waiting.take();
            if batch.is_empty() {
                break;
            }
            taken += batch.len();
        }
        assert_eq!(taken, MAX_WAITING);
    }
}
