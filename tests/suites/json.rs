//! T26: the 318 documents of JSONTestSuite, sent to every endpoint that takes JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::{Portcullis, Request, Response};

/// Valid JSON that is refused all the same: of two members of one name, two readers see different ones (J21, A10).
const AMBIGUOUS: [&str; 2] = ["y_object_duplicated_key", "y_object_duplicated_key_and_value"];

/// Valid JSON that the parser of tokens, of Kong's Admin API and of the identity provider refuses as well: floating-point
/// numbers so large that two readers see two numbers, and NUL in a text, which ends it for some readers and for PostgreSQL.
const STRICTLY: [&str; 7] = [
    "y_number",
    "y_number_real_capital_e",
    "y_number_real_exponent",
    "y_number_real_fraction_exponent",
    "y_object_escaped_null_in_key",
    "y_object_extreme_numbers",
    "y_string_null_escape",
];

struct Document {
    name: String,
    bytes: Vec<u8>,
}

fn documents() -> Vec<Document> {
    let list: Vec<Value> = serde_json::from_str(include_str!("../vectors/json_parsing.json")).unwrap();
    let text = |case: &Value, member: &str| case[member].as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|case| {
            let bytes = match case["times"].as_u64() {
                Some(times) => {
                    let repeated = text(case, "repeated").repeat(usize::try_from(times).unwrap());
                    (repeated + &text(case, "then")).into_bytes()
                }
                None => STANDARD.decode(text(case, "base64")).unwrap(),
            };
            Document { name: text(case, "name"), bytes }
        })
        .collect()
}

/// An endpoint, and what it says of a body that is no JSON.
struct Endpoint {
    port: u16,
    request: Request,
    malformed: &'static str,
    strict: bool,
}

async fn endpoints(gate: &Portcullis) -> Vec<Endpoint> {
    let json =
        |method: &str, target: &str| Request::new(method, target).header("Content-Type", "application/json");
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &gate.variable("AUTH0_MGMT_CLIENT_ID"))
        .append_pair("client_secret", &gate.variable("AUTH0_MGMT_CLIENT_SECRET"))
        .append_pair("audience", &format!("{}api/v2/", gate.variable("ISSUER")))
        .finish();
    let identity = gate.port(9400);
    let tokens = Request::new("POST", "/oauth/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form)
        .send(identity)
        .await;
    let management = tokens.json()["access_token"].as_str().unwrap().to_owned();
    let key = gate.variable("ADMIN_KEY");
    vec![
        Endpoint {
            port: gate.port(9180),
            request: json("PUT", "/apisix/admin/routes/t26").header("X-API-KEY", &key),
            malformed: "\"error_msg\":\"invalid request body: ",
            strict: false,
        },
        Endpoint {
            port: gate.port(9180),
            request: json("PATCH", "/apisix/admin/upstreams/t26").header("X-API-KEY", &key),
            malformed: "\"error_msg\":\"invalid request body: ",
            strict: false,
        },
        Endpoint {
            port: gate.port(8001),
            request: json("POST", "/services"),
            malformed: "\"message\":\"Cannot parse JSON body\"",
            strict: true,
        },
        Endpoint {
            port: identity,
            request: json("POST", "/api/v2/clients").bearer(&management),
            malformed: "The body is no usable JSON",
            strict: true,
        },
        Endpoint {
            port: identity,
            request: json("POST", "/oauth/token"),
            malformed: "the body is no usable JSON",
            strict: true,
        },
    ]
}

/// What is wrong with the answer to a document, if anything.
fn judge(document: &Document, endpoint: &Endpoint, answer: &Response) -> Option<String> {
    let text = answer.text();
    let malformed = text.contains(endpoint.malformed);
    if !(400..500).contains(&answer.status) {
        return Some(format!("answered {}", answer.status));
    }
    // An empty body has a message of its own where nothing can be made of it, and so has one that is too long.
    let refused = malformed || document.bytes.is_empty() || text.contains("the body is too long");
    let name = document.name.as_str();
    let expected = AMBIGUOUS.contains(&name) || (endpoint.strict && STRICTLY.contains(&name));
    match document.name.as_bytes().first() {
        Some(b'n') if !refused => Some(format!("taken for JSON: {text}")),
        Some(b'y') if malformed != expected => Some(format!("malformed: {malformed}: {text}")),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t26_every_json_endpoint_knows_json_from_what_only_looks_like_it() {
    let gate = Portcullis::dev();
    let (documents, mut failures) = (documents(), Vec::new());
    assert_eq!(documents.len(), 318);
    for endpoint in endpoints(&gate).await {
        for document in &documents {
            let answer = endpoint.request.clone().body(document.bytes.clone()).send(endpoint.port).await;
            if let Some(wrong) = judge(document, &endpoint, &answer) {
                failures.push(format!("{} at port {}: {wrong}", document.name, endpoint.port));
            }
        }
    }
    assert!(gate.is_running());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
