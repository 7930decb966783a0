//! Writes that are passed on to a Registry elsewhere, which keeps them; here they are checked, recorded in the audit trail,
//! and in force when the caller is answered.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::RegistryV6;
use super::answer::Refusal;
use super::documents::refused;
use crate::registry::{PassThrough, Snapshot};
use crate::store::{AuditEntry, DocumentKind};

/// One write.
pub(super) struct Write<'w> {
    pub(super) method: Method,
    pub(super) kind: DocumentKind,
    pub(super) id: &'w str,
    /// Below `/api/v6`.
    pub(super) segments: &'w [&'w str],
    /// What is sent.
    pub(super) body: Option<&'w Value>,
    /// What the document is then; none when it is removed.
    pub(super) document: Option<&'w Value>,
    pub(super) by: &'w str,
}

impl RegistryV6 {
    /// Passes a write on and gives the Registry's own answer. A document that cannot be used is refused before.
    pub(super) async fn pass_on(&self, registry: &PassThrough, write: Write<'_>) -> Result<Response, Refusal> {
        if let Some(document) = write.document {
            self.agreements.checked(write.kind, document).map_err(refused)?;
        }
        let before = self.agreements.get(write.id).map(|agreement| agreement.hash.clone());
        let passed = registry.send(write.method.clone(), write.segments, write.body).await.map_err(|problem| {
            tracing::error!(registry = registry.name(), problem, "a document could not be passed on");
            Refusal::new(
                StatusCode::BAD_GATEWAY,
                format!("the Registry that keeps documents did not answer: {problem}"),
            )
        })?;
        if (200..300).contains(&passed.status) {
            self.record(registry, &write, passed.status).await?;
            let hash = write.document.and_then(|d| crate::agreement::load_value(d.clone(), "").0).map(|a| a.hash);
            let wanted = |snapshot: &Snapshot| match (write.kind, write.document) {
                (DocumentKind::Template, document) => {
                    snapshot.templates.get(write.id).map(|t| &*t.document) == document
                }
                (_, None) => snapshot.get(write.id).is_none(),
                (_, Some(_)) => snapshot.get(write.id).is_some_and(|now| {
                    Some(&now.hash) == hash.as_ref() || before.as_ref().is_some_and(|before| *before != now.hash)
                }),
            };
            if !self.agreements.look_again(wanted).await {
                tracing::warn!(
                    registry = registry.name(),
                    document = write.id,
                    "what was passed on has not come back yet; is that Registry, or its database, among the sources?"
                );
            }
        }
        let mut answer = Response::new(Body::from(passed.body));
        *answer.status_mut() = StatusCode::from_u16(passed.status).unwrap_or(StatusCode::BAD_GATEWAY);
        if let Some(media) = passed.media {
            answer.headers_mut().insert(header::CONTENT_TYPE, media);
        }
        Ok(answer)
    }

    async fn record(&self, registry: &PassThrough, write: &Write<'_>, status: u16) -> Result<(), Refusal> {
        let entry = AuditEntry {
            at: self.clock.now(),
            actor: write.by.to_owned(),
            action: format!("pass-on-{}", write.kind.word()),
            subject: write.id.to_owned(),
            detail: json!({"method": write.method.as_str(), "registry": registry.name(), "status": status}),
        };
        let recorded = self.store.audit(&entry).await;
        recorded.map_err(|error| Refusal::failed("the document was passed on, but that could not be recorded", &error))
    }
}
