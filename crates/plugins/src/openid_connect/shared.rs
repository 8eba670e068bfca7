//! Sessions that are kept in Redis: found by the ticket in the browser's cookie.
//!
//! What one core was told is good for [`SURE`]: for so long a session that another node ended may still be served here. One
//! that this node ended is over at once.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use base::UnixMillis;
use gateway::plugin::{Flow, PluginRequest, Reply, Verdict};
use http::{HeaderValue, StatusCode};
use rp::{
    bearer::{CoreCache, VerdictKey, Weigh},
    session::{
        Continued, Cookies, RefreshError, Session, SharedSessions, Standing, StorageError, Stored, Ticket,
    },
};
use tokio::time::sleep;

use super::{
    Inner,
    browser::{Browser, Opened},
    visitor::{Visitor, is_private},
};

/// How long a core relies on what the storage told it.
const SURE: Duration = Duration::from_secs(1);
/// Bytes of sessions that one core keeps.
const CACHE_BYTES: u64 = 8 << 20;
/// How often a node looks whether another one has finished a refresh.
const LOOK: Duration = Duration::from_millis(50);
/// What a turn to refresh lasts beyond a call to the provider: the storage is asked before and after.
const TURN_MARGIN: Duration = Duration::from_secs(5);

thread_local! {
    /// What this core was told, by the digest of ticket, keys and configuration.
    static TOLD: RefCell<CoreCache<Told, VerdictKey>> = RefCell::new(CoreCache::new("shared_session", CACHE_BYTES));
}

struct Told {
    opened: Opened,
    /// When, by both clocks: one that is set back must make nothing fresh.
    at: (Duration, UnixMillis),
}

impl Weigh for Told {
    fn weigh(&self) -> usize {
        self.opened.weigh() + size_of::<Self>()
    }
}

/// A ticket of a request, and what a core remembers it by.
pub(super) struct Shown {
    key: VerdictKey,
    pub(super) ticket: Ticket,
}

impl Browser {
    /// What becomes of a request by the ticket in its cookies.
    pub(super) fn judge_shared(&self, inner: &Arc<Inner>, request: &mut PluginRequest<'_>) -> Option<Flow> {
        // A cookie that came over plain http may be anybody's by now, and no new one is set there.
        if !is_private(request) {
            return None;
        }
        let https = request.peer.https;
        let now = inner.services.clock.now();
        let told = self.told(inner, &Cookies::read(&request.head.headers), https);
        if let Some(told) = told {
            let opened = &told.opened;
            let is_well = self.standing(inner, &opened.session, now) == Standing::Good;
            let is_settled = is_well && !self.is_unsure(&opened.session, now);
            if is_settled && !(opened.is_over(now) && self.config.renew) {
                return Some(inner.pass(opened, request, now));
            }
        }
        let shown = self.shown(&Cookies::read(&request.head.headers), https);
        if shown.is_empty() {
            return None;
        }
        let (inner, visitor) = (Arc::clone(inner), Visitor::of(inner, request));
        inner.remove_credentials(request.head, https);
        Some(Flow::Suspend(Box::pin(async move { inner.look_up(visitor, shown).await })))
    }

    /// What this core was told not long ago.
    fn told(&self, inner: &Inner, cookies: &Cookies<'_>, https: bool) -> Option<Rc<Told>> {
        let (ticks, now) = (inner.services.clock.monotonic(), inner.services.clock.now());
        let is_sure = |(then, at): (Duration, UnixMillis)| {
            ticks.saturating_sub(then) < SURE && now >= at && now.since(at) < SURE
        };
        // Whose of several sessions it is, is asked of the storage: one that has ended is no question.
        let found = self.jar.find(cookies, https);
        let [sealed] = found.as_slice() else { return None };
        let key = sealed.key(&self.reader);
        let told = TOLD.with_borrow(|all| all.get(&key))?;
        is_sure(told.at).then_some(told)
    }

    /// The tickets that the cookies hold.
    pub(super) fn shown(&self, cookies: &Cookies<'_>, https: bool) -> Vec<Shown> {
        let read = |sealed: &rp::session::SealedSession<'_>| {
            Some(Shown { key: sealed.key(&self.reader), ticket: self.jar.open_ticket(sealed)? })
        };
        self.jar.find(cookies, https).iter().filter_map(read).collect()
    }

    /// Keeps a new session, and makes it the browser's.
    pub(super) async fn keep_shared(
        &self,
        shared: &SharedSessions,
        session: &Session,
        visitor: &Visitor,
        now: UnixMillis,
    ) -> Result<Vec<HeaderValue>, StorageError> {
        shared.put(session, &self.config.lifetimes, now).await?;
        let ticket = Ticket::of(session);
        let lines = self.jar.issue_ticket(&ticket, &visitor.cookies(), visitor.https);
        Ok(lines.unwrap_or_else(|error| {
            tracing::warn!(%error, "a session's cookie is not issued");
            Vec::new()
        }))
    }
}

impl Inner {
    /// The verdict for a request with tickets of which this core knows nothing recent.
    async fn look_up(self: Arc<Self>, visitor: Visitor, shown: Vec<Shown>) -> Verdict {
        let Some((browser, shared)) = self.shared() else { return Verdict::default() };
        let mut found: Option<(VerdictKey, Ticket, Stored)> = None;
        for Shown { key, ticket } in shown {
            let stored = match shared.load(&ticket).await {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(error) => return Verdict::respond(storage_away(&visitor, error)),
            };
            let now = self.services.clock.now();
            if browser.standing(&self, &stored.session, now) == Standing::Over {
                continue;
            }
            match &found {
                None => found = Some((key, ticket, stored)),
                Some((_, first, _)) if first.marks.subject == ticket.marks.subject => {}
                // As in the cookies of sessions that are kept there: see `Browser::session`.
                Some(_) => return self.turn_away_later(&visitor).await,
            }
        }
        match found {
            None => self.dismiss(browser, &visitor).await,
            Some((key, ticket, stored)) => match Arc::clone(&self).serve(&visitor, key, ticket, stored).await
            {
                Ok(verdict) => verdict,
                Err(error) => Verdict::respond(storage_away(&visitor, error)),
            },
        }
    }

    /// The verdict for a request with a session that is good.
    async fn serve(
        self: Arc<Self>,
        visitor: &Visitor,
        key: VerdictKey,
        ticket: Ticket,
        mut stored: Stored,
    ) -> Result<Verdict, StorageError> {
        let Some((browser, shared)) = self.shared() else { return Ok(Verdict::default()) };
        let now = self.services.clock.now();
        if browser.is_unsure(&stored.session, now) {
            let session = &stored.session;
            let continued = Continued { span: session.span(), subject: session.marks.subject };
            return Ok(self.ask_again_later(continued, visitor).await);
        }
        let over = stored.session.access_expires.is_some_and(|expires| now >= expires);
        if over && stored.session.access_token.is_some() && browser.config.renew {
            let Some(token) = stored.session.refresh_token.clone() else {
                return Ok(self.turn_away_later(visitor).await);
            };
            let work = Arc::clone(&self).renew_in_turn(ticket, stored.session.clone());
            match self.services.refreshes.run(browser.jar.realm(), &token, work).await {
                Err(RefreshError::Ended) => return Ok(self.dismiss(browser, visitor).await),
                Err(RefreshError::Refused) => return Ok(self.turn_away_later(visitor).await),
                Err(RefreshError::Unavailable) | Ok(_) => {}
            }
            // What another request or node made of it is in the storage.
            match shared.load(&ticket).await? {
                Some(newer) => stored = newer,
                None => return Ok(self.dismiss(browser, visitor).await),
            }
        }
        let now = self.services.clock.now();
        match browser.standing(&self, &stored.session, now) {
            Standing::Over => return Ok(self.dismiss(browser, visitor).await),
            Standing::Good => {}
            Standing::Stale => {
                let lifetimes = &browser.config.lifetimes;
                let touched = stored.session.clone().reissued(lifetimes, now);
                // Where it was changed meanwhile, whoever did has touched it as well.
                if shared.replace(&stored, &touched, lifetimes, now).await? {
                    stored.session = touched;
                }
            }
        }
        let opened = Opened::new(stored.session, &self);
        let verdict = self.usher(visitor, &opened, Vec::new(), now);
        let at = (self.services.clock.monotonic(), now);
        TOLD.with_borrow_mut(|all| drop(all.insert(key, Told { opened, at })));
        Ok(verdict)
    }

    /// One refresh among all nodes: who has the turn asks the provider, the others wait for what comes of it.
    async fn renew_in_turn(
        self: Arc<Self>,
        ticket: Ticket,
        session: Session,
    ) -> Result<Session, RefreshError> {
        let Some((browser, shared)) = self.shared() else { return Err(RefreshError::Unavailable) };
        let away = |_: StorageError| RefreshError::Unavailable;
        let lasting = self.config.calls.timeout + TURN_MARGIN;
        let until = self.services.clock.monotonic() + lasting;
        let turn = loop {
            if let Some(turn) = shared.take_turn(&session.id, lasting).await.map_err(away)? {
                break turn;
            }
            sleep(LOOK).await;
            let newer = shared.load(&ticket).await.map_err(away)?.ok_or(RefreshError::Ended)?.session;
            if is_newer(&newer, &session) {
                return Ok(newer);
            }
            if self.services.clock.monotonic() >= until {
                return Err(RefreshError::Unavailable);
            }
        };
        let outcome = async {
            // It may have been refreshed before the turn came.
            let stored = shared.load(&ticket).await.map_err(away)?.ok_or(RefreshError::Ended)?;
            if is_newer(&stored.session, &session) {
                return Ok(stored.session);
            }
            let renewed = Arc::clone(&self).renew(stored.session.clone()).await;
            let now = self.services.clock.now();
            match renewed {
                Ok(new) => {
                    let new = new.reissued(&browser.config.lifetimes, now);
                    let kept =
                        shared.replace(&stored, &new, &browser.config.lifetimes, now).await.map_err(away)?;
                    if !kept {
                        self.keep_over_a_touch(&ticket, &new, now).await?;
                    }
                    Ok(new)
                }
                Err(RefreshError::Ended) => {
                    shared.remove(&session.id).await.map_err(away)?;
                    Err(RefreshError::Ended)
                }
                Err(other) => Err(other),
            }
        };
        let outcome = outcome.await;
        shared.give_back(turn).await;
        outcome
    }

    /// A request that was served meanwhile touched the session; the new tokens must not be lost for that. Where it was
    /// ended, it stays ended.
    async fn keep_over_a_touch(
        &self,
        ticket: &Ticket,
        new: &Session,
        now: UnixMillis,
    ) -> Result<(), RefreshError> {
        let Some((browser, shared)) = self.shared() else { return Err(RefreshError::Unavailable) };
        for _ in 0..8 {
            let stored = shared.load(ticket).await.map_err(|_| RefreshError::Unavailable)?;
            let stored = stored.ok_or(RefreshError::Ended)?;
            let kept = shared.replace(&stored, new, &browser.config.lifetimes, now).await;
            if kept.map_err(|_| RefreshError::Unavailable)? {
                return Ok(());
            }
        }
        Err(RefreshError::Unavailable)
    }

    /// The rules for browsers, and where their sessions are kept, if that is in Redis.
    pub(super) fn shared(&self) -> Option<(&Browser, &SharedSessions)> {
        let browser = self.browser.as_ref()?;
        Some((browser, browser.shared.as_ref()?))
    }
}

/// Whether a refresh has happened since `old` was read.
fn is_newer(new: &Session, old: &Session) -> bool {
    new.access_token != old.access_token
}

/// 503: who is logged in cannot be known now, and nobody goes on as if it were known.
pub(super) fn storage_away(visitor: &Visitor, error: StorageError) -> Reply {
    tracing::debug!(%error, "a request is not served");
    visitor.error(
        StatusCode::SERVICE_UNAVAILABLE,
        "logins cannot be checked right now, because the session storage is not available; try again in a moment",
    )
}
