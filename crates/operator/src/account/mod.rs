//! One account with all its sessions: the unit of work.
//!
//! What the account should be follows from the sessions alone, so that a restart, a retry and the normal path are the
//! same. A reconcile reads as:
//!
//! | step | module | does I/O |
//! |---|---|---|
//! | the steps in their order | `reconcile` | |
//! | dereference: cache and policy to a snapshot | `dereference` | no |
//! | decide: what should happen to each session | `decide`, `approval`, `quota` | no |
//! | one attempt: desired, plan, execute; again where a start failed | `attempt` | |
//! | desired: what the sessions ask for together | `desired`, `permission_sets`, `passwords` | no |
//! | plan: desired and observed to steps | [`rolecall_engine::plan`] | no |
//! | execute: finalizers, credentials, the server | `execute`, `credentials` | yes |
//! | proof: what the server shows when it is read back | `proof` | yes |
//! | effects: what else follows, as data: keys to trigger, what is known of the server | `effects` | no |
//! | status: from the conclusion to results, events, requeue | `results`, `status`, `approval_status` | no |
//! | write: audit log, status, events, finalizer | `write` | yes |
//!
//! Every step works on plain data: a `Snapshot` with one `Session` each, a `Conclusion`, and a [`result`] for each
//! session. A step that failed is an input of the next decision. A result that says that an access is there, or gone,
//! can be made only from a `proof`.
//!
//! Besides: [`unbound`] sessions without an account, an `orphan` account without sessions, an access that [`returned`],
//! what sessions say while a server is slow (`slow_server`) or a reconcile failed (`failure`), Secrets that somebody
//! deleted (`missing_secrets`), Secrets that another operator wrote late (`late_secrets`), starts that an operator
//! before this one began (`begun`). What is kept between two reconciles: [`reports`], [`passwords`], [`issued`],
//! [`drift`], [`looked_at`], [`orphan_store`].

mod approval;
mod approval_status;
mod attempt;
mod begun;
mod conclusion;
mod credentials;
mod decide;
mod dereference;
mod desired;
pub mod drift;
mod effects;
mod execute;
mod failure;
pub mod given;
pub mod issued;
mod late_secrets;
pub mod looked_at;
mod missing_secrets;
mod orphan;
pub mod orphan_store;
pub mod passwords;
mod permission_sets;
mod proof;
mod quota;
mod reconcile;
pub mod reports;
pub mod result;
mod results;
pub mod returned;
mod session;
mod slow_server;
mod status;
pub mod unbound;
mod write;

pub use dereference::wanted_grant;
pub use failure::report_failure;
pub use late_secrets::take_back_late;
pub use missing_secrets::find_missing;
pub use reconcile::reconcile;

use std::collections::BTreeSet;

use crate::Shared;
use crate::model::ObjectKey;

/// Forgets the accounts of a server that is gone; returns the DatabaseUsers whose status has to follow.
pub fn forget_server(shared: &Shared, admin: &ObjectKey) -> BTreeSet<ObjectKey> {
    shared.applied.forget_server(admin);
    shared.orphans.forget_server(admin);
    shared.passwords.forget_server(admin);
    shared.reports.forget_server(admin)
}
