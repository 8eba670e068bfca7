//! The one writer: takes every request that waits, does them in one SQLite transaction, and answers after its commit.

use std::sync::Arc;

use base::Clock;
use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};

use super::{
    file::{self, failure},
    rows,
};
use crate::{Condition, Entry, Event, Operation, StoreError, watch::History};

/// Requests that share one commit.
const MAX_BATCH: usize = 256;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(super) enum Request {
    Commit {
        conditions: Vec<Condition>,
        operations: Vec<Operation>,
        answer: Answer<u64>,
    },
    ExpireDue {
        answer: Answer<usize>,
    },
    /// Answered when everything sent before it is done and published.
    Settle(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    /// `None` after a commit failed: what that connection believes is not believed any more.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    revision: u64,
    history: Arc<History>,
    clock: Clock,
}

/// What one request of a batch came to, to be told once the batch is on disk.
enum Outcome {
    Refused(StoreError),
    /// The revision after it, and how many keys it changed.
    Done(u64, usize),
}

struct Batch {
    outcomes: Vec<Outcome>,
    events: Vec<Event>,
    revision: u64,
}

impl Writer {
    pub(super) fn new(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        revision: u64,
        history: Arc<History>,
        clock: Clock,
    ) -> Self {
        Self { connection: Some(connection), options, revision, history, clock }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        let mut closing = None;
        while closing.is_none() && requests.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let mut settled = Vec::new();
            let mut work = Vec::with_capacity(batch.len());
            for request in batch.drain(..) {
                match request {
                    Request::Settle(answer) => settled.push(answer),
                    Request::Close(answer) => closing = Some(answer),
                    request => work.push(request),
                }
            }
            self.work(work).await;
            for answer in settled {
                // Who no longer waits needs no answer; so everywhere below.
                let _ = answer.send(());
            }
        }
        if let Some(connection) = self.connection.take() {
            file::close(connection).await;
        }
        self.history.close();
        if let Some(answer) = closing {
            let _ = answer.send(());
        }
    }

    async fn work(&mut self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        match self.transact(&requests).await {
            Ok(batch) => self.finish(requests, batch),
            // One request that is too much for the disk must not fail its neighbours.
            Err((Stage::Before, error)) if requests.len() > 1 => {
                tracing::warn!(%error, "a group of writes failed; trying them one by one");
                for request in requests {
                    Box::pin(self.work(vec![request])).await;
                }
            }
            Err((_, error)) => {
                tracing::error!(%error, "a write to the configuration store failed");
                requests.into_iter().for_each(|request| request.refuse(error.clone()));
            }
        }
    }

    fn finish(&mut self, requests: Vec<Request>, batch: Batch) {
        if batch.revision > self.revision {
            self.revision = batch.revision;
            self.history.publish(batch.events, batch.revision);
        }
        for (request, outcome) in requests.into_iter().zip(batch.outcomes) {
            match outcome {
                Outcome::Refused(error) => request.refuse(error),
                Outcome::Done(revision, changed) => request.done(revision, changed),
            }
        }
    }

    async fn transact(&mut self, requests: &[Request]) -> Result<Batch, (Stage, StoreError)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.reopen().await.map_err(|error| (Stage::Commit, error))?,
        };
        match self.attempt(&mut connection, requests).await {
            Ok(batch) => {
                self.connection = Some(connection);
                Ok(batch)
            }
            // The connection is dropped, which rolls back. After a failed fsync the kernel may have thrown the pages
            // away and say that all is well the next time, so nothing that this connection has cached is used again.
            Err(failed) => Err(failed),
        }
    }

    /// A commit that failed may have reached the disk all the same. Then nobody was told of its changes: whoever
    /// watches has to load again.
    async fn reopen(&mut self) -> Result<SqliteConnection, StoreError> {
        let mut connection = self.options.connect().await.map_err(failure)?;
        let revision = rows::revision(&mut connection).await?;
        if revision != self.revision {
            self.revision = revision;
            self.history.restart_at(revision);
        }
        Ok(connection)
    }

    async fn attempt(
        &self,
        connection: &mut SqliteConnection,
        requests: &[Request],
    ) -> Result<Batch, (Stage, StoreError)> {
        let before = |error| (Stage::Before, error);
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await
            .map_err(|error| before(failure(error)))?;
        let mut batch = Batch {
            outcomes: Vec::with_capacity(requests.len()),
            events: Vec::new(),
            revision: self.revision,
        };
        for request in requests {
            let outcome = self.apply(connection, request, &mut batch).await.map_err(before)?;
            batch.outcomes.push(outcome);
        }
        if batch.revision == self.revision {
            sqlx::query("ROLLBACK").execute(connection).await.map_err(|error| before(failure(error)))?;
        } else {
            rows::set_revision(connection, batch.revision).await.map_err(before)?;
            sqlx::query("COMMIT")
                .execute(connection)
                .await
                .map_err(|error| (Stage::Commit, failure(error)))?;
        }
        Ok(batch)
    }

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        request: &Request,
        batch: &mut Batch,
    ) -> Result<Outcome, StoreError> {
        let expired;
        let operations = match request {
            Request::Commit { conditions, operations, .. } => {
                for condition in conditions {
                    let found = rows::revisions(connection, condition.key()).await?;
                    if !condition.holds(found.map(|(_, modify)| modify)) {
                        let key = condition.key().to_owned();
                        return Ok(Outcome::Refused(StoreError::Conflict { key }));
                    }
                }
                operations
            }
            Request::ExpireDue { .. } => {
                let keys = rows::due(connection, self.clock.now()).await?;
                expired = keys.into_iter().map(|key| Operation::Delete { key }).collect();
                &expired
            }
            Request::Settle(_) | Request::Close(_) => return Ok(Outcome::Done(batch.revision, 0)),
        };
        let revision = batch.revision + 1;
        let known = batch.events.len();
        for operation in operations {
            batch.events.extend(self.write(connection, operation, revision).await?);
        }
        let changed = batch.events.len() - known;
        if changed > 0 {
            batch.revision = revision;
        }
        Ok(Outcome::Done(batch.revision, changed))
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        operation: &Operation,
        revision: u64,
    ) -> Result<Option<Event>, StoreError> {
        match operation {
            Operation::Put { key, value, ttl } => {
                let found = rows::revisions(connection, key).await?;
                let entry = Entry {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: found.map_or(revision, |(create, _)| create),
                    modify_revision: revision,
                    lease_expires: ttl.map(|ttl| self.clock.now() + ttl),
                };
                rows::put(connection, &entry).await?;
                Ok(Some(Event::Put(entry)))
            }
            Operation::Delete { key } => {
                let deleted = rows::delete(connection, key).await?;
                Ok(deleted.then(|| Event::Delete { key: key.clone(), revision }))
            }
        }
    }
}

/// How far a batch came before it failed.
#[derive(Clone, Copy)]
enum Stage {
    /// Nothing was committed: its parts may be tried again.
    Before,
    /// The commit itself, or opening the file again after one: trying again would only hide the fault.
    Commit,
}

impl Request {
    fn refuse(self, error: StoreError) {
        match self {
            Self::Commit { answer, .. } => drop(answer.send(Err(error))),
            Self::ExpireDue { answer } => drop(answer.send(Err(error))),
            Self::Settle(_) | Self::Close(_) => {}
        }
    }

    fn done(self, revision: u64, changed: usize) {
        match self {
            Self::Commit { answer, .. } => drop(answer.send(Ok(revision))),
            Self::ExpireDue { answer } => drop(answer.send(Ok(changed))),
            Self::Settle(_) | Self::Close(_) => {}
        }
    }
}
