//! What happened.

use axum::http::HeaderValue;
use idp::{
    management::{LogSearch, ManagementError},
    model::LogEvent,
};
use serde_json::Value;

use super::{Call, Done, Failed, listing::parameter};

/// Events that a checkpoint gives when the caller does not say, and at most.
const DEFAULT_TAKE: u32 = 50;
const MAX_TAKE: u32 = 100;

impl Call<'_> {
    pub(super) async fn list_logs(self) -> Result<Done, Failed> {
        let params = oauth::form::parse(self.query.unwrap_or_default().as_bytes());
        let params = params
            .map_err(|error| ManagementError::InvalidQuery(format!("Query validation error: '{error}'.")))?;
        if params.first("from").is_some() || params.first("take").is_some() {
            return self.logs_after(params.first("from"), params.first("take")).await;
        }
        let listing = self.listing(&["q", "sort", "search"])?;
        let rising = rising(listing.filter("sort"))?;
        let q = listing.filter("q").or(listing.filter("search"));
        let search = LogSearch { q, rising, ..LogSearch::default() };
        let found = self.management().logs.list(self.site, &search, listing.page()).await?;
        let items = found.items.iter().map(wire).collect();
        Ok(Done::Found(listing.answer("logs", items, found.total)))
    }

    /// By checkpoint, whose `from` is the id of the last event that the caller has. The answer is a bare array; the
    /// next call is in the header `Link`.
    async fn logs_after(&self, from: Option<&str>, take: Option<&str>) -> Result<Done, Failed> {
        let take = match take {
            None => DEFAULT_TAKE,
            Some(text) => {
                let number = text.parse().ok().filter(|take| (1..=MAX_TAKE).contains(take));
                let text = format!("Value must be a whole number between 1 and {MAX_TAKE}");
                number.ok_or_else(|| parameter(text, "take"))?
            }
        };
        let from = from.filter(|from| !from.is_empty());
        if from.is_some_and(|from| from.len() > 100 || !from.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(parameter("No such checkpoint", "from").into());
        }
        let found = self.management().logs.after(self.site, from, take).await?;
        let items = Value::Array(found.iter().map(wire).collect());
        let last = found.last().filter(|_| found.len() == take as usize);
        let next = last.map(|last| {
            format!("<{}/api/v2/logs?from={}&take={take}>; rel=\"next\"", self.site.origin, last.log_id)
        });
        Ok(match next.and_then(|link| HeaderValue::from_str(&link).ok()) {
            Some(link) => Done::Linked(items, link),
            None => Done::Found(items),
        })
    }

    pub(super) async fn read_log(self) -> Result<Done, Failed> {
        let event = self.management().logs.read(self.site, self.id()).await?;
        Ok(Done::Found(wire(&event)))
    }

    pub(super) async fn list_user_logs(self) -> Result<Done, Failed> {
        let listing = self.listing(&["sort"])?;
        let rising = rising(listing.filter("sort"))?;
        self.management().users.read(self.site, self.id()).await?;
        let search = LogSearch { user_id: Some(self.id()), rising, ..LogSearch::default() };
        let found = self.management().logs.list(self.site, &search, listing.page()).await?;
        let items = found.items.iter().map(wire).collect();
        Ok(Done::Found(listing.answer("logs", items, found.total)))
    }
}

fn wire(event: &LogEvent) -> Value {
    Value::Object(event.to_wire())
}

/// Events are sorted by their date.
fn rising(sort: Option<&str>) -> Result<bool, ManagementError> {
    match sort {
        None | Some("" | "date:-1") => Ok(false),
        Some("date:1") => Ok(true),
        Some(_) => Err(parameter("Only date:1 and date:-1 are supported", "sort")),
    }
}
