//! What is read of the server.
//!
//! | module | contains |
//! |---|---|
//! | `observe`, `batcher` | accounts, and how reads at the same time share a message |
//! | `inventory` | all managed accounts |
//! | `creators` | the roles that the admin user creates accounts through |
//! | `activity` | what the user who is logged in runs |
//! | `preflight`, `client_ca` | what the server lacks |
//! | `look` | what the server lacks and all managed accounts, in one message |
//! | `examine` | what a person wants to know who looks for a fault |
//! | `history` | where the server is in its history |
//! | `objects`, `announcements` | the objects of a logical database, and that they have changed |
//! | `privileges` | what the admin user may grant, and what a permission set can do |
//! | `sets` | permission sets, their records and members |

pub(crate) mod activity;
pub(crate) mod announcements;
pub(crate) mod batcher;
pub(crate) mod client_ca;
pub(crate) mod creators;
pub(crate) mod examine;
pub(crate) mod history;
pub(crate) mod inventory;
mod look;
pub(crate) mod objects;
pub(crate) mod observe;
pub(crate) mod preflight;
pub(crate) mod privileges;
pub(crate) mod sets;

use crate::statements::{self, end, guard, rights};
use crate::transport::version::Dialect;

/// The statements that are prepared on each connection, because planning them takes several times as long as running
/// them; by name.
pub(crate) fn prepared(dialect: Dialect) -> Vec<(&'static str, String)> {
    let creators = dialect.has_grantors().then(|| ("rolecall_act_for", statements::creators::prepare()));
    let mut all = vec![
        ("rolecall_observe", observe::prepare(dialect)),
        ("rolecall_guard", guard::prepare()),
        ("rolecall_holds_no_rights", rights::prepare()),
        ("rolecall_drained", end::prepare()),
    ];
    all.extend(creators);
    all
}
