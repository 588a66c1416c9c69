//! Enabling an account: one transaction, one round trip. One that is kept gets its login last; one that is made has it from
//! the beginning, as nobody sees it before the end of the transaction.

use rolecall_engine::MARKER;
use rolecall_engine::plan::Activate;
use secrecy::ExposeSecret;

use crate::quote::{identifier, literal};
use crate::statements::guard::Guard;
use crate::statements::{membership, rights, role};
use crate::transport::message::{Message, Needs};
use crate::transport::version::Dialect;

/// The activation. With `strict`, it fails (`RC002`) where the account itself has rights on objects; with `cascade`
/// it takes away what the account passed on as well.
pub(crate) fn message(plan: &Activate, dialect: Dialect, strict: bool, cascade: bool) -> Message {
    let message = if plan.create { create(plan, dialect) } else { reset(plan, dialect, strict, cascade) };
    message.replicated()
}

fn create(plan: &Activate, dialect: Dialect) -> Message {
    let mut message = made(plan, &login(plan));
    give(&mut message, plan, dialect);
    message
}

/// The creation where the server refused it: the role and its login apart, so that what is refused is known.
pub(crate) fn create_apart(plan: &Activate, dialect: Dialect) -> Message {
    let mut message = made(plan, " NOLOGIN");
    give(&mut message, plan, dialect);
    enable(&mut message, plan);
    message.replicated()
}

fn made(plan: &Activate, login: &str) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    message.push_needing(
        Needs::CreateRole,
        format!("creating the user {account}"),
        format!("CREATE ROLE {account}{login}"),
    );
    message
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
    let needs = if plan.verifier.is_some() { Needs::Verifier } else { Needs::Nothing };
    message.push_needing(
        needs,
        format!("enabling {account}"),
        format!("ALTER ROLE {account}{}", login(plan)),
    );
}

/// The options that let an account log in.
fn login(plan: &Activate) -> String {
    let password =
        plan.verifier.as_ref().map(|verifier| format!(" PASSWORD {}", literal(verifier.expose_secret())));
    format!(" LOGIN{}", password.unwrap_or_default())
}
