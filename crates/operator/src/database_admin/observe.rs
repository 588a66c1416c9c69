//! Observing a server, step by step, until one fails: connect, add the finalizer, leave the previous server, check what
//! the admin user may do, list the accounts. What the result of a step means is decided in `decide`.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, Deletion, ObjectCounts, conditions, reasons};
use rolecall_engine::{Class, Inventory, Preflight};

use super::decide::{self, Fallback};
use super::observation::Observation;
use super::{failover, inventory, teardown, trust};
use crate::Shared;
use crate::model::session::is_touched;
use crate::model::{Blocker, ObjectKey};
use crate::servers::{Server, ServerState, connect, teardown_secret};

/// Everything that can be found out about the server of a DatabaseAdmin.
pub(super) async fn observe(
    shared: &Shared,
    key: &ObjectKey,
    admin: &Arc<DatabaseAdmin>,
    now: Timestamp,
) -> Observation {
    let before = shared.servers.get(key).unwrap_or_default();
    let mut pass = Pass { shared, key, admin, now, observed: begin(shared, key, admin, &before), before };
    // The reason for stopping early is part of the observation.
    let _ = pass.run().await;
    pass.observed
}

/// What is known before the server is asked.
fn begin(shared: &Shared, key: &ObjectKey, admin: &DatabaseAdmin, before: &ServerState) -> Observation {
    let (databases, found) = shared.sets.imported(key);
    Observation {
        objects: (databases > 0).then_some(ObjectCounts { databases, imported: found.objects }),
        crowded: found.crowded,
        state: ServerState {
            server: before.server.clone(),
            verified: before.verified,
            retain: admin.spec.suspend || admin.spec.deletion == Deletion::Retain,
            unchecked: admin.spec.suspend || before.unchecked || resumed_before(admin, before),
            ..ServerState::default()
        },
        ..Observation::default()
    }
}

/// Did a suspension end while no operator ran? The status still tells of it then.
fn resumed_before(admin: &DatabaseAdmin, before: &ServerState) -> bool {
    let status = admin.status.as_ref().filter(|_| before.server.is_none());
    let ready = status.and_then(|status| conditions::find(&status.conditions, conditions::READY));
    ready.is_some_and(|ready| ready.reason == reasons::DATABASE_SUSPENDED)
}

struct Pass<'a> {
    shared: &'a Shared,
    key: &'a ObjectKey,
    admin: &'a Arc<DatabaseAdmin>,
    now: Timestamp,
    /// The state of the server before this reconcile.
    before: ServerState,
    /// What was observed so far.
    observed: Observation,
}

/// A step failed, so that no further one is taken.
struct Stopped;

impl Pass<'_> {
    async fn run(&mut self) -> Result<(), Stopped> {
        let server = self.connect().await?;
        if self.admin.spec.suspend {
            self.observed.state.server = Some(self.before.server.clone().unwrap_or(server));
            return Err(Stopped);
        }
        let needs = self.shared.needs.of(&self.shared.cache(), self.key, server.platform_roles);
        self.add_finalizer().await?;
        self.leave(&server).await?;
        // At the same time, so that the accounts are judged soon after they were read.
        let trust = trust::finding(&server, &self.before, self.now);
        let (looked, trust) = tokio::join!(server.engine.look(&needs), trust);
        let (mut preflight, inventory) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.unreached(server, &error).await,
        };
        trust::add(&mut preflight, trust);
        self.admitted(&server, preflight).await?;
        self.observed.state.server = Some(Arc::clone(&server));
        match inventory {
            Ok(inventory) => self.checked(&server, &inventory),
            Err(error) => tracing::warn!(admin = %self.key, %error, "the accounts could not be listed"),
        }
        if let Err(error) = server.engine.tidy(&server.owner.uid).await {
            tracing::debug!(admin = %self.key, %error, "what can wait waits");
        }
        Ok(())
    }

    /// Makes the server that the DatabaseAdmin and its Secrets describe.
    async fn connect(&mut self) -> Result<Arc<Server>, Stopped> {
        let Self { shared, admin, now, .. } = *self;
        let connector = shared.connector();
        let used = match self.before.server.is_none() && self.is_live() {
            true => connect::read_used(connector, admin, now).await,
            false => Ok(None),
        };
        let made = match used {
            // Without that server, accesses on it cannot be ended: nothing is changed until it is known.
            Err(blocker) => Err(blocker),
            Ok(used) => {
                if let Some(used) = used {
                    self.observed.state.server = Some(Arc::clone(&used));
                    self.before.server = Some(used);
                }
                connect::read(connector, admin, self.before.server.as_ref(), now).await
            }
        };
        let blocker = match made {
            Ok(server) => return Ok(server),
            Err(blocker) => blocker,
        };
        match decide::without_server(admin.spec.suspend, self.before.server.is_some(), &blocker) {
            Fallback::Nowhere => {}
            Fallback::Last => self.fall_back().await,
            Fallback::Kept => {
                self.before.server = connect::read_kept(connector, admin, now).await;
                self.observed.state.server = self.before.server.clone();
                self.fall_back().await;
            }
        }
        self.stop(blocker)
    }

    /// Nothing is done on a server before the finalizer is set that ensures the teardown of its accounts.
    async fn add_finalizer(&mut self) -> Result<(), Stopped> {
        let Self { shared, admin, .. } = *self;
        let has_finalizer = admin.metadata.finalizers.iter().flatten().any(|f| f == TEARDOWN_FINALIZER);
        if has_finalizer || admin.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        match shared.api.add_finalizer(shared, &**admin, TEARDOWN_FINALIZER, serde_json::json!({})).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let message = format!("the API server refused: {error}");
                self.stop(Blocker::passing(reasons::PENDING, message))
            }
        }
    }

    /// Before another server is used: no access starts on the previous one from now on, and none is being started.
    async fn leave(&mut self, server: &Server) -> Result<(), Stopped> {
        if self.before.server.as_ref().is_none_or(|old| old.endpoint == server.endpoint) {
            return Ok(());
        }
        let message = "uri or adminUser.name changed: the server that they name now is checked first";
        let blocker = Blocker::passing(reasons::PENDING, message);
        if self.before.blocker.is_none() {
            let state = ServerState { blocker: Some(blocker.clone()), ..self.before.clone() };
            self.shared.servers.set(self.key, state);
        }
        if teardown::account_reconciles_end(self.shared, self.key).await {
            return Ok(());
        }
        self.fall_back().await;
        self.stop(blocker)
    }

    /// The server let the admin user in: is it the one to use, and can sessions start on it?
    async fn admitted(&mut self, server: &Arc<Server>, preflight: Preflight) -> Result<(), Stopped> {
        let Self { shared, key, admin, now, .. } = *self;
        self.observed.reachable = Some(true);
        if let Some(blocker) = decide::moved(admin, &server.endpoint, &preflight, self.is_live()) {
            self.fall_back().await;
            return self.stop(blocker);
        }
        self.observed.state.verified = Some(now);
        self.observed.state.blocker = decide::no_starts(admin).or_else(|| decide::blocking(&preflight));
        self.observed.endpoint = Some(server.endpoint.clone());
        failover::notice(shared, key, admin, server, Some(&preflight.history)).await;
        self.observed.preflight = Some(decide::with_objects(preflight, shared.sets.lacking(key)));
        self.keep_proof(server).await;
        if let Some(old) = self.before.server.take().filter(|old| old.fingerprint != server.fingerprint) {
            old.engine.close().await;
        }
        Ok(())
    }

    /// The server did not let the admin user in: accesses may still be ended on the previous one, or with the kept
    /// credentials.
    async fn unreached(
        &mut self,
        server: Arc<Server>,
        error: &rolecall_engine::Error,
    ) -> Result<(), Stopped> {
        self.observed.reachable = Some(false);
        self.observed.state.unreachable = decide::is_unreachable(error);
        if self.before.server.as_ref().is_some_and(|old| old.fingerprint != server.fingerprint) {
            self.fall_back().await;
        } else if let Some((kept, inventory)) =
            connect::kept_that_works(self.shared.connector(), self.admin, error, self.now).await
        {
            self.observed.state.server = Some(Arc::clone(&kept));
            self.observed.state.unreachable = false;
            self.checked(&kept, &inventory);
        } else {
            self.observed.state.server = Some(Arc::clone(&server));
            if !self.observed.state.unreachable
                && let Ok(inventory) = server.engine.inventory().await
            {
                self.checked(&server, &inventory);
            }
        }
        self.stop(Blocker::from(error))
    }

    /// Before any access starts: what worked is kept, so that it can be ended whatever becomes of the Secrets. That it
    /// could not be kept keeps no access from starting, and is tried again at the next reconcile.
    async fn keep_proof(&self, server: &Server) {
        let Self { shared, key, admin, .. } = *self;
        let kept = (server.fingerprint, admin.spec.deletion);
        if shared.teardown_secrets.has(key, kept) || admin.metadata.deletion_timestamp.is_some() {
            return;
        }
        match teardown_secret::keep(&shared.api, admin, server).await {
            Ok(true) => shared.teardown_secrets.set(key, Some(kept)),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(admin = %key, %error, "the credentials for its teardown could not be kept");
            }
        }
    }

    /// Accesses can still be ended on the server that was used last, if that one answers.
    async fn fall_back(&mut self) {
        let Some(last) = self.before.server.clone() else { return };
        let answer = last.engine.inventory().await;
        self.observed.state.unreachable =
            answer.as_ref().is_err_and(|error| error.class == Class::Unreachable);
        if let Ok(inventory) = answer {
            self.checked(&last, &inventory);
        }
    }

    /// All accounts of the server on which accesses are ended were read: after a suspension, they can be.
    fn checked(&mut self, server: &Server, inventory: &Inventory) {
        inventory::assess(self.shared, self.key, self.admin, server, inventory, &mut self.observed);
        self.observed.state.unchecked = false;
    }

    fn stop<T>(&mut self, blocker: Blocker) -> Result<T, Stopped> {
        self.observed.state.blocker = Some(blocker);
        Err(Stopped)
    }

    /// May a session have access on this server?
    fn is_live(&self) -> bool {
        self.shared.cache().sessions_of_admin(self.key).any(|session| is_touched(session))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_suspension_that_ended_while_no_operator_ran_is_known_from_the_status() {
        let shared = Shared::alone();
        let unchecked = |suspend: bool, reason: &str, before: &ServerState| {
            let ready = json!({
                "type": "Ready", "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
            });
            let admin: DatabaseAdmin = serde_json::from_value(json!({
                "metadata": {"name": "orders", "namespace": "shop"},
                "spec": {"protocol": "postgres", "uri": "db:5432", "auth": {}, "suspend": suspend},
                "status": {"conditions": [ready]},
            }))
            .unwrap();
            begin(&shared, &ObjectKey::of(&admin), &admin, before).state.unchecked
        };
        let nothing = ServerState::default();
        assert!(unchecked(false, reasons::DATABASE_SUSPENDED, &nothing));
        assert!(!unchecked(false, reasons::SUCCEEDED, &nothing));
        assert!(unchecked(true, reasons::SUCCEEDED, &nothing));
        let before = ServerState { unchecked: true, ..ServerState::default() };
        assert!(unchecked(false, reasons::SUCCEEDED, &before), "no reconcile has read its accounts since");
    }
}
