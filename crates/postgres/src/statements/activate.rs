//! Enabling an account: one transaction, one round trip. One that is kept gets its login last; one that is made has it from
//! the beginning, as nobody sees it before the end of the transaction.

use rolecall_engine::plan::Activate;
use rolecall_engine::{AccountName, MARKER};
use secrecy::ExposeSecret;

use crate::quote::{identifier, literal};
use crate::statements::guard::Guard;
use crate::statements::logins::{LOGINS, UNDER_WAY};
use crate::statements::{creators, membership, rights, role};
use crate::transport::message::{Message, Needs};
use crate::transport::sqlstate::{CHANGED, NOT_MADE_ANEW};
use crate::transport::version::Dialect;

/// The activation. With `strict`, it fails (`RC002`) where the account itself has rights on objects; with `cascade`
/// it takes away what the account passed on as well.
pub(crate) fn message(plan: &Activate, dialect: Dialect, strict: bool, cascade: bool) -> Message {
    let message = if plan.create { create(plan, dialect) } else { reset(plan, dialect, strict, cascade) };
    message.replicated().pack()
}

/// The creation with the role and its login apart: where the server refused it, so that what is refused is known, and where all
/// but a verifier is to be one block.
pub(crate) fn create_apart(plan: &Activate, dialect: Dialect) -> Message {
    let mut message = Message::new();
    make(&mut message, &plan.account, None);
    give(&mut message, plan, dialect);
    enable(&mut message, plan);
    message.replicated().pack()
}

/// Instead of a reset: drops an idle account of ours that the admin user holds itself, and creates it anew through this
/// holder, in one transaction.
pub(crate) fn renewal(plan: &Activate, dialect: Dialect, holder: &str) -> Message {
    let mut message = replacing(&plan.account, &plan.owner.uid, holder);
    add(&mut message, plan, dialect);
    message.replicated()
}

/// The same for an account that stays as it is, disabled.
pub(crate) fn renewal_of_kept(account: &AccountName, owner_uid: &str, record: &str, holder: &str) -> Message {
    let mut message = replacing(account, owner_uid, holder);
    make(&mut message, account, None);
    role::comment(&mut message, account, record);
    membership::grant(&mut message, account, std::iter::once(MARKER));
    message.replicated()
}

/// Drops an idle account, and becomes the holder. It fails where anything would be lost with the account: something depends
/// on it, it is a member of anything but the marker, somebody else is a member of it, something is stored for it, a
/// transaction is prepared. A login under way may be its own, and nobody could end that once the account is gone.
///
/// The check that comes after that for logins sees the same backends.
fn replacing(account: &AccountName, owner_uid: &str, holder: &str) -> Message {
    let (name, text) = (identifier(account.as_str()), literal(account.as_str()));
    let mut message = Message::new();
    role::lock(&mut message, account);
    message.push_needing(
        Needs::Truth(CHANGED),
        format!("checking that nobody logs in while {name} is made anew"),
        format!("{LOGINS}\nSELECT 1 / CASE WHEN {UNDER_WAY} THEN 0 ELSE 1 END"),
    );
    Guard::managed(account).owned_by(owner_uid).idle().plain().check(&mut message);
    message.push_needing(
        Needs::Truth(NOT_MADE_ANEW),
        format!("checking what would be lost with {name}"),
        format!(
            "SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles u WHERE u.rolname = {text} AND (
  EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts p WHERE p.owner = u.rolname)
  OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = u.oid AND (m.inherit_option OR m.set_option
    OR m.member <> (SELECT me.oid FROM pg_catalog.pg_roles me WHERE me.rolname = CURRENT_USER)))
  OR EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = u.oid
    AND m.roleid <> (SELECT g.oid FROM pg_catalog.pg_roles g WHERE g.rolname = {marker}))
  OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = u.oid)
  OR EXISTS (SELECT FROM pg_catalog.pg_shseclabel l
    WHERE l.objoid = u.oid AND l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass))) THEN 0 ELSE 1 END",
            marker = literal(MARKER)
        ),
    );
    message.push(format!("making {name} anew"), format!("DROP ROLE {name}"));
    message.act_from_here(format!("becoming {}", identifier(holder)), creators::becoming(holder));
    message
}

fn create(plan: &Activate, dialect: Dialect) -> Message {
    let mut message = Message::new();
    add(&mut message, plan, dialect);
    message
}

/// A new account, with its login.
fn add(message: &mut Message, plan: &Activate, dialect: Dialect) {
    make(message, &plan.account, Some(plan));
    give(message, plan, dialect);
}

/// Makes an account, with its login where it comes from a plan.
fn make(message: &mut Message, account: &AccountName, plan: Option<&Activate>) {
    let account = identifier(account.as_str());
    let options = plan.map_or_else(|| " NOLOGIN".to_owned(), login);
    let push = if plan.is_some_and(|plan| plan.verifier.is_some()) {
        Message::push_secret
    } else {
        Message::push_needing
    };
    push(
        message,
        Needs::CreateRole,
        format!("creating the user {account}"),
        format!("CREATE ROLE {account}{options}"),
    );
}

/// What an account that was made is given.
fn give(message: &mut Message, plan: &Activate, dialect: Dialect) {
    role::record(message, &plan.account, &plan.owner);
    membership::grant(message, &plan.account, plan.grant.iter().map(String::as_str).chain([MARKER]));
    membership::grant_sets(message, &plan.account, &plan.grant_sets, dialect);
}

fn reset(plan: &Activate, dialect: Dialect, strict: bool, cascade: bool) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    // The lock of the account: cluster-wide, and nobody without ADMIN OPTION on it can take it.
    role::record(&mut message, &plan.account, &plan.owner);
    message.push_needing(
        Needs::Role(account.clone()),
        format!("resetting {account}"),
        format!(
            "ALTER ROLE {account} INHERIT PASSWORD NULL CONNECTION LIMIT -1{}",
            role::no_end(plan.expires)
        ),
    );
    Guard::managed(&plan.account).idle().plain().check(&mut message);
    if strict {
        rights::refuse_any(&mut message, &plan.account);
    }
    membership::revoke(&mut message, &plan.account, &plan.revoke, dialect, cascade);
    role::reset_settings(&mut message, &plan.account, &plan.settings);
    membership::grant(&mut message, &plan.account, plan.grant.iter().map(String::as_str));
    membership::grant_sets(&mut message, &plan.account, &plan.grant_sets, dialect);
    enable(&mut message, plan);
    message
}

fn enable(message: &mut Message, plan: &Activate) {
    let account = identifier(plan.account.as_str());
    let (what, sql) = (format!("enabling {account}"), format!("ALTER ROLE {account}{}", login(plan)));
    match plan.verifier {
        Some(_) => message.push_secret(Needs::Verifier, what, sql),
        None => message.push(what, sql),
    }
}

/// The options that let an account log in.
fn login(plan: &Activate) -> String {
    let password =
        plan.verifier.as_ref().map(|verifier| format!(" PASSWORD {}", literal(verifier.expose_secret())));
    format!(" LOGIN{}", password.unwrap_or_default())
}
