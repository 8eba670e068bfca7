//! Commits a second of the SQLite store, alone and with many writers: `cargo run --release -p store --example throughput`.

use std::{sync::Arc, time::Duration};

use base::Clock;
use store::{Operation, SqliteStore, Store, StoreError};

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let clock = Clock::system();
    let store = Arc::new(SqliteStore::open(format!("{folder}/throughput.db"), clock.clone()).await?);
    for writers in [1, 4, 16, 64] {
        let end = clock.monotonic() + Duration::from_secs(3);
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let (store, clock) = (Arc::clone(&store), clock.clone());
                tokio::spawn(async move {
                    let mut done = 0_u64;
                    while clock.monotonic() < end {
                        let key = format!("/bench/{writer}/{}", done % 100);
                        let operation = Operation::Put { key, value: vec![b'x'; 500], ttl: None };
                        store.commit(Vec::new(), vec![operation]).await?;
                        done += 1;
                    }
                    Ok::<_, StoreError>(done)
                })
            })
            .collect();
        let mut total = 0;
        for task in tasks {
            total += task.await.unwrap_or(Ok(0))?;
        }
        println!("{writers:3} writers: {} commits/s", total / 3);
    }
    store.close().await;
    Ok(())
}
