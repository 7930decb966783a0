//! Every store keeps the same promises: one suite, run for memory, SQLite and Postgres.

mod databases;
#[macro_use]
mod promises;
pub mod claims;
mod contexts;
mod documents;
mod flow_revisions;
mod keeping;
mod partitions;
mod people;
mod queue;
pub mod samples;
mod turns;

use std::sync::Arc;

use probity::store::{Store, StoreOptions, open};

use crate::harness::postgres;

/// An empty store, and what must live as long as it.
pub struct Fixture {
    pub url: String,
    pub store: Arc<dyn Store>,
    folder: Option<std::path::PathBuf>,
}

impl Fixture {
    async fn open(url: String, folder: Option<std::path::PathBuf>) -> Fixture {
        let store = open(&url, &StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        Fixture { url, store, folder }
    }

    pub async fn memory() -> Fixture {
        Fixture::open("memory:".into(), None).await
    }

    pub async fn sqlite() -> Fixture {
        let folder = std::env::temp_dir().join(format!("probity-store-{}", uuid::Uuid::new_v4().simple()));
        Fixture::open(format!("sqlite:{}/new/probity.db", folder.display()), Some(folder)).await
    }

    pub async fn postgres() -> Fixture {
        Fixture::open(postgres::database().await, None).await
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}
