//! The end of the process, seen by clients that had connected before it began.

use std::{sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpStream, task::JoinSet};

use crate::support::{
    Connection, Portcullis, Request, Response, Site,
    tls::{Wanted, client, over},
    within,
};

/// More than a core takes in one go.
const CLIENTS: usize = 400;

/// Sends a request; its answer comes later.
async fn ask(port: u16, request: Request) -> impl Future<Output = Option<Response>> + Send + use<> {
    let mut connection = Connection::over(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    connection.send(request.bytes()).await;
    async move { connection.response().await }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_everyone_who_had_connected_before_it() {
    let site = Site::alone().await;
    let gate = Arc::clone(&site.gate);
    let pid = Pid::from_raw(i32::try_from(gate.pid()).unwrap()).unwrap();
    // While it stands still, the system accepts connections for it: their requests lie there when the signal comes.
    kill_process(pid, Signal::STOP).unwrap();
    let mut asked = JoinSet::new();
    for _ in 0..CLIENTS {
        asked.spawn(ask(gate.port(9080), Request::get(&site.target("plain"))).await);
    }
    for _ in 0..20 {
        asked.spawn(ask(gate.port(9180), Request::get("/status/ready")).await);
    }
    let mut over_tls = JoinSet::new();
    for _ in 0..20 {
        let stream = TcpStream::connect(("127.0.0.1", gate.port(9443))).await.unwrap();
        let config = client(&gate.authority(), &Wanted::default());
        let request = Request::get(&site.target("tls")).header("Host", "localhost");
        over_tls.spawn(async move {
            let mut connection = Connection::over(over(config, stream, "localhost").await.ok()?);
            connection.send(request.bytes()).await;
            connection.response().await
        });
    }
    kill_process(pid, Signal::TERM).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let mut served = 0;
    while let Some(answer) = within("an answer", asked.join_next()).await {
        let answer = answer.unwrap().expect("a connection was reset");
        // The Admin API says by then that it is no longer ready.
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        served += usize::from(answer.status == 200);
    }
    assert!(served >= CLIENTS, "{served}");
    // The gateway leaves half a second to whoever has said nothing yet. Over TLS that is for handshake and request, and
    // may be too short for some of twenty on a busy machine: not for all.
    let over_tls = within("the answers over TLS", over_tls.join_all()).await;
    assert!(over_tls.iter().flatten().any(|answer| answer.status == 200), "{over_tls:?}");
    assert!(gate.wait().success());
    assert!(TcpStream::connect(("127.0.0.1", gate.port(9080))).await.is_err(), "the port is still open");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_clients_that_say_nothing() {
    let gate = Portcullis::dev();
    let silent = gate.connect().await;
    let mut used = gate.connect().await;
    used.send(Request::get("/nowhere").bytes()).await;
    assert_eq!(used.response().await.unwrap().status, 404);
    let began = std::time::Instant::now();
    assert!(gate.terminate().success());
    // Its limit would be half a minute.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(silent);
}
