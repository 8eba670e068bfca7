//! The operator's reference is what the schemas say: pages under `docs/` are rendered from them, and these tests fail
//! when a page is out of date. `UPDATE_DOCS=1 cargo test --package apisix reference` writes them anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write,
    fs,
    path::PathBuf,
};

use crate::{
    plugins::{
        attach_consumer_label, authentication::Scheme, basic_auth::BasicAuth, client_control,
        consumer_restriction, cors, fault_injection, file_logger, hmac_auth::HmacAuth, http_logger,
        ip_restriction, jwt_auth::JwtAuth, key_auth::KeyAuth, limit_count, meta, mocking, multi_auth,
        openid_connect, prometheus, proxy_rewrite, redirect, request_id, response_rewrite,
    },
    references::ManagerKind,
    resources::{Kind, secret_of},
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
    table_of(schema, None)
}

/// The same with a test for each attribute: lines of an attribute and the test that is about it.
fn table_with_tests(schema: &Schema, tests: &str) -> String {
    let tests: BTreeMap<&str, &str> = tests.lines().filter_map(|line| line.split_once(' ')).collect();
    let rows = schema.rows();
    let attributes: BTreeSet<&str> =
        rows.iter().filter(|row| row.implemented).map(|row| row.path.as_str()).collect();
    assert_eq!(
        attributes,
        tests.keys().copied().collect(),
        "each attribute has a test, and each test an attribute"
    );
    table_of(schema, Some(&tests))
}

fn table_of(schema: &Schema, tests: Option<&BTreeMap<&str, &str>>) -> String {
    let (built, absent): (Vec<Row>, Vec<Row>) = schema.rows().into_iter().partition(|row| row.implemented);
    let cell = |text: &str| text.replace('|', "\\|");
    let (head, line) = if tests.is_some() { (" test |", "---|") } else { ("", "") };
    let mut out = format!("| attribute | type | default | meaning |{head}\n|---|---|---|---|{line}\n");
    for row in built {
        let mark = if row.required { " (required)" } else { "" };
        let secret = if row.secret { " Sealed at rest, hidden from viewers." } else { "" };
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        let doc = row.doc.trim_end_matches('.');
        let meaning =
            if doc.is_empty() { secret.trim().to_owned() } else { format!("{}.{secret}", sentence(doc)) };
        let test = tests.and_then(|tests| tests.get(row.path.as_str()));
        let test = test.map(|test| format!(" `{test}` |")).unwrap_or_default();
        writeln!(
            out,
            "| `{}`{mark} | {} | {} | {} |{test}",
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

/// An attribute and its test in each line.
const TESTS: &str = include_str!("reference/openid-connect.tests");

#[test]
fn the_page_of_openid_connect_is_what_its_schema_says() {
    let text = format!("{}\n{}", include_str!("reference/openid-connect.md").trim_end(), "");
    compare(
        "plugins/openid-connect.md",
        &text.replace("{{attributes}}", table_with_tests(&openid_connect::schema(), TESTS).trim_end()),
    );
}

#[test]
fn the_pages_of_the_plugins_that_know_consumers_are_what_their_schemas_say() {
    let pages = [
        (
            "key-auth",
            include_str!("reference/key-auth.md"),
            KeyAuth::schema(),
            Some(KeyAuth::consumer_schema()),
        ),
        (
            "basic-auth",
            include_str!("reference/basic-auth.md"),
            BasicAuth::schema(),
            Some(BasicAuth::consumer_schema()),
        ),
        (
            "jwt-auth",
            include_str!("reference/jwt-auth.md"),
            JwtAuth::schema(),
            Some(JwtAuth::consumer_schema()),
        ),
        (
            "hmac-auth",
            include_str!("reference/hmac-auth.md"),
            HmacAuth::schema(),
            Some(HmacAuth::consumer_schema()),
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
fn the_pages_of_the_plugins_of_traffic_are_what_their_schemas_say() {
    let pages = [
        ("client-control", include_str!("reference/client-control.md"), client_control::schema()),
        ("cors", include_str!("reference/cors.md"), cors::schema()),
        ("fault-injection", include_str!("reference/fault-injection.md"), fault_injection::schema()),
        ("file-logger", include_str!("reference/file-logger.md"), file_logger::schema()),
        ("http-logger", include_str!("reference/http-logger.md"), http_logger::schema()),
        ("ip-restriction", include_str!("reference/ip-restriction.md"), ip_restriction::schema()),
        ("limit-count", include_str!("reference/limit-count.md"), limit_count::schema()),
        ("mocking", include_str!("reference/mocking.md"), mocking::schema()),
        ("prometheus", include_str!("reference/prometheus.md"), prometheus::schema()),
        ("proxy-rewrite", include_str!("reference/proxy-rewrite.md"), proxy_rewrite::schema()),
        ("redirect", include_str!("reference/redirect.md"), redirect::schema()),
        ("request-id", include_str!("reference/request-id.md"), request_id::schema()),
        ("response-rewrite", include_str!("reference/response-rewrite.md"), response_rewrite::schema()),
    ];
    for (name, page, schema) in pages {
        let text = format!("{}\n", page.trim_end());
        compare(&format!("plugins/{name}.md"), &text.replace("{{attributes}}", table(&schema).trim_end()));
    }
}

#[test]
fn the_page_of_the_admin_api_is_what_its_schemas_say() {
    let mut text = include_str!("reference/admin-api.md").trim_end().to_owned() + "\n";
    for kind in ManagerKind::ALL {
        let place = format!("{{{{secrets/{}}}}}", kind.name());
        text = text.replace(&place, table(&secret_of(kind)).trim_end());
    }
    // Each kind of manager has its own.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Secret) {
        let place = format!("{{{{{}}}}}", kind.plural());
        assert!(text.contains(&place), "{place} has no place on the page");
        text = text.replace(&place, table(kind.schema()).trim_end());
    }
    text = text.replace("{{_meta}}", table(&meta::schema()).trim_end());
    for (plugin, schema) in [
        ("cors", cors::metadata()),
        ("file-logger", file_logger::metadata()),
        ("limit-count", limit_count::metadata()),
    ] {
        text = text.replace(&format!("{{{{metadata/{plugin}}}}}"), table(&schema).trim_end());
    }
    compare("admin-api.md", &text);
}
