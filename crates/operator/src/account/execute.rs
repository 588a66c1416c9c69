//! What a reconcile does: on the server, in the Secrets of sessions, on their finalizers. Nothing is decided here.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSession, reasons};
use rolecall_engine::{AccountName, Applied, Desired, Observed, Plan, Want};
use rolecall_ledger::Event;
use serde_json::json;

use super::approval_status;
use super::conclusion::{Conclusion, Ends};
use super::credentials;
use super::decide::{Access, Setback};
use super::dereference::Snapshot;
use super::desired;
use super::effects::{self, Effect};
use super::issued::Issued;
use super::passwords::{self, AccountPassword, KnownPasswords, Password};
use super::permission_sets;
use super::proof::{self, NotEnded, ProvenEnded, Verified};
use super::session::Session;
use crate::Shared;
use crate::api_writer::is_conflict;
use crate::audit::{AuditEntry, Granted};
use crate::model::session::{has_finalizer, is_recorded, set_begun};
use crate::model::{AccountKey, Blocker, ReconcileError, ReconcileKey, WALK};
use crate::ports::Need;
use crate::servers::{Issuer, Server};

/// How many requests for the sessions of one account are under way at once.
const REQUESTS_AT_ONCE: usize = 8;

/// What a reconcile works with: one account on one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) key: &'a AccountKey,
    pub(super) server: &'a Server,
    pub(super) account: &'a AccountName,
}

impl Context<'_> {
    /// Lets effects take effect.
    pub(super) fn carry_out(self, effects: impl IntoIterator<Item = Effect>) {
        effects::carry_out(self.shared, self.key, effects);
    }
}

/// Asks for the permission sets that the sessions want, and records on each session the state of its set. Returns those
/// that a live account stays in until it has others.
pub(super) fn want_sets(
    shared: &Shared,
    key: &AccountKey,
    server: &Server,
    snapshot: &mut Snapshot,
    conclusion: &mut Conclusion,
) -> BTreeSet<String> {
    let wanted = permission_sets::wanted(&snapshot.sessions, &key.admin, server);
    let list: Vec<_> = wanted.iter().map(|(_, wanted)| wanted.clone()).collect();
    let without_listener = shared.sets.without_listener(&list);
    let mut answer = shared.sets.want(key, &list);
    effects::carry_out(shared, key, effects::of_wanted_sets(without_listener, &mut answer));
    let again = permission_sets::assign(&mut snapshot.sessions, wanted, &answer, snapshot.now);
    conclusion.at_earliest(again);
    answer.lingering.into_keys().collect()
}

/// Somebody dropped the role of a set that is wanted: it is made again at once. True where one was found missing.
pub(super) fn remake_missing_sets(context: Context<'_>, desired: &Desired, observed: &Observed) -> bool {
    let Want::Enabled(enabled) = &desired.want else { return false };
    let missing = enabled.sets.iter().filter(|role| !observed.sets.contains_key(*role));
    let mut effects = Vec::new();
    for database in missing.filter_map(|role| context.shared.sets.mark_missing(&context.key.admin, role)) {
        tracing::warn!(account = %context.key, database = %database.database, "the role of a permission set is missing");
        effects.push(effects::of_missing_set(database));
    }
    let found = !effects.is_empty();
    context.carry_out(effects);
    found
}

/// Reads the account on its server.
pub(super) async fn observe(
    context: Context<'_>,
    desired: &Desired,
) -> Result<Observed, rolecall_engine::Error> {
    context.server.engine.observe(&desired.query()).await
}

/// Which password the account has. Where this operator does not know it, the Secrets of live sessions are read.
pub(super) async fn password(
    context: Context<'_>,
    snapshot: &Snapshot,
    desired: &Desired,
    observed: &Observed,
) -> Result<Password, ReconcileError> {
    let Context { shared, key, server, account } = context;
    if !matches!(server.issuer, Issuer::Password) || !matches!(desired.want, Want::Enabled(_)) {
        return Ok(Password::Unchanged);
    }
    let known = match shared.passwords.get(key) {
        Some(known) => KnownPasswords::all_have(known),
        None => {
            let mut found = Vec::new();
            for session in snapshot.sessions.iter().filter(|session| session.is_live()) {
                let recalled =
                    credentials::recall(shared, &session.object, server, account, snapshot.now).await?;
                found.extend(recalled.and_then(|(_, password)| password));
            }
            KnownPasswords::of(found)
        }
    };
    let generate = rolecall_pki::credentials::password::generate;
    let password = passwords::choose(&snapshot.sessions, desired, observed, known, generate)?;
    if let Password::Known(known) = &password {
        context.carry_out([Effect::Password(Some(known.clone()))]);
    }
    Ok(password)
}

/// Before anything is done on the server for starts: the finalizer, the account's name in an annotation or in the Secret, the
/// line in the audit log, and the credentials. False: not all starts are left.
pub(super) async fn prepare_starts(
    context: Context<'_>,
    snapshot: &mut Snapshot,
    password: Option<&AccountPassword>,
) -> bool {
    let Context { shared, key, server, account } = context;
    tracing::trace!(target: WALK, %key, "starts are prepared");
    let sessions = &mut snapshot.sessions;
    let starting: Vec<usize> = indexes(sessions, Session::is_starting);
    let unrecorded: Vec<usize> =
        starting.iter().copied().filter(|index| !is_recorded(&sessions[*index].object)).collect();
    // The Secret that is about to be written is a record, too.
    let (in_secrets, unmarked): (Vec<usize>, Vec<usize>) = unrecorded.into_iter().partition(|index| {
        let object = &sessions[*index].object;
        has_finalizer(object) && credentials::leave_secret(object, server, password)
    });
    for index in in_secrets {
        begin(context, &mut sessions[index]);
    }
    let marked = few_at_once(unmarked.iter().map(|index| mark(context, &sessions[*index].object))).await;
    for (index, marked) in unmarked.into_iter().zip(marked) {
        let session = &mut sessions[index];
        match marked {
            Ok(Some(object)) => session.mark(object),
            // It is gone: nothing was done.
            Ok(None) => session.set_back(Setback::ObjectChanged { retry: false }),
            // Somebody changed it: the next reconcile decides anew.
            Err(error) if is_conflict(&error) => session.set_back(Setback::ObjectChanged { retry: true }),
            Err(error) => {
                tracing::warn!(account = %key, %error, "a session could not be marked");
                session.set_back(Setback::Failed(Blocker::of_api("marking the session", &error)));
            }
        }
    }
    announce_starts(context, sessions).await;
    let marked: Vec<usize> = indexes(sessions, Session::is_starting);
    let issued = few_at_once(marked.iter().map(|index| {
        let session = &sessions[*index];
        let expires_at = session.access().and_then(|access| access.expires_at);
        credentials::issue(shared, &session.object, server, account, password, expires_at, snapshot.now)
    }))
    .await;
    for (index, issued) in marked.into_iter().zip(issued) {
        match issued {
            Ok(issued) => keep(shared, &mut sessions[index], Some(issued)),
            Err(blocker) => sessions[index].set_back(Setback::Failed(blocker)),
        }
    }
    indexes(sessions, Session::is_starting) == starting
}

/// Says in the audit log that access is about to be given. Who cannot be written of gets none.
async fn announce_starts(context: Context<'_>, sessions: &mut [Session]) {
    let starting = indexes(sessions, Session::is_starting);
    let announced =
        few_at_once(starting.iter().map(|index| announce(context, &sessions[*index], reasons::STARTING)))
            .await;
    for (index, announced) in starting.into_iter().zip(announced) {
        if let Err(blocker) = announced {
            sessions[index].set_back(Setback::Failed(blocker));
        }
    }
}

/// Says in the audit log that live sessions are about to get more than they have.
///
/// # Errors
///
/// That it cannot be written: then they must not get it.
pub(super) async fn announce_gains(
    context: Context<'_>,
    sessions: &[Session],
    desired: &Desired,
    observed: &Observed,
) -> Result<(), Blocker> {
    if !desired::gains(desired, observed) {
        return Ok(());
    }
    let live = sessions.iter().filter(|session| session.is_live());
    few_at_once(live.map(|session| announce(context, session, reasons::ACTIVE))).await.into_iter().collect()
}

/// Says who approved it, where that has not been said, and that it is about to have access.
async fn announce(context: Context<'_>, session: &Session, reason: &str) -> Result<(), Blocker> {
    let Context { shared, key, .. } = context;
    let Some(Access { grant, expires_at, .. }) = session.access() else { return Ok(()) };
    let db_roles: Vec<String> = grant.db_roles.keys().cloned().collect();
    let granted = Granted {
        username: &key.username,
        roles: &grant.roles,
        db_roles: &db_roles,
        permissions: None,
        expires_at: *expires_at,
    };
    let (object, asked) = (&session.object, session.asked());
    let approved_by = approval_status::approved_by(object, asked);
    let newly = asked.filter(|_| approval_status::is_newly_approved(object, asked));
    let mut entries = newly.map(|asked| approval_status::approvals(asked, &approved_by)).unwrap_or_default();
    entries.push(AuditEntry {
        event: Event::Granting,
        reason,
        proven: false,
        granted: Some(granted),
        approved_by: &approved_by,
        by: "",
        request_hash: "",
    });
    for entry in &entries {
        shared.audit.session(object, entry, Need::Before).await.map_err(|error| {
            let message = format!("{error}; no access is given before it can");
            Blocker::passing(reasons::AUDIT_LOG_UNAVAILABLE, message)
        })?;
    }
    Ok(())
}

/// Carries out the plan for an enabled account.
pub(super) async fn apply(context: Context<'_>, plan: &Plan) -> Result<Applied, rolecall_engine::Error> {
    if !plan.is_nothing() {
        tracing::debug!(account = %context.key, %plan, "applying");
    }
    context.server.engine.apply(plan).await
}

/// Carries out the plan for an account that ends: see [`proof::end`].
///
/// # Errors
///
/// As there.
pub(super) async fn end(
    context: Context<'_>,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
    was_enabled: bool,
) -> Result<(Applied, ProvenEnded), NotEnded> {
    proof::end(context.server, desired, observed, plan, was_enabled).await
}

/// Reads the account back after `plan` was applied.
///
/// # Errors
///
/// What the server shows instead of what was desired, or that it does not answer.
pub(super) async fn read_back(
    context: Context<'_>,
    desired: &Desired,
    observed: &Observed,
    plan: &Plan,
) -> Result<Verified, Blocker> {
    let Context { shared, server, .. } = context;
    match plan {
        Plan::Nothing => proof::check_enabled(desired, observed, shared.now()),
        _ => proof::read_back(server, desired, &*shared.clock).await,
    }
}

/// One password serves all sessions of an account: the Secrets of those that stay follow its change. One that cannot be
/// written is tried again with whatever else is due for live sessions, and its status says so.
pub(super) async fn renew_shared_password(
    context: Context<'_>,
    snapshot: &mut Snapshot,
    password: &Password,
) {
    let Context { shared, server, account, .. } = context;
    let Password::New(new) = password else { return };
    for session in snapshot.sessions.iter_mut().filter(|session| session.is_live()) {
        let made =
            credentials::issue(shared, &session.object, server, account, Some(new), None, snapshot.now).await;
        keep(shared, session, made.ok());
    }
}

/// Takes the credentials of sessions back whose access is gone or is left behind, as `conclusion` says.
pub(super) async fn revoke_ended(
    shared: &Shared,
    server: Option<&Server>,
    sessions: &mut [Session],
    conclusion: &Conclusion,
) {
    let proven = match &conclusion.ends {
        Ends::Unknown | Ends::Blocked(_) => return,
        Ends::Gone { .. } => true,
        Ends::Abandoned { .. } | Ends::Retained(_) => false,
    };
    let issues = server.is_none_or(|server| !matches!(server.issuer, Issuer::None));
    for session in sessions.iter_mut().filter(|session| session.is_ending()) {
        let listed =
            session.object.status.as_ref().is_some_and(|status| status.credentials_secret_ref.is_some());
        if !proven || listed || issues {
            let issued = shared.issued.get(session.uid());
            if let Err(error) = credentials::revoke(shared, &session.object, issued.as_ref()).await {
                let blocker = Blocker::of_api("deleting the session's Secret", &error);
                session.revocation_failed = Some(blocker);
                continue;
            }
        }
        session.revocation_failed = None;
        keep(shared, session, None);
    }
}

/// Live sessions: finalizers that somebody took off are put back; with `renew`, credentials are renewed when it is time.
pub(super) async fn keep_live(context: Context<'_>, snapshot: &mut Snapshot, renew: bool) {
    let distrusted = snapshot.distrust().is_some();
    let now = snapshot.now;
    for session in snapshot.sessions.iter_mut().filter(|session| session.is_live()) {
        if !session.touched {
            match mark(context, &session.object).await {
                Ok(Some(object)) => session.mark(object),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(account = %context.key, %error, "a session could not be marked again");
                    session.mark_failed = true;
                }
            }
        }
        if renew {
            session.renewal_failed = renew_if_due(context, session, distrusted, now).await.err();
        }
    }
}

/// Renews the credentials of a live session when it is time, or when they are not there any more.
async fn renew_if_due(
    context: Context<'_>,
    session: &mut Session,
    distrusted: bool,
    now: jiff::Timestamp,
) -> Result<(), Blocker> {
    let Context { shared, key, server, account } = context;
    let expires_at = session.access().and_then(|access| access.expires_at);
    let password = shared.passwords.get(key);
    if session.issued.is_none() {
        let recalled = credentials::recall(shared, &session.object, server, account, now).await;
        let recalled = recalled.map_err(|error| Blocker::of_api("reading the session's Secret", &error))?;
        let is_right = |found: Option<&AccountPassword>| match (found, &password) {
            (Some(found), Some(password)) => found.is_same(password),
            _ => true,
        };
        if let Some((known, _)) = recalled.filter(|(_, found)| is_right(found.as_ref())) {
            keep(shared, session, Some(known));
        }
    }
    if session.issued.as_ref().is_some_and(|issued| {
        // Certificates of a CA that the server does not accept (yet) are issued only when that cannot wait.
        let stale = issued.made_from != Some(server.credentials());
        let issues = !matches!(server.issuer, Issuer::None | Issuer::Missing(_));
        let renewed = stale && issues && !distrusted;
        !renewed && issued.is_usable_at(now) && issued.renew_at(expires_at).is_none_or(|at| at > now)
    }) {
        return Ok(());
    }
    let made =
        credentials::issue(shared, &session.object, server, account, password.as_ref(), expires_at, now)
            .await;
    match made {
        Ok(issued) => keep(shared, session, Some(issued)),
        Err(blocker) => {
            keep(shared, session, None);
            return Err(blocker);
        }
    }
    Ok(())
}

/// Keeps or forgets what a session has.
fn keep(shared: &Shared, session: &mut Session, issued: Option<Issued>) {
    shared.issued.set(session.uid(), issued.clone());
    session.issued = issued;
}

/// Remembers, before anything is done for it, that the start of a session has begun, and under which name.
fn begin(context: Context<'_>, session: &mut Session) {
    let Context { shared, key, .. } = context;
    let mut object = DatabaseSession::clone(&session.object);
    set_begun(&mut object, Some(&key.username));
    let triggers = shared.change(|cache| cache.set_begun(&object, Some(&key.username)));
    // Its account is this one, and is being reconciled.
    let others = triggers.into_iter().filter(|(work, _)| *work != ReconcileKey::Account(key.clone()));
    shared.trigger(others.collect());
    session.mark(object);
}

/// Writes the finalizer on a session, where it lacks it, and the name of its account.
async fn mark(context: Context<'_>, session: &Arc<DatabaseSession>) -> kube::Result<Option<DatabaseSession>> {
    let annotations = json!({ USERNAME_ANNOTATION: &*context.key.username });
    context.shared.api.add_finalizer(context.shared, &**session, ACCOUNT_FINALIZER, annotations).await
}

fn indexes(sessions: &[Session], is: impl Fn(&Session) -> bool) -> Vec<usize> {
    sessions.iter().enumerate().filter(|(_, session)| is(session)).map(|(index, _)| index).collect()
}

/// An account may have any number of sessions, and the API server has other clients.
async fn few_at_once<F: Future>(requests: impl Iterator<Item = F>) -> Vec<F::Output> {
    let requests: Vec<F> = requests.collect();
    futures::stream::iter(requests).buffered(REQUESTS_AT_ONCE).collect().await
}
