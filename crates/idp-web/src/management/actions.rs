//! Actions. There are none: tools that ask which there are, as Auth0's deploy CLI does before it writes connections, are told
//! so, and what would make one is refused as everything that is not supported.

use serde_json::json;

use super::{Call, Done, Failed};

impl Call<'_> {
    pub(super) async fn list_actions(self) -> Result<Done, Failed> {
        let listing = self.listing(&["triggerId", "actionName", "deployed", "installed"])?;
        let (page, per_page) = (listing.offset() / listing.limit().max(1), listing.limit());
        Ok(Done::Found(json!({ "actions": [], "total": 0, "page": page, "per_page": per_page })))
    }
}
