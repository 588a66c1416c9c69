//! What an object of a session tells about it.

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::names::{ACCOUNT_FINALIZER, USERNAME_ANNOTATION};
use rolecall_api::{DatabaseSession, SessionPhase};

/// May the database hold something of this session?
pub fn is_touched(session: &DatabaseSession) -> bool {
    session.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER)
}

/// May it have access? Also where somebody took the finalizer off.
pub fn may_have_access(session: &DatabaseSession) -> bool {
    is_touched(session) || matches!(phase(session), SessionPhase::Active | SessionPhase::Ending)
}

/// When it became Active.
pub fn started_at(session: &DatabaseSession) -> Option<Timestamp> {
    Some(session.status.as_ref()?.started_at.as_ref()?.0)
}

/// The phase that the status tells; a fresh object is Pending.
pub fn phase(session: &DatabaseSession) -> SessionPhase {
    session.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
}

/// The database user name that was written on a session before anything was done for it. It outlives the
/// DatabaseUser, so that an access can be ended whatever became of that.
pub fn recorded_username(session: &DatabaseSession) -> Option<&str> {
    session
        .status
        .as_ref()
        .and_then(|status| status.username.as_deref())
        .or_else(|| session.annotations().get(USERNAME_ANNOTATION).map(String::as_str))
}
