//! Work that time brings: times to live that run out, stale keys of providers, expired rows.

use std::{sync::Arc, time::Duration};

use idp::Idp;
use rp::provider::Providers;
use tokio::time::{MissedTickBehavior, interval};

use crate::{revocations::RevocationFeed, services::AssertionUpkeep};

/// How often resources with a time to live are looked at.
const PACE: Duration = Duration::from_secs(1);

/// So many of these between two looks at expired rows, which only take up room, and at keys that have successors.
const PURGE: u32 = 600;

/// Everything that has such work.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) apisix: Arc<apisix::Dialect>,
    pub(crate) kong: Arc<kong::Dialect>,
    pub(crate) providers: Providers,
    pub(crate) assertions: AssertionUpkeep,
    pub(crate) idp: Option<Arc<Idp>>,
    pub(crate) revocations: Option<RevocationFeed>,
}

impl Upkeep {
    /// Goes on for as long as the process lives.
    pub(crate) async fn run(self) {
        tokio::join!(self.keep_time(), self.keep_references(), self.keep_identity(), self.keep_revocations());
    }

    /// Of its own, because a secret manager may take its time.
    async fn keep_references(&self) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.apisix.refresh_references().await;
        }
    }

    /// Of its own, because clients may take their time.
    async fn keep_identity(&self) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.tell_of_logouts().await;
        }
    }

    /// Of its own, because it must not wait for anybody.
    async fn keep_revocations(&self) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.follow_revocations().await;
        }
    }

    async fn follow_revocations(&self) {
        if let Some(feed) = &self.revocations
            && let Err(error) = feed.look().await
        {
            tracing::warn!(%error, "tokens that other nodes revoke are let through meanwhile");
        }
    }

    async fn tell_of_logouts(&self) {
        let Some(idp) = &self.idp else { return };
        if let Err(error) = idp.deliver_logouts().await {
            tracing::warn!(%error, "clients are not told yet of sessions that ended");
        }
        if let Err(error) = idp.write_logs().await {
            tracing::warn!(%error, "what happened is not written down yet");
        }
    }

    async fn keep_time(&self) {
        let mut pace = interval(PACE);
        let mut ticks: u32 = 0;
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.expire().await;
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(PURGE) {
                self.purge().await;
            }
        }
    }

    /// Everything that is due, now that the clock was moved.
    pub(crate) async fn catch_up(&self) {
        self.expire().await;
        self.providers.refresh_due().await;
        self.apisix.refresh_references().await;
        self.tell_of_logouts().await;
        self.follow_revocations().await;
        self.purge().await;
    }

    async fn purge(&self) {
        if let Some(feed) = &self.revocations {
            feed.forget();
        }
        if let Err(error) = self.assertions.look().await {
            tracing::warn!(%error, "the keys of identity assertions are as they were");
        }
        if let Some(idp) = &self.idp
            && let Err(error) = idp.purge().await
        {
            tracing::warn!(%error, "expired rows of the identity provider are still there");
        }
    }

    async fn expire(&self) {
        if let Err(error) = self.apisix.expire_due().await {
            tracing::warn!(%error, "resources whose time ran out are still there");
        }
        if let Err(error) = self.kong.recover().await {
            tracing::warn!(%error, "the configuration store is not followed");
        }
    }
}
