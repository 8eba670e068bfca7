//! The operator's reference is what the schemas say: pages under `docs/` are rendered from them, and these tests fail
//! when a page is out of date. `UPDATE_DOCS=1 cargo test --package apisix reference` writes them anew.

use std::{env, fmt::Write, fs, path::PathBuf};

use crate::{
    plugins::{
        attach_consumer_label, basic_auth, consumer_restriction, hmac_auth, jwt_auth, key_auth, multi_auth,
        openid_connect, redirect,
    },
    resources::Kind,
    schema::{Row, Schema},
};

fn compare(page: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/{page} is out of date: UPDATE_DOCS=1 cargo test --package apisix reference"
    );
}

fn table(schema: &Schema) -> String {
    let (built, absent): (Vec<Row>, Vec<Row>) = schema.rows().into_iter().partition(|row| row.implemented);
    let cell = |text: &str| text.replace('|', "\\|");
    let mut out = "| attribute | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for row in built {
        let mark = if row.required { " (required)" } else { "" };
        let secret = if row.secret { " Sealed at rest, hidden from viewers." } else { "" };
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        let doc = row.doc.trim_end_matches('.');
        let meaning =
            if doc.is_empty() { secret.trim().to_owned() } else { format!("{}.{secret}", sentence(doc)) };
        writeln!(
            out,
            "| `{}`{mark} | {} | {} | {} |",
            row.path,
            cell(&row.kind),
            cell(&default),
            cell(&meaning)
        )
        .unwrap();
    }
    if !absent.is_empty() {
        let names: Vec<String> = absent.iter().map(|row| format!("`{}`", row.path)).collect();
        writeln!(
            out,
            "\nKnown and not implemented in this build; a write that sets one is refused with a 400 that names it: {}.",
            names.join(", ")
        )
        .unwrap();
    }
    out
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[test]
fn the_page_of_openid_connect_is_what_its_schema_says() {
    let text = format!("{}\n{}", include_str!("reference/openid-connect.md").trim_end(), "");
    compare(
        "plugins/openid-connect.md",
        &text.replace("{{attributes}}", table(&openid_connect::schema()).trim_end()),
    );
}

#[test]
fn the_pages_of_the_plugins_that_know_consumers_are_what_their_schemas_say() {
    let pages = [
        (
            "key-auth",
            include_str!("reference/key-auth.md"),
            key_auth::schema(),
            Some(key_auth::consumer_schema()),
        ),
        (
            "basic-auth",
            include_str!("reference/basic-auth.md"),
            basic_auth::schema(),
            Some(basic_auth::consumer_schema()),
        ),
        (
            "jwt-auth",
            include_str!("reference/jwt-auth.md"),
            jwt_auth::schema(),
            Some(jwt_auth::consumer_schema()),
        ),
        (
            "hmac-auth",
            include_str!("reference/hmac-auth.md"),
            hmac_auth::schema(),
            Some(hmac_auth::consumer_schema()),
        ),
        (
            "attach-consumer-label",
            include_str!("reference/attach-consumer-label.md"),
            attach_consumer_label::schema(),
            None,
        ),
        ("multi-auth", include_str!("reference/multi-auth.md"), multi_auth::schema(), None),
        (
            "consumer-restriction",
            include_str!("reference/consumer-restriction.md"),
            consumer_restriction::schema(),
            None,
        ),
    ];
    for (name, page, schema, consumer) in pages {
        let mut text = format!("{}\n", page.trim_end()).replace("{{attributes}}", table(&schema).trim_end());
        if let Some(consumer) = consumer {
            text = text.replace("{{consumer}}", table(&consumer).trim_end());
        }
        compare(&format!("plugins/{name}.md"), &text);
    }
}

#[test]
fn the_page_of_redirect_is_what_its_schema_says() {
    let text = include_str!("reference/redirect.md").trim_end().to_owned() + "\n";
    compare("plugins/redirect.md", &text.replace("{{attributes}}", table(&redirect::schema()).trim_end()));
}

#[test]
fn the_page_of_the_admin_api_is_what_its_schemas_say() {
    let mut text = include_str!("reference/admin-api.md").trim_end().to_owned() + "\n";
    for kind in Kind::ALL {
        let place = format!("{{{{{}}}}}", kind.plural());
        assert!(text.contains(&place), "{place} has no place on the page");
        text = text.replace(&place, table(kind.schema()).trim_end());
    }
    compare("admin-api.md", &text);
}
