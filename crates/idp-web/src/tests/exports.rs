//! A tenant written down for others to read.

use base64::{Engine, engine::general_purpose::STANDARD};
use idp::{directory, repository::Page};

use super::world::{HTTP, World};

#[tokio::test]
async fn s10_an_exported_tenant_holds_no_secret() {
    let world = World::new().await;
    let repository = world.idp.repository();
    let mut secrets = vec![world.seeded.password.expose().clone()];
    for client in repository.clients("dev", Page::ALL).await.unwrap().items {
        secrets.extend(client.client_secret.map(|secret| secret.expose().clone()));
    }
    for api in repository.resource_servers("dev", Page::ALL).await.unwrap().items {
        secrets.extend(api.signing_secret.map(|secret| secret.expose().clone()));
    }
    for key in repository.signing_keys("dev").await.unwrap() {
        secrets.push(STANDARD.encode(key.pkcs8.expose()));
    }
    assert!(secrets.len() > 10, "clients, APIs and keys of the demo tenant");
    let site = world.idp.site(HTTP).await.unwrap().unwrap();
    let document = directory::export(&world.idp, &site).await.unwrap();
    let text = serde_json::to_string(&document).unwrap();
    assert!(text.contains(&world.seeded.audience) && !text.contains(&world.seeded.user), "{text}");
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in {text}");
    }
    for member in ["client_secret", "signing_secret", "pkcs8", "registration_token"] {
        assert!(!text.contains(&format!("\"{member}\":")), "{member}");
    }
}
