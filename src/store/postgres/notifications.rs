//! Changes of verdicts to be told, in Postgres.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::instant::Instant;
use super::{PostgresStore, history};
use crate::model::RunId;
use crate::model::state::Verdict;
use crate::store::batch::Row;
use crate::store::notification::{self, Latest, Notification, Notifications, Rule, Told, Written};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

/// Keeps what these rows change for the channels that are told of it.
pub(super) async fn keep(
    tx: &mut PgConnection,
    run: RunId,
    written: &[Row<'_>],
    rules: &[Rule],
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let written: Vec<Written<'_>> =
        written.iter().map(|row| Written { state: row.state, before: row.before }).collect();
    let series = notification::asked(&written);
    if series.is_empty() {
        return Ok(());
    }
    let found: Vec<(Uuid, Instant, String)> =
        sqlx::query_as("SELECT series, window_to, verdict FROM probity.latest_verdict WHERE series = ANY($1)")
            .bind(&series)
            .fetch_all(&mut *tx)
            .await?;
    let read = |(series, to, verdict): (Uuid, Instant, String)| {
        Some((series, Latest { window_to: to.0, verdict: Verdict::parse(&verdict)? }))
    };
    let mut latest: HashMap<Uuid, Latest> = found.into_iter().filter_map(read).collect();
    let changes = notification::changes(&written, &mut latest);
    let (mut keys, mut ends, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for (series, latest) in latest {
        keys.push(series);
        ends.push(Instant(latest.window_to));
        verdicts.push(latest.verdict.as_str());
    }
    sqlx::query(
        "INSERT INTO probity.latest_verdict (series, window_to, verdict) \
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[]) \
         ON CONFLICT (series) DO UPDATE SET window_to = excluded.window_to, verdict = excluded.verdict",
    )
    .bind(keys)
    .bind(ends)
    .bind(verdicts)
    .execute(&mut *tx)
    .await?;
    for notification in notification::notifications(run, &changes, rules, recorded_at) {
        sqlx::query(
            "INSERT INTO probity.notification (id, channel, changes, recorded_at, due_at) \
             VALUES ($1, $2, $3::text::json, $4, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(notification.id)
        .bind(&notification.channel)
        .bind(stored::json(&notification.changes))
        .bind(Instant(recorded_at))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

#[async_trait]
impl Notifications for PostgresStore {
    async fn next_notifications(&self, now: Timestamp, until: Timestamp) -> Result<Vec<Notification>, StoreError> {
        let what = "take notifications";
        let taken = async {
            // Two who look at once see the same heads: the second finds another lease, and takes nothing.
            let rows = sqlx::query(
                "WITH head AS (SELECT DISTINCT ON (channel) number, due_at, leased_until FROM probity.notification \
                 ORDER BY channel, number) \
                 UPDATE probity.notification AS n SET leased_until = $2 FROM head \
                 WHERE n.number = head.number AND head.due_at <= $1 AND (head.leased_until IS NULL OR head.leased_until <= $1) \
                 AND n.leased_until IS NOT DISTINCT FROM head.leased_until AND n.due_at <= $1 \
                 RETURNING n.id, n.channel, n.changes::text AS changes, n.recorded_at, n.attempts",
            )
            .bind(Instant(now))
            .bind(Instant(until))
            .fetch_all(&self.pool)
            .await
            .map_err(during(what))?;
            rows.iter().map(read).collect()
        };
        self.within(what, taken).await
    }

    async fn settle_notification(&self, id: Uuid, told: &Told) -> Result<(), StoreError> {
        let what = "settle a notification";
        let settle = async {
            let mut tx = self.pool.begin().await?;
            match told {
                Told::Later { due, failed } => {
                    sqlx::query(
                        "UPDATE probity.notification SET leased_until = NULL, due_at = $2, attempts = attempts + $3 \
                         WHERE id = $1",
                    )
                    .bind(id)
                    .bind(Instant(*due))
                    .bind(i32::from(*failed))
                    .execute(&mut *tx)
                    .await?;
                }
                Told::Done | Told::Refused(_) => {
                    sqlx::query("DELETE FROM probity.notification WHERE id = $1").bind(id).execute(&mut *tx).await?;
                }
            }
            if let Told::Refused(audit) = told {
                history::add_audit(&mut *tx, audit).await?;
            }
            tx.commit().await
        };
        self.within(what, async { settle.await.map_err(during(what)) }).await
    }

    async fn notifications_waiting(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let what = "count notifications";
        let counted = async {
            let rows = sqlx::query("SELECT channel, count(*) FROM probity.notification GROUP BY channel")
                .fetch_all(&self.pool)
                .await
                .map_err(during(what))?;
            Ok(rows.iter().map(|row| (row.get(0), row.get::<i64, _>(1).unsigned_abs())).collect())
        };
        self.within(what, counted).await
    }
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: column(row, "id")?,
        channel: column(row, "channel")?,
        changes: stored::read_json("changes of verdicts", column(row, "changes")?)?,
        recorded_at: column::<Instant, _>(row, "recorded_at")?.0,
        attempts: column::<i32, _>(row, "attempts")?.unsigned_abs(),
    })
}
