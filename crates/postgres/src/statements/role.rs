//! Statements about one role: made, recorded, locked, reset.

use rolecall_engine::{AccountName, Owner};

use crate::quote::{block, identifier, literal};
use crate::transport::message::{Message, Needs};

/// Creates the roles that are missing, in a short transaction of their own: on 16+ whoever grants a role locks it.
/// One that somebody else creates at the same moment serves as well.
pub(crate) fn create_roles(roles: &[String]) -> Option<Message> {
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
pub(crate) fn create_role(role: &str) -> (String, String) {
    let role = identifier(role);
    let sql = block(&format!(
        "BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END"
    ));
    (format!("creating the role {role}"), sql)
}

/// Takes the time away until which its password counts. Only where there is one: extensions that want every password
/// to expire refuse it.
pub(crate) fn no_end(expires: bool) -> &'static str {
    if expires { " VALID UNTIL 'infinity'" } else { "" }
}

/// Clears what is stored for a user: in all databases, and in those where something is.
pub(crate) fn reset_settings<'a>(
    message: &mut Message,
    account: &AccountName,
    settings: impl IntoIterator<Item = &'a Option<String>>,
) {
    let account = identifier(account.as_str());
    let (needs, what) = (Needs::Role(account.clone()), format!("clearing the settings of {account}"));
    message.push_needing(needs.clone(), &what, format!("ALTER ROLE {account} RESET ALL"));
    for database in settings.into_iter().flatten() {
        let sql = format!("ALTER ROLE {account} IN DATABASE {} RESET ALL", identifier(database));
        message.push_needing(needs.clone(), &what, sql);
    }
}

/// Writes the ownership record.
pub(crate) fn record(message: &mut Message, account: &AccountName, owner: &Owner) {
    comment(message, account, &json(owner));
}

/// The ownership record, as text.
pub(crate) fn json(owner: &Owner) -> String {
    // A struct of strings always has a JSON form.
    serde_json::to_string(owner).unwrap_or_default()
}

/// Writes an ownership record that is text already.
pub(crate) fn comment(message: &mut Message, account: &AccountName, json: &str) {
    let account = identifier(account.as_str());
    message.push_needing(
        Needs::Role(account.clone()),
        format!("recording the owner of {account}"),
        format!("COMMENT ON ROLE {account} IS {}", literal(json)),
    );
}

/// Writes the account's row, so that no other transaction changes it before this one ends. A managed account has no
/// connection limit.
pub(crate) fn lock(message: &mut Message, account: &AccountName) {
    let account = identifier(account.as_str());
    message.push_needing(
        Needs::Role(account.clone()),
        format!("locking {account}"),
        format!("ALTER ROLE {account} CONNECTION LIMIT -1"),
    );
}
