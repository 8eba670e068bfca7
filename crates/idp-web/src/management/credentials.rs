//! Keys and certificates of clients.

use serde_json::Value;

use super::{Call, Done, Failed};

impl Call<'_> {
    pub(super) async fn list_credentials(self) -> Result<Done, Failed> {
        // It is short, and a bare array whatever is asked.
        self.listing(&[])?;
        let found = self.management().clients.credentials(self.site, self.id()).await?;
        let items = found.iter().map(|credential| Value::Object(credential.to_wire())).collect();
        Ok(Done::Found(Value::Array(items)))
    }

    pub(super) async fn create_credential(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["credential_type"])?;
        let made = self.management().clients.add_credential(self.site, self.id(), body).await?;
        Ok(Done::Created(Value::Object(made.to_wire())))
    }

    pub(super) async fn read_credential(self) -> Result<Done, Failed> {
        let found = self.management().clients.credential(self.site, self.id(), self.segment(3)).await?;
        Ok(Done::Found(Value::Object(found.to_wire())))
    }

    pub(super) async fn update_credential(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let (client, id) = (self.id(), self.segment(3));
        let changed = self.management().clients.change_credential(self.site, client, id, body).await?;
        Ok(Done::Created(Value::Object(changed.to_wire())))
    }

    pub(super) async fn delete_credential(self) -> Result<Done, Failed> {
        self.management().clients.delete_credential(self.site, self.id(), self.segment(3)).await?;
        Ok(Done::Gone)
    }
}
