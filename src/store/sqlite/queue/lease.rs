//! Leasing durable runs in SQLite, keeping leases, and storing durable points under them.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, SqliteConnection};

use super::super::begin;
use super::{after, now, read};
use crate::store::queue::{Extended, Held, LeaseWanted, Point};
use crate::store::stored;

pub(super) async fn lease(
    writer: &mut SqliteConnection,
    owner: &str,
    wanted: &LeaseWanted,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let picked = pick(&mut tx, wanted, now).await?;
    let mut leased = Vec::with_capacity(picked.len());
    for id in picked {
        let mut sql = QueryBuilder::new("UPDATE probity_queue SET state = 'leased', lease_owner = ");
        sql.push_bind(stored::text(owner)).push(", ready_at = ").push_bind(after(now, wanted.lease_ms));
        sql.push(", lease_epoch = lease_epoch + 1, attempt = attempt + 1, point_number = 0 WHERE id = ").push_bind(id);
        sql.push(" RETURNING ").push(read::WHOLE);
        leased.push(sql.build().fetch_one(&mut *tx).await?);
    }
    tx.commit().await?;
    Ok(leased)
}

/// The ids of those that are ready, within all caps, in their order. The index says all that is asked of a flow, so that
/// a long line of one that may not run costs little; the first of each flow and tenant are counted by windows, which
/// read the whole line and are therefore used only when there are caps.
async fn pick(tx: &mut SqliteConnection, wanted: &LeaseWanted, now: i64) -> Result<Vec<String>, sqlx::Error> {
    let mut flows: Vec<(&String, &u32)> = wanted.flow_caps.iter().filter(|(_, cap)| **cap < wanted.max).collect();
    let mut tenants: Vec<(&String, &u32)> = wanted.tenant_caps.iter().filter(|(_, cap)| **cap < wanted.max).collect();
    let mut sql = QueryBuilder::new("SELECT id");
    let counted = flows.iter().chain(&tenants).any(|(_, cap)| **cap > 0);
    if counted {
        sql.push(" FROM (SELECT id, flow, tenant, priority, ready_at");
        sql.push(", row_number() OVER (PARTITION BY flow ORDER BY priority DESC, ready_at, id) AS of_flow");
        sql.push(", row_number() OVER (PARTITION BY tenant ORDER BY priority DESC, ready_at, id) AS of_tenant");
    }
    sql.push(" FROM probity_queue WHERE state IN ('queued', 'leased') AND ready_at <= ").push_bind(now);
    sql.push(" AND flow NOT IN (SELECT flow FROM probity_flow_pause)");
    if let Some(versions) = &wanted.versions {
        sql.push(" AND flow_version IN (SELECT value FROM json_each(").push_bind(stored::json(versions)).push("))");
    }
    for (column, caps) in [("flow", &mut flows), ("tenant", &mut tenants)] {
        let closed: Vec<&String> = caps.iter().filter(|(_, cap)| **cap == 0).map(|(name, _)| *name).collect();
        if !closed.is_empty() {
            sql.push(" AND ").push(column).push(" NOT IN (SELECT value FROM json_each(");
            sql.push_bind(stored::json(&closed)).push("))");
        }
        caps.retain(|(_, cap)| **cap > 0);
    }
    if counted {
        sql.push(") WHERE true");
        for (column, counter, caps) in [("flow", "of_flow", &flows), ("tenant", "of_tenant", &tenants)] {
            for (name, cap) in caps.iter() {
                sql.push(" AND (").push(column).push(" <> ").push_bind(stored::text(name));
                sql.push(" OR ").push(counter).push(" <= ").push_bind(i64::from(**cap)).push(")");
            }
        }
    }
    sql.push(" ORDER BY priority DESC, ready_at, id LIMIT ").push_bind(i64::from(wanted.max));
    sql.build_query_scalar().fetch_all(tx).await
}

pub(super) async fn extend(
    writer: &mut SqliteConnection,
    held: &[Held],
    lease_ms: u64,
) -> Result<Vec<Extended>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let until = after(now(&mut tx).await?, lease_ms);
    let mut answers = Vec::with_capacity(held.len());
    for held in held {
        let kept: Option<bool> = sqlx::query_scalar(
            "UPDATE probity_queue SET ready_at = ? WHERE id = ? AND lease_epoch = ? AND state = 'leased' \
             RETURNING cancel_wanted",
        )
        .bind(until)
        .bind(held.id.to_string())
        .bind(held.epoch)
        .fetch_optional(&mut *tx)
        .await?;
        answers.push(match kept {
            None => Extended::Lost,
            Some(true) => Extended::CancelWanted,
            Some(false) => Extended::Kept,
        });
    }
    tx.commit().await?;
    Ok(answers)
}

pub(super) async fn mark(writer: &mut SqliteConnection, points: &[Point]) -> Result<Vec<bool>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let mut answers = Vec::with_capacity(points.len());
    for point in points {
        let done = sqlx::query(
            "UPDATE probity_queue SET point = iif(?5 >= point_number, coalesce(?3, point), point), \
             effects = iif(?5 >= point_number, coalesce(?4, effects), effects), \
             point_number = max(?5, point_number), ready_at = max(?6, ready_at), decision = NULL \
             WHERE id = ?1 AND lease_epoch = ?2 AND state = 'leased'",
        )
        .bind(point.held.id.to_string())
        .bind(point.held.epoch)
        .bind(point.snapshot.as_deref().map(stored::text))
        .bind(point.effects.as_deref().map(stored::text))
        .bind(point.number)
        .bind(after(now, point.lease_ms))
        .execute(&mut *tx)
        .await?;
        answers.push(done.rows_affected() == 1);
    }
    tx.commit().await?;
    Ok(answers)
}
