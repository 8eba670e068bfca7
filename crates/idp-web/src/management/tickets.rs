//! Links that prove an address or set a password.

use serde_json::json;

use super::{Call, Done, Failed};

impl Call<'_> {
    pub(super) async fn verification_ticket(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["user_id"])?;
        let ticket = self.management().tickets.email_verification(self.site, body).await?;
        Ok(Done::Created(json!({ "ticket": ticket })))
    }

    pub(super) async fn password_ticket(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let ticket = self.management().tickets.password_change(self.site, body).await?;
        Ok(Done::Created(json!({ "ticket": ticket })))
    }
}
