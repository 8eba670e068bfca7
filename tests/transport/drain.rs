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

async fn ask(stream: TcpStream, request: Request) -> Option<Response> {
    let mut connection = Connection::over(stream);
    connection.send(request.bytes()).await;
    connection.response().await
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
        let stream = TcpStream::connect(("127.0.0.1", gate.port(9080))).await.unwrap();
        asked.spawn(ask(stream, Request::get(&site.target("plain"))));
    }
    for _ in 0..20 {
        let stream = TcpStream::connect(("127.0.0.1", gate.port(9180))).await.unwrap();
        asked.spawn(ask(stream, Request::get("/status/ready")));
    }
    for _ in 0..20 {
        let stream = TcpStream::connect(("127.0.0.1", gate.port(9443))).await.unwrap();
        let config = client(&gate.authority(), &Wanted::default());
        let request = Request::get(&site.target("tls")).header("Host", "localhost");
        asked.spawn(async move {
            let mut connection = Connection::over(over(config, stream, "localhost").await.ok()?);
            connection.send(request.bytes()).await;
            connection.response().await
        });
    }
    // The bytes of whoever has not come to write yet would come during the drain, which is as good.
    kill_process(pid, Signal::TERM).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let mut served = 0;
    while let Some(answer) = within("an answer", asked.join_next()).await {
        let answer = answer.unwrap().expect("a connection was reset");
        // The Admin API says by then that it is no longer ready.
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        served += usize::from(answer.status == 200);
    }
    assert!(served >= CLIENTS + 20, "{served}");
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
