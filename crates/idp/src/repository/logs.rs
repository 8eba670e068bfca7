use base::UnixMillis;

use super::{Fut, Page};
use crate::model::LogEvent;

/// Which events to list. Everything that is set must fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogFilter<'a> {
    /// About this user.
    pub user_id: Option<&'a str>,
    /// Made after the one with this id.
    pub after: Option<&'a str>,
    /// Made before the one with this id.
    pub before: Option<&'a str>,
}

/// What happened.
pub trait Logs {
    /// Keeps events of any tenants, given by id, in one transaction.
    fn add_logs<'a>(&'a self, events: &'a [(String, LogEvent)]) -> Fut<'a, ()>;
    /// One event.
    fn log<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<LogEvent>>;
    /// Events, the youngest first with `falling`, else the oldest.
    fn logs<'a>(
        &'a self,
        tenant: &'a str,
        filter: LogFilter<'a>,
        falling: bool,
        page: Page,
    ) -> Fut<'a, Vec<LogEvent>>;
    /// How many there are.
    fn count_logs<'a>(&'a self, tenant: &'a str, filter: LogFilter<'a>) -> Fut<'a, u64>;
    /// Deletes what happened before `before`.
    fn purge_logs(&self, before: UnixMillis) -> Fut<'_, u64>;
}
