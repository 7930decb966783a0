//! What is between a database's schema and the one this version knows, for who wants to know before it is changed.

use sqlx::migrate::Migrator;

/// The distance between the schema that is there and ours. Both empty: it is up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaDistance {
    /// Migrations that [`super::Store::migrate`] would run, in order: `0009 queue`.
    pub pending: Vec<String>,
    /// Numbers of migrations that a newer version ran, ascending; this version cannot migrate such a database.
    pub ahead: Vec<i64>,
}

impl SchemaDistance {
    /// From the numbers of the migrations that were run.
    pub(super) fn between(known: &Migrator, applied: &[i64]) -> SchemaDistance {
        let ups = || known.iter().filter(|migration| migration.migration_type.is_up_migration());
        let pending = ups().filter(|migration| !applied.contains(&migration.version));
        let mut ahead: Vec<i64> =
            applied.iter().copied().filter(|version| !ups().any(|m| m.version == *version)).collect();
        ahead.sort_unstable();
        SchemaDistance { pending: pending.map(|m| format!("{:04} {}", m.version, m.description)).collect(), ahead }
    }
}
