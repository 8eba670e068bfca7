//! What upstreams answer.

use std::sync::{Arc, Mutex};

use super::{
    Fuzz, Site, bent, shown,
    strict::{Answer as Meant, answer},
};
use crate::support::{Answer, Connection, Kind, Request, Response};

/// Answers in a run of the tests.
const ANSWERS: usize = 600;

#[tokio::test]
async fn t13_what_the_client_sees_is_what_the_upstream_meant() {
    let site = Site::alone().await;
    let mut fuzz = Fuzz::new("answers", ANSWERS);
    let told = Arc::new(Mutex::new(Answer::text("ok")));
    let script = Arc::clone(&told);
    // Whoever asks for anything else gets the name of it.
    site.upstream.script(move |seen| match seen.path().ends_with("/bent") {
        true => script.lock().unwrap().clone(),
        false => Answer::text(seen.path()),
    });
    site.get("warm").await;
    let before = site.gate.resident();
    let mut passed = 0;
    for round in 0_u64.. {
        if !fuzz.goes_on() {
            break;
        }
        let bytes = bent(&fuzz, &seeds());
        let method = *fuzz.one(&["GET", "GET", "GET", "HEAD"]);
        let meant = answer(&bytes, method);
        // One that lacks its end would be waited for; of all others the connection stays, and what is left on it.
        let whole =
            meant.is_some() && answer(&[&bytes[..], b"HTTP/1.1 200 More\r\n\r\n"].concat(), method) == meant;
        *told.lock().unwrap() = match whole {
            true => Answer::Send(bytes.clone()),
            false => Answer::SendAndClose(bytes.clone()),
        };
        let case = format!("{method} {}\nmeans {meant:?}", shown(&bytes));
        let mut client = site.gate.connect().await;
        let got = ask(&mut client, method, &site.target("bent")).await;
        match &got {
            // Broken off where its end would be, or refused.
            None => {}
            Some(got) if got.status == 502 => {}
            Some(got) => {
                let got = Meant { status: got.status, body: got.message.body.clone() };
                assert_eq!(meant.as_ref(), Some(&got), "{case}");
                passed += 1;
            }
        }
        // Neither this client nor another one gets any of it with what it asks for next.
        let goes_on = got.is_some_and(|got| got.header("connection") != Some("close"));
        let mut other = site.gate.connect().await;
        for client in [&mut client, &mut other].into_iter().skip(usize::from(!goes_on)) {
            let target = site.target(&format!("honest/{round}"));
            let got = ask(client, "GET", &target).await;
            let text = got.as_ref().map(Response::text);
            assert_eq!(text.as_deref(), Some(target.as_str()), "after {case}");
        }
        site.upstream.take_seen();
    }
    assert!(passed > 0, "nothing came through");
    fuzz.finish(&site.gate, before);
    site.still_serves().await;
}

/// The final answer to one request on this connection.
async fn ask(client: &mut Connection, method: &str, target: &str) -> Option<Response> {
    client.send(Request::new(method, target).bytes()).await;
    let kind = if method == "HEAD" { Kind::Bodiless } else { Kind::Response };
    loop {
        match client.response_of(kind).await {
            Some(interim) if interim.status < 200 => {}
            last => return last,
        }
    }
}

fn seeds() -> Vec<String> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n3;a=b\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX-T: t\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nX-A: b\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]
    .map(str::to_owned)
    .to_vec()
}
