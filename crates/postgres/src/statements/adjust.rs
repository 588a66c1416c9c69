//! Correcting a live account.

use rolecall_engine::plan::{Adjust, Strays};
use secrecy::ExposeSecret;

use crate::quote::{identifier, literal};
use crate::statements::guard::Guard;
use crate::statements::{membership, role};
use crate::transport::message::{Message, Needs};
use crate::transport::version::Dialect;

/// The adjustment: one transaction.
pub(crate) fn message(plan: &Adjust, dialect: Dialect, cascade: bool) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    role::lock(&mut message, &plan.account);
    guard(plan).check(&mut message);
    if let Some(owner) = &plan.record {
        role::record(&mut message, &plan.account, owner);
    }
    membership::revoke(&mut message, &plan.account, &plan.revoke, dialect, cascade);
    membership::grant(&mut message, &plan.account, plan.grant.iter().map(String::as_str));
    membership::grant_sets(&mut message, &plan.account, &plan.grant_sets, dialect);
    let mut changes = String::new();
    if let Some(verifier) = &plan.verifier {
        changes.push_str(&format!(" PASSWORD {}", literal(verifier.expose_secret())));
    }
    if plan.enable {
        changes.push_str(" LOGIN");
    }
    if !changes.is_empty() {
        let (what, sql) = (format!("enabling {account}"), format!("ALTER ROLE {account}{changes}"));
        match plan.verifier {
            Some(_) => message.push_secret(Needs::Verifier, what, sql),
            None => message.push(what, sql),
        }
    }
    message.replicated()
}

/// Clears limits and settings that somebody stored for the account.
pub(crate) fn clear_stored(plan: &Adjust) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    message.push_needing(
        Needs::Role(account.clone()),
        format!("clearing the limits of {account}"),
        format!("ALTER ROLE {account} INHERIT CONNECTION LIMIT -1{}", role::no_end(plan.strays.expires)),
    );
    guard(plan).check(&mut message);
    if !plan.strays.settings.is_empty() {
        role::reset_settings(&mut message, &plan.account, &plan.strays.settings);
    }
    message.replicated()
}

/// Takes away an attribute that somebody gave the account, as in ALTER ROLE.
pub(crate) fn take_attribute(plan: &Adjust, attribute: &str) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    message.push_needing(
        Needs::Role(account.clone()),
        format!("taking {attribute} from {account}"),
        format!("ALTER ROLE {account} NO{attribute}"),
    );
    guard(plan).check(&mut message);
    message.replicated()
}

/// What remains of an adjustment where something cannot be given: what is to be taken away.
pub(crate) fn taking_away(plan: &Adjust) -> Adjust {
    Adjust {
        create_roles: Vec::new(),
        grant: Vec::new(),
        grant_sets: Vec::new(),
        enable: false,
        verifier: None,
        strays: Strays::default(),
        ..plan.clone()
    }
}

/// What the account must be.
pub(crate) fn guard(plan: &Adjust) -> Guard<'_> {
    let guard = Guard::managed(&plan.account);
    match &plan.record {
        Some(owner) => guard.not_foreign_to(&owner.uid),
        None => guard.owned_by(&plan.owner_uid),
    }
}
