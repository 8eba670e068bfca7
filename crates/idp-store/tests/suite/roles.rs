//! Roles and permissions in the store.

use idp::{
    RepositoryError,
    model::{Permission, Role, User},
    repository::{Connections, Page, ResourceServers, Roles, Users},
};

use crate::{
    World, on_every_database,
    world::{AUDIENCE, TENANT},
};

on_every_database! {
    roles_are_found_by_part_of_their_name_and_clash_by_it,
    what_a_user_holds_is_told_once_with_every_reason,
    what_is_deleted_is_held_by_nobody,
    giving_is_all_or_nothing,
    o41_roles_of_tenants_are_apart,
    twenty_administrators_give_the_same_roles_at_once,
}

fn role(id: &str, name: &str, created_at: i64) -> Role {
    Role { id: id.to_owned(), name: name.to_owned(), description: None, created_at }
}

fn permission(name: &str) -> Permission {
    Permission { audience: AUDIENCE.to_owned(), name: name.to_owned() }
}

async fn user_id(world: &World) -> String {
    let found = world.repository.users(TENANT, idp::repository::UserFilter::default(), Page::ALL).await;
    found.unwrap().items[0].user_id.clone()
}

async fn roles_are_found_by_part_of_their_name_and_clash_by_it(world: World) {
    let store = &world.repository;
    for (n, name) in ["Admin", "Reader 50%", "Administrators"].into_iter().enumerate() {
        let role = role(&format!("rol_{n}"), name, i64::try_from(n).unwrap());
        store.create_role(TENANT, &role).await.unwrap();
    }
    let found = store.roles(TENANT, Some("admin"), Page::ALL).await.unwrap();
    let names: Vec<_> = found.items.iter().map(|role| role.name.as_str()).collect();
    assert_eq!((names, found.total), (vec!["Admin", "Administrators"], 2));
    assert_eq!(store.roles(TENANT, Some("50%"), Page::ALL).await.unwrap().total, 1);
    assert_eq!(store.roles(TENANT, Some("%"), Page::ALL).await.unwrap().total, 1);
    let second = store.roles(TENANT, None, Page { offset: 1, limit: 1 }).await.unwrap();
    assert_eq!((second.items[0].id.as_str(), second.total), ("rol_1", 3));
    let clash = store.create_role(TENANT, &role("rol_9", "Admin", 9)).await.unwrap_err();
    assert!(matches!(clash, RepositoryError::Conflict("name")), "{clash}");
    let clash = store.update_role(TENANT, &role("rol_2", "Admin", 2)).await.unwrap_err();
    assert!(matches!(clash, RepositoryError::Conflict("name")), "{clash}");
    assert!(!store.update_role(TENANT, &role("rol_no", "No", 0)).await.unwrap());
}

async fn what_a_user_holds_is_told_once_with_every_reason(world: World) {
    let (store, user) = (&world.repository, user_id(&world).await);
    for (id, name) in [("rol_a", "A"), ("rol_b", "B")] {
        store.create_role(TENANT, &role(id, name, 1)).await.unwrap();
        assert!(store.add_role_permissions(TENANT, id, &[permission("read:things")]).await.unwrap());
    }
    // Twice is once.
    for _ in 0..2 {
        let users = [user.clone()];
        let roles = ["rol_a".to_owned(), "rol_b".to_owned()];
        assert!(store.assign_roles(TENANT, &users, &roles, 5).await.unwrap());
        assert!(store.add_user_permissions(TENANT, &user, &[permission("read:things")]).await.unwrap());
    }
    let held = store.held_permissions(TENANT, &user).await.unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].direct && held[0].roles.len() == 2, "{held:?}");
    assert_eq!(store.permission_names(TENANT, &user, AUDIENCE).await.unwrap(), ["read:things"]);
    assert_eq!(store.permission_names(TENANT, &user, "urn:other").await.unwrap(), Vec::<String>::new());
    assert_eq!(store.role_users(TENANT, "rol_a", Page::ALL).await.unwrap().total, 1);
    store.remove_user_permissions(TENANT, &user, &[permission("read:things")]).await.unwrap();
    store.unassign_roles(TENANT, &user, &["rol_a".to_owned()]).await.unwrap();
    let held = store.held_permissions(TENANT, &user).await.unwrap();
    assert_eq!((held[0].direct, held[0].roles.clone()), (false, vec![("rol_b".to_owned(), "B".to_owned())]));
    assert_eq!(store.user_roles(TENANT, &user, Page::ALL).await.unwrap().items[0].id, "rol_b");
}

async fn what_is_deleted_is_held_by_nobody(world: World) {
    let (store, user) = (&world.repository, user_id(&world).await);
    let give = async || {
        store.create_role(TENANT, &role("rol_a", "A", 1)).await.unwrap();
        store.add_role_permissions(TENANT, "rol_a", &[permission("read:things")]).await.unwrap();
        let (users, roles) = ([user.clone()], ["rol_a".to_owned()]);
        assert!(store.assign_roles(TENANT, &users, &roles, 5).await.unwrap());
        store.add_user_permissions(TENANT, &user, &[permission("write:things")]).await.unwrap();
    };
    give().await;
    assert!(store.delete_role(TENANT, "rol_a").await.unwrap());
    assert!(!store.delete_role(TENANT, "rol_a").await.unwrap());
    assert_eq!(store.permission_names(TENANT, &user, AUDIENCE).await.unwrap(), ["write:things"]);
    give().await;
    store.drop_permissions(TENANT, &[permission("write:things")]).await.unwrap();
    assert_eq!(store.permission_names(TENANT, &user, AUDIENCE).await.unwrap(), ["read:things"]);
    let api = store.resource_server(TENANT, AUDIENCE).await.unwrap().unwrap();
    assert!(store.delete_resource_server(TENANT, &api.id).await.unwrap());
    assert!(store.held_permissions(TENANT, &user).await.unwrap().is_empty());
    assert_eq!(store.role_permissions(TENANT, "rol_a", Page::ALL).await.unwrap().total, 0);
    let connection = store.connections(TENANT, Page::ALL).await.unwrap().items[0].id.clone();
    assert!(store.delete_connection(TENANT, &connection).await.unwrap());
    assert_eq!(store.role_users(TENANT, "rol_a", Page::ALL).await.unwrap().total, 0);
}

async fn giving_is_all_or_nothing(world: World) {
    let (store, user) = (&world.repository, user_id(&world).await);
    store.create_role(TENANT, &role("rol_a", "A", 1)).await.unwrap();
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    for (users, roles) in [
        (ids(&[&user, "auth0|no"]), ids(&["rol_a"])),
        (ids(&[&user]), ids(&["rol_a", "rol_no"])),
        (ids(&["auth0|no"]), ids(&["rol_a"])),
    ] {
        assert!(!store.assign_roles(TENANT, &users, &roles, 5).await.unwrap());
    }
    assert_eq!(store.user_roles(TENANT, &user, Page::ALL).await.unwrap().total, 0);
    assert!(!store.add_role_permissions(TENANT, "rol_no", &[permission("read:things")]).await.unwrap());
    assert!(!store.add_user_permissions(TENANT, "auth0|no", &[permission("read:things")]).await.unwrap());
}

async fn o41_roles_of_tenants_are_apart(world: World) {
    let (store, user) = (&world.repository, user_id(&world).await);
    store.create_role(TENANT, &role("rol_a", "A", 1)).await.unwrap();
    store.create_role("other", &role("rol_a", "A", 1)).await.unwrap();
    store.create_user("other", &User { user_id: user.clone(), ..User::default() }, None).await.unwrap();
    assert!(store.add_role_permissions("other", "rol_a", &[permission("read:things")]).await.unwrap());
    let (users, roles) = ([user.clone()], ["rol_a".to_owned()]);
    assert!(store.assign_roles("other", &users, &roles, 5).await.unwrap());
    assert!(store.held_permissions(TENANT, &user).await.unwrap().is_empty());
    assert_eq!(store.role_permissions(TENANT, "rol_a", Page::ALL).await.unwrap().total, 0);
    assert!(store.delete_role(TENANT, "rol_a").await.unwrap());
    assert_eq!(store.held_permissions("other", &user).await.unwrap().len(), 1);
}

async fn twenty_administrators_give_the_same_roles_at_once(world: World) {
    let user = user_id(&world).await;
    let names: Vec<String> = (0..5).map(|n| format!("rol_{n}")).collect();
    for id in &names {
        world.repository.create_role(TENANT, &role(id, id, 1)).await.unwrap();
    }
    let tasks = (0..20).map(|n| {
        let (store, user, mut roles) = (world.repository.clone(), user.clone(), names.clone());
        roles.rotate_left(n % 5);
        tokio::spawn(async move { store.assign_roles(TENANT, &[user], &roles, 5).await.unwrap() })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    assert_eq!(world.repository.user_roles(TENANT, &user, Page::ALL).await.unwrap().total, 5);
}
