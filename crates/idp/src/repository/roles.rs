use super::{Fut, Listing, Page};
use crate::model::{HeldPermission, Permission, Role, User};

/// Roles, and who holds which permissions by them or beside them. Whether an API still has a scope of a permission's name
/// is the domain's to see.
pub trait Roles {
    /// One role.
    fn role<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<Role>>;
    /// Roles whose name contains `name` (folded), in the order in which they were made.
    fn roles<'a>(&'a self, tenant: &'a str, name: Option<&'a str>, page: Page) -> Fut<'a, Listing<Role>>;
    /// Makes one. Conflict: `name`.
    fn create_role<'a>(&'a self, tenant: &'a str, role: &'a Role) -> Fut<'a, ()>;
    /// Replaces the one of the same id; `false` when there is none. Conflict: `name`.
    fn update_role<'a>(&'a self, tenant: &'a str, role: &'a Role) -> Fut<'a, bool>;
    /// Deletes one, and takes it from everybody; `false` when there is none.
    fn delete_role<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool>;

    /// The permissions of a role, by API and name.
    fn role_permissions<'a>(
        &'a self,
        tenant: &'a str,
        role: &'a str,
        page: Page,
    ) -> Fut<'a, Listing<Permission>>;
    /// Gives a role permissions; those it has stay. All or none; `false` when there is no such role.
    fn add_role_permissions<'a>(
        &'a self,
        tenant: &'a str,
        role: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, bool>;
    /// Takes permissions from a role.
    fn remove_role_permissions<'a>(
        &'a self,
        tenant: &'a str,
        role: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, ()>;

    /// The users who have a role, in the order in which they got it.
    fn role_users<'a>(&'a self, tenant: &'a str, role: &'a str, page: Page) -> Fut<'a, Listing<User>>;
    /// The roles of a user, in the order in which they were made.
    fn user_roles<'a>(&'a self, tenant: &'a str, user_id: &'a str, page: Page) -> Fut<'a, Listing<Role>>;
    /// Gives every one of these users every one of these roles. All or none; `false` when a user or a role does not
    /// exist.
    fn assign_roles<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [String],
        roles: &'a [String],
        now: i64,
    ) -> Fut<'a, bool>;
    /// Takes roles from a user.
    fn unassign_roles<'a>(&'a self, tenant: &'a str, user_id: &'a str, roles: &'a [String]) -> Fut<'a, ()>;

    /// Everything that a user holds, by API and name.
    fn held_permissions<'a>(&'a self, tenant: &'a str, user_id: &'a str) -> Fut<'a, Vec<HeldPermission>>;
    /// The names of what a user holds of one API, directly and by roles; each once.
    fn permission_names<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        audience: &'a str,
    ) -> Fut<'a, Vec<String>>;
    /// Gives a user permissions; those the user has stay. All or none; `false` when there is no such user.
    fn add_user_permissions<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, bool>;
    /// Takes permissions from a user that were given without a role.
    fn remove_user_permissions<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, ()>;
    /// Takes permissions from every role and user: their API has them no more.
    fn drop_permissions<'a>(&'a self, tenant: &'a str, permissions: &'a [Permission]) -> Fut<'a, ()>;
}
