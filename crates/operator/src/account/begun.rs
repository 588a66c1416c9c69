//! Starts that an operator before this one may have begun: their Secrets say it.
//!
//! A session whose finalizer comes from admission is not written at its start. Its Secret is, before anything is done on the
//! server, and names the account. One with a certificate request has no Secret, and is written.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use rolecall_api::DatabaseSession;
use rolecall_api::names::USERNAME_ANNOTATION;

use super::credentials::is_controlled;
use crate::Shared;
use crate::model::ObjectKey;
use crate::model::session::is_unclear;

const AT_ONCE: usize = 8;

/// Where the deletion of an object waits for what it owns, the Secret may be gone first.
const DEPENDENTS_FIRST: &str = "foregroundDeletion";

/// The ends of other accesses do not wait for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds out of these sessions whether their start has begun, where that is not known. Of one whose Secret cannot be read
/// it goes on being taken for possible. False: there is one, and it has to be tried again.
pub(super) async fn recall(shared: &Shared, sessions: Vec<Arc<DatabaseSession>>) -> bool {
    let unclear = sessions.into_iter().filter(|session| is_unclear(session));
    let reads: Vec<_> = unclear.map(|session| recall_one(shared, session)).collect();
    let reads = futures::stream::iter(reads).buffer_unordered(AT_ONCE).collect::<Vec<bool>>();
    match tokio::time::timeout(PATIENCE, reads).await {
        Ok(read) => read.into_iter().all(|read| read),
        Err(_) => {
            tracing::warn!(
                "reading the Secrets of sessions took too long; what has not been read may have begun"
            );
            false
        }
    }
}

async fn recall_one(shared: &Shared, session: Arc<DatabaseSession>) -> bool {
    let name = match session.spec.certificate_request {
        Some(_) => None,
        None => {
            let namespace = session.namespace().unwrap_or_default();
            let secret = match shared.api.secret(&namespace, &session.name_any()).await {
                Ok(secret) => secret.filter(|secret| is_controlled(secret, &session)),
                // Who may not read it here may not have written it either, and cannot end what there would be.
                Err(kube::Error::Api(status)) if status.code == 403 => None,
                Err(error) => {
                    let key = ObjectKey::of(&*session);
                    tracing::warn!(session = %key, %error, "the Secret of a session could not be read, which says whether its start has begun");
                    return false;
                }
            };
            let named =
                secret.as_ref().and_then(|secret| secret.annotations().get(USERNAME_ANNOTATION).cloned());
            let may_be_gone = session.finalizers().iter().any(|finalizer| finalizer == DEPENDENTS_FIRST);
            let own = || {
                let cache = shared.cache();
                cache
                    .account_of_session(&ObjectKey::of(&*session))
                    .map(|account| account.username.to_string())
            };
            named.or_else(|| own().filter(|_| secret.is_some() || may_be_gone))
        }
    };
    let triggers = shared.change(|cache| cache.set_begun(&session, name.as_deref()));
    shared.trigger(triggers);
    true
}
