//! The repositories on a real database, and the domain on top of them. Every test runs on SQLite; those of
//! `on_every_database!` also on a PostgreSQL server that the tests start, with the feature `peers`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod authorization;
mod crash;
mod deferred;
mod logout;
mod management;
mod nodes;
#[cfg(feature = "peers")]
mod postgres;
mod repositories;
mod reseal;
mod roles;
mod token_crash;
mod token_use;
mod tokens;
mod world;

pub(crate) use world::{Person, World, params};

/// Makes a test for SQLite of each function, and one for PostgreSQL of all of them.
macro_rules! on_every_database {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::World::sqlite().await).await;
            })*
        }

        #[cfg(feature = "peers")]
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgresql_keeps_every_rule_of_this_file() {
            let server = crate::postgres::Server::start();
            $(
                println!("{}", stringify!($name));
                $name(crate::World::postgres(&server).await).await;
            )*
        }
    };
}
pub(crate) use on_every_database;
