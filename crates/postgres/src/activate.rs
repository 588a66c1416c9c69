//! Enabling an account: one transaction, one round trip, LOGIN last.

use rolecall_engine::plan::Activate;
use rolecall_engine::{AccountName, MARKER, Owner};
use secrecy::ExposeSecret;

use super::guard::Guard;
use super::message::{Message, Needs};
use super::quote::{block, identifier, identifiers, literal};
use super::version::Dialect;
use super::{adjust, rights};

/// Creates the roles that are missing, in a short transaction of their own: on 16+ whoever grants a role locks it.
/// One that somebody else creates at this moment is as good.
pub(super) fn create_roles(roles: &[String]) -> Option<Message> {
    if roles.is_empty() {
        return None;
    }
    let mut message = Message::new();
    for role in roles {
        let (what, sql) = create_role(role);
        message.push_needing(Needs::CreateRole, what, sql);
    }
    Some(message.replicated())
}

/// Creates a role unless it exists.
pub(super) fn create_role(role: &str) -> (String, String) {
    let role = identifier(role);
    let sql = block(&format!(
        "BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END"
    ));
    (format!("creating the role {role}"), sql)
}

/// The activation. With `strict`, it fails (`RC002`) where the account itself holds rights on objects; with `cascade`
/// it takes away what the account passed on as well.
pub(super) fn message(plan: &Activate, dialect: Dialect, strict: bool, cascade: bool) -> Message {
    let message = if plan.create { create(plan, dialect) } else { reset(plan, dialect, strict, cascade) };
    message.replicated()
}

fn create(plan: &Activate, dialect: Dialect) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    message.push_needing(
        Needs::CreateRole,
        format!("creating the user {account}"),
        format!("CREATE ROLE {account} NOLOGIN"),
    );
    record(&mut message, &plan.account, &plan.owner);
    grant(&mut message, &plan.account, plan.grant.iter().map(String::as_str).chain([MARKER]));
    grant_sets(&mut message, &plan.account, &plan.grant_sets, dialect);
    enable(&mut message, plan);
    message
}

fn reset(plan: &Activate, dialect: Dialect, strict: bool, cascade: bool) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    // The lock of the account: cluster-wide, and nobody without ADMIN OPTION on it can take it.
    record(&mut message, &plan.account, &plan.owner);
    message.push_needing(
        Needs::Account(account.clone()),
        format!("resetting {account}"),
        format!("ALTER ROLE {account} INHERIT PASSWORD NULL CONNECTION LIMIT -1{}", no_end(plan.expires)),
    );
    Guard::managed(&plan.account).idle().plain().check(&mut message);
    if strict {
        rights::refuse_any(&mut message, &plan.account);
    }
    adjust::revoke(&mut message, &plan.account, &plan.revoke, dialect, cascade);
    reset_settings(&mut message, &plan.account, &plan.settings);
    grant(&mut message, &plan.account, plan.grant.iter().map(String::as_str));
    grant_sets(&mut message, &plan.account, &plan.grant_sets, dialect);
    enable(&mut message, plan);
    message
}

/// Takes the time away until which its password counts. Only where there is one: extensions that want every password
/// to expire refuse it.
pub(super) fn no_end(expires: bool) -> &'static str {
    if expires { " VALID UNTIL 'infinity'" } else { "" }
}

/// Clears what is stored for a user: in all databases, and in those where something is.
pub(super) fn reset_settings<'a>(
    message: &mut Message,
    account: &AccountName,
    settings: impl IntoIterator<Item = &'a Option<String>>,
) {
    let account = identifier(account.as_str());
    let (needs, what) = (Needs::Account(account.clone()), format!("clearing the settings of {account}"));
    message.push_needing(needs.clone(), &what, format!("ALTER ROLE {account} RESET ALL"));
    for database in settings.into_iter().flatten() {
        let sql = format!("ALTER ROLE {account} IN DATABASE {} RESET ALL", identifier(database));
        message.push_needing(needs.clone(), &what, sql);
    }
}

/// Writes the ownership record.
pub(super) fn record(message: &mut Message, account: &AccountName, owner: &Owner) {
    let account = identifier(account.as_str());
    // A struct of strings always has a JSON form.
    let json = serde_json::to_string(owner).unwrap_or_default();
    message.push_needing(
        Needs::Account(account.clone()),
        format!("recording the owner of {account}"),
        format!("COMMENT ON ROLE {account} IS {}", literal(json)),
    );
}

/// One statement for all roles. The names are sorted: on 16+ each role granted is locked to the end of the
/// transaction, and two that take them in a different order would wait for each other.
pub(super) fn grant<'a>(message: &mut Message, account: &AccountName, roles: impl Iterator<Item = &'a str>) {
    let mut roles: Vec<&str> = roles.collect();
    roles.sort_unstable();
    if roles.is_empty() {
        return;
    }
    let account = identifier(account.as_str());
    let roles = identifiers(roles);
    message.push_needing(
        Needs::AdminOption(roles.clone()),
        format!("granting {roles} to {account}"),
        format!("GRANT {roles} TO {account}"),
    );
}

/// One statement for all permission sets, after that for the roles: always in the same order, as the server locks each.
/// Where it can be said, the account has their rights and cannot become them.
pub(super) fn grant_sets(message: &mut Message, account: &AccountName, sets: &[String], dialect: Dialect) {
    if sets.is_empty() {
        return;
    }
    let mut sets: Vec<&String> = sets.iter().collect();
    sets.sort_unstable();
    let (account, sets) = (identifier(account.as_str()), identifiers(sets));
    let options = if dialect.has_grantors() { " WITH INHERIT TRUE, SET FALSE" } else { "" };
    message.push_needing(
        Needs::AdminOption(sets.clone()),
        format!("granting {sets} to {account}"),
        format!("GRANT {sets} TO {account}{options}"),
    );
}

fn enable(message: &mut Message, plan: &Activate) {
    let account = identifier(plan.account.as_str());
    let password = plan
        .verifier
        .as_ref()
        .map_or_else(String::new, |verifier| format!(" PASSWORD {}", literal(verifier.expose_secret())));
    let needs = if plan.verifier.is_some() { Needs::Verifier } else { Needs::Nothing };
    message.push_needing(
        needs,
        format!("enabling {account}"),
        format!("ALTER ROLE {account} LOGIN{password}"),
    );
}
