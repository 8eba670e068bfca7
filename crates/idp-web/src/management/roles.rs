//! Roles and permissions, of roles and of users.

use idp::model::User;
use serde_json::{Value, json};

use super::{Call, Done, Failed, listing::parameter};

impl Call<'_> {
    pub(super) async fn list_roles(self) -> Result<Done, Failed> {
        let listing = self.listing(&["name_filter", "type", "owner_id"])?;
        if listing.filter("owner_id").is_some() {
            // Every role is the tenant's.
            return Ok(Done::Found(listing.answer("roles", Vec::new(), 0)));
        }
        match listing.filter("type") {
            None | Some("tenant") => {}
            // There are none.
            Some("organization") => return Ok(Done::Found(listing.answer("roles", Vec::new(), 0))),
            Some(_) => {
                let text = "No enum match, must be one of: tenant, organization";
                return Err(parameter(text, "type").into());
            }
        }
        let name = listing.filter("name_filter").filter(|name| !name.is_empty());
        let found = self.management().roles.list(self.site, name, listing.page()).await?;
        let items = found.items.iter().map(|role| Value::Object(role.to_wire())).collect();
        Ok(Done::Found(listing.answer("roles", items, found.total)))
    }

    /// 200, unlike other creations: Auth0's answer.
    pub(super) async fn create_role(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["name"])?;
        let role = self.management().roles.create(self.site, body).await?;
        Ok(Done::Found(Value::Object(role.to_wire())))
    }

    pub(super) async fn read_role(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let role = self.management().roles.read(self.site, self.id()).await?;
        Ok(Done::Found(listing.select(Value::Object(role.to_wire()))))
    }

    pub(super) async fn update_role(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let role = self.management().roles.update(self.site, self.id(), body).await?;
        Ok(Done::Found(Value::Object(role.to_wire())))
    }

    pub(super) async fn delete_role(self) -> Result<Done, Failed> {
        self.management().roles.delete(self.site, self.id()).await?;
        Ok(nothing_to_say())
    }

    pub(super) async fn list_role_permissions(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let found = self.management().roles.permissions(self.site, self.id(), listing.page()).await?;
        Ok(Done::Found(listing.answer("permissions", found.items, found.total)))
    }

    pub(super) async fn add_role_permissions(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.add_permissions(self.site, self.id(), body).await?;
        Ok(Done::Created(json!({})))
    }

    pub(super) async fn remove_role_permissions(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.remove_permissions(self.site, self.id(), body).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn list_role_users(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let found = self.management().roles.users(self.site, self.id(), listing.page()).await?;
        let items = found.items.iter().map(member).collect();
        Ok(Done::Found(listing.answer("users", items, found.total)))
    }

    pub(super) async fn add_role_users(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.add_users(self.site, self.id(), body).await?;
        Ok(nothing_to_say())
    }

    pub(super) async fn list_user_roles(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let found = self.management().roles.of_user(self.site, self.id(), listing.page()).await?;
        let items = found.items.iter().map(|role| Value::Object(role.to_wire())).collect();
        Ok(Done::Found(listing.answer("roles", items, found.total)))
    }

    pub(super) async fn add_user_roles(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.add_to_user(self.site, self.id(), body).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn remove_user_roles(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.remove_from_user(self.site, self.id(), body).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn list_user_permissions(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let held = self.management().roles.held_by(self.site, self.id()).await?;
        Ok(Done::Found(listing.answer_from_all("permissions", held)))
    }

    pub(super) async fn add_user_permissions(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.add_permissions_to_user(self.site, self.id(), body).await?;
        Ok(Done::Created(json!({})))
    }

    pub(super) async fn remove_user_permissions(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        self.management().roles.remove_permissions_from_user(self.site, self.id(), body).await?;
        Ok(Done::Gone)
    }
}

/// 200 with an empty object: Auth0 answers so where there is nothing to tell.
fn nothing_to_say() -> Done {
    Done::Found(json!({}))
}

/// Who has a role: what a list of members shows of a user.
fn member(user: &User) -> Value {
    json!({
        "user_id": user.user_id, "email": user.email, "picture": user.picture, "name": user.display_name(),
    })
}
