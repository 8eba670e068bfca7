//! Which calls there are, and which scopes open them.

use axum::http::Method;

/// A call of the Management API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ListClients,
    CreateClient,
    ReadClient,
    UpdateClient,
    DeleteClient,
    RotateSecret,
    ListCredentials,
    CreateCredential,
    ReadCredential,
    UpdateCredential,
    DeleteCredential,
    ListClientConnections,
    ListApis,
    CreateApi,
    ReadApi,
    UpdateApi,
    DeleteApi,
    ListGrants,
    CreateGrant,
    ReadGrant,
    UpdateGrant,
    DeleteGrant,
    ListConnections,
    CreateConnection,
    ReadConnection,
    UpdateConnection,
    DeleteConnection,
    ListConnectionClients,
    UpdateConnectionClients,
    DeleteConnectionUser,
    ListUsers,
    CreateUser,
    ReadUser,
    UpdateUser,
    DeleteUser,
    UsersByEmail,
    VerificationTicket,
    PasswordTicket,
    ImportUsers,
    ExportUsers,
    MailVerification,
    ReadJob,
    ReadJobErrors,
    ListActions,
    ListLogs,
    ReadLog,
    ListUserLogs,
    ListConsents,
    DeleteConsentsOf,
    DeleteConsent,
    BlocksByName,
    UnblockByName,
    BlocksOfUser,
    UnblockUser,
    BlockOfAddress,
    UnblockAddress,
    LinkUser,
    UnlinkUser,
    ListUserSessions,
    EndUserSessions,
    ListUserTokens,
    EndUserTokens,
    RevokeAccess,
    ReadSession,
    EndSession,
    RevokeSession,
    ListTokens,
    ReadToken,
    EndToken,
    ListRoles,
    CreateRole,
    ReadRole,
    UpdateRole,
    DeleteRole,
    ListRolePermissions,
    AddRolePermissions,
    RemoveRolePermissions,
    ListRoleUsers,
    AddRoleUsers,
    ListUserRoles,
    AddUserRoles,
    RemoveUserRoles,
    ListUserPermissions,
    AddUserPermissions,
    RemoveUserPermissions,
    ReadTenant,
    UpdateTenant,
    ListKeys,
    ReadKey,
    RotateKeys,
    RevokeKey,
}

/// One line of the table: a path's segments below `/api/v2/`, where `*` is an id.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static [&'static str],
    pub(crate) operation: Operation,
    /// Any of these will do.
    pub(crate) scopes: &'static [&'static str],
}

const fn route(
    method: Method,
    path: &'static [&'static str],
    operation: Operation,
    scopes: &'static [&'static str],
) -> Route {
    Route { method, path, operation, scopes }
}

/// Every call that is served.
pub(crate) const ROUTES: &[Route] = {
    use Operation::*;
    &[
        route(Method::GET, &["clients"], ListClients, &["read:clients", "read:client_keys"]),
        route(Method::POST, &["clients"], CreateClient, &["create:clients"]),
        route(Method::GET, &["clients", "*"], ReadClient, &["read:clients", "read:client_keys"]),
        route(Method::PATCH, &["clients", "*"], UpdateClient, &["update:clients"]),
        route(Method::DELETE, &["clients", "*"], DeleteClient, &["delete:clients"]),
        route(Method::POST, &["clients", "*", "rotate-secret"], RotateSecret, &["update:client_keys"]),
        route(
            Method::GET,
            &["clients", "*", "credentials"],
            ListCredentials,
            &["read:client_credentials", "read:client_keys"],
        ),
        route(
            Method::POST,
            &["clients", "*", "credentials"],
            CreateCredential,
            &["create:client_credentials"],
        ),
        route(
            Method::GET,
            &["clients", "*", "credentials", "*"],
            ReadCredential,
            &["read:client_credentials", "read:client_keys"],
        ),
        route(
            Method::PATCH,
            &["clients", "*", "credentials", "*"],
            UpdateCredential,
            &["update:client_credentials"],
        ),
        route(
            Method::DELETE,
            &["clients", "*", "credentials", "*"],
            DeleteCredential,
            &["delete:client_credentials"],
        ),
        route(Method::GET, &["clients", "*", "connections"], ListClientConnections, &["read:connections"]),
        route(Method::GET, &["resource-servers"], ListApis, &["read:resource_servers"]),
        route(Method::POST, &["resource-servers"], CreateApi, &["create:resource_servers"]),
        route(Method::GET, &["resource-servers", "*"], ReadApi, &["read:resource_servers"]),
        route(Method::PATCH, &["resource-servers", "*"], UpdateApi, &["update:resource_servers"]),
        route(Method::DELETE, &["resource-servers", "*"], DeleteApi, &["delete:resource_servers"]),
        route(Method::GET, &["client-grants"], ListGrants, &["read:client_grants"]),
        route(Method::POST, &["client-grants"], CreateGrant, &["create:client_grants"]),
        route(Method::GET, &["client-grants", "*"], ReadGrant, &["read:client_grants"]),
        route(Method::PATCH, &["client-grants", "*"], UpdateGrant, &["update:client_grants"]),
        route(Method::DELETE, &["client-grants", "*"], DeleteGrant, &["delete:client_grants"]),
        route(Method::GET, &["connections"], ListConnections, &["read:connections"]),
        route(Method::POST, &["connections"], CreateConnection, &["create:connections"]),
        route(Method::GET, &["connections", "*"], ReadConnection, &["read:connections"]),
        route(Method::PATCH, &["connections", "*"], UpdateConnection, &["update:connections"]),
        route(Method::DELETE, &["connections", "*"], DeleteConnection, &["delete:connections"]),
        route(Method::GET, &["connections", "*", "clients"], ListConnectionClients, &["read:connections"]),
        route(
            Method::PATCH,
            &["connections", "*", "clients"],
            UpdateConnectionClients,
            &["update:connections"],
        ),
        route(Method::DELETE, &["connections", "*", "users"], DeleteConnectionUser, &["delete:users"]),
        route(Method::GET, &["users"], ListUsers, &["read:users"]),
        route(Method::POST, &["users"], CreateUser, &["create:users"]),
        route(Method::GET, &["users", "*"], ReadUser, &["read:users"]),
        route(Method::PATCH, &["users", "*"], UpdateUser, &["update:users"]),
        route(Method::DELETE, &["users", "*"], DeleteUser, &["delete:users"]),
        route(Method::GET, &["users-by-email"], UsersByEmail, &["read:users"]),
        route(Method::POST, &["tickets", "email-verification"], VerificationTicket, &["create:user_tickets"]),
        route(Method::POST, &["tickets", "password-change"], PasswordTicket, &["create:user_tickets"]),
        route(Method::POST, &["jobs", "users-imports"], ImportUsers, &["create:users"]),
        route(Method::POST, &["jobs", "users-exports"], ExportUsers, &["read:users"]),
        route(Method::POST, &["jobs", "verification-email"], MailVerification, &["update:users"]),
        route(Method::GET, &["jobs", "*"], ReadJob, &["create:users", "read:users", "update:users"]),
        route(
            Method::GET,
            &["jobs", "*", "errors"],
            ReadJobErrors,
            &["create:users", "read:users", "update:users"],
        ),
        route(Method::GET, &["actions", "actions"], ListActions, &["read:actions"]),
        route(Method::GET, &["logs"], ListLogs, &["read:logs", "read:logs_users"]),
        route(Method::GET, &["logs", "*"], ReadLog, &["read:logs", "read:logs_users"]),
        route(Method::GET, &["users", "*", "logs"], ListUserLogs, &["read:logs", "read:logs_users"]),
        route(Method::GET, &["grants"], ListConsents, &["read:grants"]),
        route(Method::DELETE, &["grants"], DeleteConsentsOf, &["delete:grants"]),
        route(Method::DELETE, &["grants", "*"], DeleteConsent, &["delete:grants"]),
        route(Method::GET, &["user-blocks"], BlocksByName, &["read:users"]),
        route(Method::DELETE, &["user-blocks"], UnblockByName, &["update:users"]),
        route(Method::GET, &["user-blocks", "*"], BlocksOfUser, &["read:users"]),
        route(Method::DELETE, &["user-blocks", "*"], UnblockUser, &["update:users"]),
        route(Method::GET, &["anomaly", "blocks", "ips", "*"], BlockOfAddress, &["read:anomaly_blocks"]),
        route(Method::DELETE, &["anomaly", "blocks", "ips", "*"], UnblockAddress, &["delete:anomaly_blocks"]),
        route(Method::POST, &["users", "*", "identities"], LinkUser, &["update:users"]),
        route(Method::DELETE, &["users", "*", "identities", "*", "*"], UnlinkUser, &["update:users"]),
        route(Method::GET, &["users", "*", "sessions"], ListUserSessions, &["read:sessions"]),
        route(Method::DELETE, &["users", "*", "sessions"], EndUserSessions, &["delete:sessions"]),
        route(Method::GET, &["users", "*", "refresh-tokens"], ListUserTokens, &["read:refresh_tokens"]),
        route(Method::DELETE, &["users", "*", "refresh-tokens"], EndUserTokens, &["delete:refresh_tokens"]),
        route(Method::POST, &["users", "*", "revoke-access"], RevokeAccess, &["delete:sessions"]),
        route(Method::GET, &["sessions", "*"], ReadSession, &["read:sessions"]),
        route(Method::DELETE, &["sessions", "*"], EndSession, &["delete:sessions"]),
        route(Method::POST, &["sessions", "*", "revoke"], RevokeSession, &["delete:sessions"]),
        route(Method::GET, &["refresh-tokens"], ListTokens, &["read:refresh_tokens"]),
        route(Method::GET, &["refresh-tokens", "*"], ReadToken, &["read:refresh_tokens"]),
        route(Method::DELETE, &["refresh-tokens", "*"], EndToken, &["delete:refresh_tokens"]),
        route(
            Method::GET,
            &["users", "*", "roles"],
            ListUserRoles,
            &["read:users", "read:roles", "read:role_members"],
        ),
        route(Method::POST, &["users", "*", "roles"], AddUserRoles, &["update:users", "create:role_members"]),
        route(
            Method::DELETE,
            &["users", "*", "roles"],
            RemoveUserRoles,
            &["update:users", "delete:role_members"],
        ),
        route(Method::GET, &["users", "*", "permissions"], ListUserPermissions, &["read:users"]),
        route(Method::POST, &["users", "*", "permissions"], AddUserPermissions, &["update:users"]),
        route(Method::DELETE, &["users", "*", "permissions"], RemoveUserPermissions, &["update:users"]),
        route(Method::GET, &["roles"], ListRoles, &["read:roles"]),
        route(Method::POST, &["roles"], CreateRole, &["create:roles"]),
        route(Method::GET, &["roles", "*"], ReadRole, &["read:roles"]),
        route(Method::PATCH, &["roles", "*"], UpdateRole, &["update:roles"]),
        route(Method::DELETE, &["roles", "*"], DeleteRole, &["delete:roles"]),
        route(Method::GET, &["roles", "*", "permissions"], ListRolePermissions, &["read:roles"]),
        route(Method::POST, &["roles", "*", "permissions"], AddRolePermissions, &["update:roles"]),
        route(Method::DELETE, &["roles", "*", "permissions"], RemoveRolePermissions, &["update:roles"]),
        route(
            Method::GET,
            &["roles", "*", "users"],
            ListRoleUsers,
            &["read:users", "read:roles", "read:role_members"],
        ),
        route(Method::POST, &["roles", "*", "users"], AddRoleUsers, &["update:roles", "create:role_members"]),
        route(Method::GET, &["tenants", "settings"], ReadTenant, &["read:tenant_settings"]),
        route(Method::PATCH, &["tenants", "settings"], UpdateTenant, &["update:tenant_settings"]),
        route(Method::GET, &["keys", "signing"], ListKeys, &["read:signing_keys"]),
        route(
            Method::POST,
            &["keys", "signing", "rotate"],
            RotateKeys,
            &["create:signing_keys", "update:signing_keys"],
        ),
        route(Method::GET, &["keys", "signing", "*"], ReadKey, &["read:signing_keys"]),
        route(Method::PUT, &["keys", "signing", "*", "revoke"], RevokeKey, &["update:signing_keys"]),
    ]
};

/// The line for a request, if there is one.
pub(crate) fn find(method: &Method, segments: &[String]) -> Option<&'static Route> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let fits = |path: &[&str]| {
        path.len() == segments.len()
            && path.iter().zip(segments).all(|(want, have)| *want == "*" || want == have)
    };
    ROUTES.iter().find(|route| route.method == *method && fits(route.path))
}

/// The scope that a call would take if it were served, to name in the answer.
pub(crate) fn would_be_scope(method: &Method, segments: &[String]) -> String {
    let verb = match *method {
        Method::GET | Method::HEAD => "read",
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => "update",
    };
    let resource = segments.first().map(String::as_str).unwrap_or_default();
    let plain: String =
        resource.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect();
    format!("{verb}:{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_any_segment_and_names_are_exact() {
        let segments = |path: &[&str]| path.iter().map(|segment| (*segment).to_owned()).collect::<Vec<_>>();
        let read = find(&Method::HEAD, &segments(&["resource-servers", "https://api/"])).unwrap();
        assert_eq!(read.operation, Operation::ReadApi);
        assert!(find(&Method::GET, &segments(&["resource-servers", "a", "b"])).is_none());
        assert!(find(&Method::PUT, &segments(&["clients"])).is_none());
        assert_eq!(would_be_scope(&Method::GET, &segments(&["log-streams"])), "read:log_streams");
        assert_eq!(would_be_scope(&Method::PUT, &segments(&["a\"b\r"])), "update:a_b_");
    }
}
