use std::sync::Arc;

use serde_json::Value;

use super::{ManagementError, search::Query};
use crate::{
    Site,
    idp::Core,
    model::LogEvent,
    repository::{Listing, LogFilter, Page},
};

/// Events that are looked at together.
const BATCH: u32 = 500;
/// Events that a search shows, whatever page is asked for: Auth0's limit.
const MAX_FOUND: u32 = 1000;
/// Events that a search looks at.
const MAX_SCANNED: u32 = 200_000;
/// What words without a field are looked for in.
const ANYWHERE: [&str; 7] = ["type", "description", "user_id", "user_name", "client_id", "client_name", "ip"];

/// `/logs`.
#[derive(Clone)]
pub struct LogService {
    core: Arc<Core>,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct LogSearch<'a> {
    /// In the search language.
    pub q: Option<&'a str>,
    /// About this user.
    pub user_id: Option<&'a str>,
    /// The oldest first.
    pub rising: bool,
}

impl LogService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One event.
    pub async fn read(&self, site: &Site, id: &str) -> Result<LogEvent, ManagementError> {
        self.core.write_logs().await?;
        let missing =
            ManagementError::NotFound { code: Some("inexistent_log"), message: "The log does not exist." };
        self.core.repository.log(&site.tenant.id, id).await?.ok_or(missing)
    }

    /// One page of events.
    pub async fn list(
        &self,
        site: &Site,
        search: &LogSearch<'_>,
        page: Page,
    ) -> Result<Listing<LogEvent>, ManagementError> {
        self.core.write_logs().await?;
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        let filter = LogFilter { user_id: search.user_id, ..LogFilter::default() };
        let Some(q) = search.q.map(str::trim).filter(|q| !q.is_empty() && *q != "*") else {
            let total = repository.count_logs(tenant, filter).await?;
            let items = repository.logs(tenant, filter, !search.rising, page).await?;
            return Ok(Listing { items, total });
        };
        let query = Query::parse(q).map_err(|why| {
            ManagementError::InvalidQuery(format!("Query validation error: '{why}' on property q."))
        })?;
        if page.offset.saturating_add(page.limit) > MAX_FOUND && page.offset > 0 {
            let text = format!("You can only page through the first {MAX_FOUND} records.");
            return Err(ManagementError::InvalidQuery(text));
        }
        self.scan(site, &query, search, page).await
    }

    /// What happened after the event with this id, the oldest first.
    pub async fn after(
        &self,
        site: &Site,
        from: Option<&str>,
        take: u32,
    ) -> Result<Vec<LogEvent>, ManagementError> {
        self.core.write_logs().await?;
        let filter = LogFilter { after: from, ..LogFilter::default() };
        let page = Page { offset: 0, limit: take };
        Ok(self.core.repository.logs(&site.tenant.id, filter, false, page).await?)
    }

    /// Notes that an administrator changed something, or was refused with this status: what, by which call. Bodies and
    /// queries are not kept.
    pub fn note_change(
        &self,
        site: &Site,
        browser: &crate::Browser,
        client_id: &str,
        method: &str,
        path: &str,
        refused: Option<u16>,
    ) {
        let kind = if refused.is_none() { "sapi" } else { "fapi" };
        let mut event = LogEvent::new(kind).by(client_id).described(&format!("{method} {path}"));
        if let Some(status) = refused {
            event.details.insert("response".to_owned(), serde_json::json!({ "statusCode": status }));
        }
        event.details.insert(
            "request".to_owned(),
            serde_json::json!({ "method": method.to_lowercase(), "path": path, "channel": "api" }),
        );
        self.core.note(site, Some(browser), event);
    }

    async fn scan(
        &self,
        site: &Site,
        query: &Query,
        search: &LogSearch<'_>,
        page: Page,
    ) -> Result<Listing<LogEvent>, ManagementError> {
        let (mut items, mut total) = (Vec::new(), 0_u64);
        let mut last: Option<String> = None;
        let mut scanned = 0;
        while scanned < MAX_SCANNED {
            let (after, before) = match (&last, search.rising) {
                (Some(id), true) => (Some(id.as_str()), None),
                (Some(id), false) => (None, Some(id.as_str())),
                (None, _) => (None, None),
            };
            let filter = LogFilter { user_id: search.user_id, after, before };
            let part = Page { offset: 0, limit: BATCH };
            let batch = self.core.repository.logs(&site.tenant.id, filter, !search.rising, part).await?;
            let end = batch.len() < BATCH as usize;
            last = batch.last().map(|event| event.log_id.clone());
            scanned += BATCH;
            for event in batch {
                if !query.matches(&Value::Object(event.to_wire()), &ANYWHERE) {
                    continue;
                }
                if total >= u64::from(page.offset) && items.len() < page.limit as usize {
                    items.push(event);
                }
                total += 1;
            }
            if end {
                break;
            }
        }
        Ok(Listing { items, total })
    }
}
