//! A client that leaves before the answer.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Connection, Request,
    http2::{Frames, RST_STREAM, frame, pseudo},
    shared, unique, within,
};

/// A route to a target that takes requests by hand.
struct Target {
    listener: TcpListener,
    path: String,
}

impl Target {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let path = format!("/{}", unique("leaving-"));
        let node = listener.local_addr().unwrap().to_string();
        let body = json!({"uri": path, "upstream": {"type": "roundrobin", "nodes": {node: 1}}});
        shared().admin().set(&format!("routes/{}", &path[1..]), &body).await;
        Self { listener, path }
    }

    /// The connection of the next request, whose head has been read.
    async fn request(&self) -> TcpStream {
        let accept = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
        };
        within("a request", accept).await
    }
}

/// Whether the gateway gives the exchange up.
async fn is_given_up(mut stream: TcpStream) -> bool {
    let mut rest = [0; 16];
    within("the end of the exchange", stream.read(&mut rest)).await.map_or(true, |read| read == 0)
}

#[tokio::test]
async fn a_cancelled_stream_ends_the_exchange_with_the_target() {
    let (gate, target) = (shared(), Target::new().await);
    let mut frames = Frames::open(gate.port(9080)).await;
    frames.request(1, &pseudo("GET", &target.path)).await;
    let stream = target.request().await;
    let cancel = 8u32;
    frames.send(&frame(RST_STREAM, 0, 1, &cancel.to_be_bytes())).await;
    assert!(is_given_up(stream).await);
    // The connection goes on, until it is closed; then what is under way ends too.
    frames.request(3, &pseudo("GET", &target.path)).await;
    let stream = target.request().await;
    drop(frames);
    assert!(is_given_up(stream).await);
}

#[tokio::test]
async fn a_client_that_only_stops_sending_is_answered() {
    let (gate, target) = (shared(), Target::new().await);
    let mut client = Connection::open(gate.port(9080)).await;
    client.send(Request::get(&target.path).bytes()).await;
    client.half_close().await;
    let mut stream = target.request().await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "late");
}
