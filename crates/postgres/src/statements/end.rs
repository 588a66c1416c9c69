//! Ending an access: the login first, then the backends, then what the account had, then a read-back.
//!
//! Taking the login depends on nothing: not on what was prepared, not on PL/pgSQL.
//!
//! The login is taken without waiting for a synchronous standby. What the account had is taken away by a change that does
//! wait: it proves that the standby knows of both.

use rolecall_engine::AccountName;
use rolecall_engine::plan::End;

use crate::quote::{identifier, literal};
use crate::statements::guard::Guard;
use crate::statements::logins::{LOGINS, UNDER_WAY};
use crate::statements::rights::HOLDS_ANY;
use crate::statements::{creators, membership, role};
use crate::transport::message::{Message, Needs};
use crate::transport::sqlstate::CHANGED;
use crate::transport::standby;
use crate::transport::version::Dialect;

/// How long taking the login waits for the account's row, which its user can lock for as long as it likes. Short at
/// first, so that the user's backends are ended soon.
pub(crate) const LONG_LOCK_TIMEOUT_MS: u32 = 3000;
pub(crate) const SHORT_LOCK_TIMEOUT_MS: u32 = 300;

/// 3a. Takes the login: alone in its transaction, so that nothing can undo it, and whatever session it meets. It answers
/// whether the account could log in, how many backends there are, and whether commits wait for standbys. `acts`: it runs as the
/// creator of the account, where that has one.
pub(crate) fn disable(guard: &Guard<'_>, account: &AccountName, acts: bool, lock_timeout_ms: u32) -> Message {
    take_login(guard, account, acts, lock_timeout_ms, " PASSWORD NULL")
}

/// 3a where a rule of an extension keeps the password.
pub(crate) fn disable_keeping_password(guard: &Guard<'_>, account: &AccountName, acts: bool) -> Message {
    take_login(guard, account, acts, LONG_LOCK_TIMEOUT_MS, "")
}

fn take_login(
    guard: &Guard<'_>,
    account: &AccountName,
    acts: bool,
    lock_timeout_ms: u32,
    password: &str,
) -> Message {
    let (name, text) = (identifier(account.as_str()), literal(account.as_str()));
    let mut message = Message::new();
    let answers = format!(
        "SELECT r.rolcanlogin, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid),
  {}, {}, {}",
        standby::IS_WAITED_FOR,
        Message::set_locally("lock_timeout", &format!("{lock_timeout_ms}ms")),
        standby::WAIT_FOR_NONE
    );
    let from = format!("FROM pg_catalog.pg_roles r WHERE r.rolname = {text}");
    // Where there is no such role, nothing is set, and the next statement fails.
    message.ask(format!("reading {name}"), format!("{answers}\n{from}"));
    if acts {
        message.act_in_last(format!("{answers},\n  {}\n{from}", creators::as_creator_of(&text)));
    }
    message.push_needing(
        Needs::Role(name.clone()),
        format!("taking the login from {name}"),
        format!("ALTER ROLE {name} NOLOGIN{password}"),
    );
    guard.check_unprepared(&mut message);
    message
}

/// 3b. Ends the account's backends. The admin user may do so as a member of the account, which it is only until the
/// end of this transaction, and for nobody else to see.
pub(crate) fn terminate(guard: &Guard<'_>, account: &AccountName, dialect: Dialect) -> Message {
    let (name, text) = (identifier(account.as_str()), literal(account.as_str()));
    let what = format!("ending the backends of {name}");
    let mut message = Message::begin(&what);
    guard.check(&mut message);
    if dialect.has_grantors() {
        message.push_needing(
            Needs::Role(name.clone()),
            &what,
            format!("GRANT {name} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE"),
        );
    } else {
        message.push(&what, format!("GRANT {name} TO CURRENT_USER"));
        // An admin user with NOINHERIT has the account's rights only so.
        message.push(&what, format!("SET LOCAL ROLE {name}"));
    }
    // The function is in the list of columns: in WHERE it might be called for rows that another condition would
    // have left out.
    message.ask(
        &what,
        format!(
            "SELECT a.pid, pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
WHERE a.usesysid = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = {text})
  AND a.pid <> pg_catalog.pg_backend_pid()"
        ),
    );
    message.roll_back();
    message
}

/// How many of these backends are still there.
pub(crate) fn remaining(account: &AccountName, pids: &[i32]) -> Message {
    let list: Vec<String> = pids.iter().map(i32::to_string).collect();
    Message::one(
        format!("waiting for the backends of {}", identifier(account.as_str())),
        format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
WHERE a.usesysid = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = {}) AND a.pid = ANY (ARRAY[{}]::pg_catalog.int4[])",
            literal(account.as_str()),
            list.join(", ")
        ),
    )
}

/// What an account has, and what of it is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// What gives rights.
    Memberships,
    /// What is stored for it: limits and settings.
    Stored,
}

/// 3c. Takes away what it has; the marker and the record stay. `cascade`: also what it passed on.
pub(crate) fn strip(plan: &End, part: Part, dialect: Dialect, cascade: bool) -> Message {
    let name = identifier(plan.account.as_str());
    let mut message = Message::new();
    if part == Part::Memberships {
        role::lock(&mut message, &plan.account);
    } else {
        message.push_needing(
            Needs::Role(name.clone()),
            format!("resetting {name}"),
            format!(
                "ALTER ROLE {name} INHERIT PASSWORD NULL CONNECTION LIMIT -1{}",
                role::no_end(plan.expires)
            ),
        );
    }
    Guard::managed(&plan.account).owned_by(&plan.owner_uid).closed().check(&mut message);
    if part != Part::Stored {
        membership::revoke(&mut message, &plan.account, &plan.revoke, dialect, cascade);
    }
    if part != Part::Memberships {
        role::reset_settings(&mut message, &plan.account, &plan.settings);
    }
    message.replicated().pack()
}

/// Changes the account in nothing, so that nothing but the wait for a standby can be warned of.
pub(crate) fn confirm(plan: &End) -> Message {
    let mut message = Message::new();
    role::lock(&mut message, &plan.account);
    Guard::managed(&plan.account).owned_by(&plan.owner_uid).closed().check(&mut message);
    message.replicated()
}

/// 3e. Drops the account, which must be drained: nobody but a superuser can end a backend whose role is gone.
pub(crate) fn drop_account(plan: &End) -> Message {
    drop_checked(plan, false)
}

/// 3e right after 3a. It fails where somebody is inside or may be on the way in, where the account has something that has to go
/// first, and where a standby has to confirm its end: an account that is gone could not be asked for it again.
pub(crate) fn drop_at_once(plan: &End) -> Message {
    drop_checked(plan, true)
}

/// What [`drop_at_once`] checks, prepared on a new connection.
pub(crate) fn prepare() -> String {
    format!(
        "PREPARE rolecall_drained (pg_catalog.name) AS
{LOGINS}
SELECT 1 / CASE WHEN {UNDER_WAY}
  OR {is_waited_for}
  OR EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts x WHERE x.owner = $1)
  OR EXISTS (SELECT FROM pg_catalog.pg_roles u WHERE u.rolname = $1 AND {HOLDS_ANY})
  THEN 0 ELSE 1 END",
        is_waited_for = standby::IS_WAITED_FOR
    )
}

fn drop_checked(plan: &End, at_once: bool) -> Message {
    let name = identifier(plan.account.as_str());
    let mut message = Message::new();
    role::lock(&mut message, &plan.account);
    if at_once {
        message.push_needing(
            Needs::Truth(CHANGED),
            format!("checking that nothing keeps {name}"),
            format!("EXECUTE rolecall_drained ({})", literal(plan.account.as_str())),
        );
    }
    // It sees the same backends as the check before it.
    Guard::managed(&plan.account).owned_by(&plan.owner_uid).idle().check(&mut message);
    message.push(format!("dropping {name}"), format!("DROP ROLE {name}"));
    message.replicated().pack()
}
