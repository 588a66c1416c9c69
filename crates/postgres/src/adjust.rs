//! Putting a live account right.

use rolecall_engine::AccountName;
use rolecall_engine::plan::Adjust;
use secrecy::ExposeSecret;

use super::activate;
use super::guard::Guard;
use super::message::{Message, Needs};
use super::quote::{block, identifier, identifiers, literal, names};
use super::version::Dialect;

/// The adjustment: one transaction.
pub(super) fn message(plan: &Adjust, dialect: Dialect, cascade: bool) -> Message {
    let account = identifier(plan.account.as_str());
    let mut message = Message::new();
    lock(&mut message, &plan.account);
    guard(plan).check(&mut message);
    if let Some(owner) = &plan.record {
        activate::record(&mut message, &plan.account, owner);
    }
    revoke(&mut message, &plan.account, &plan.revoke, dialect, cascade);
    activate::grant(&mut message, &plan.account, plan.grant.iter().map(String::as_str));
    activate::grant_sets(&mut message, &plan.account, &plan.grant_sets, dialect);
    let mut changes = String::new();
    if let Some(verifier) = &plan.verifier {
        changes.push_str(&format!(" PASSWORD {}", literal(verifier.expose_secret())));
    }
    if plan.enable {
        changes.push_str(" LOGIN");
    }
    if !changes.is_empty() {
        let needs = if plan.verifier.is_some() { Needs::Verifier } else { Needs::Nothing };
        message.push_needing(needs, format!("enabling {account}"), format!("ALTER ROLE {account}{changes}"));
    }
    message.replicated()
}

/// What remains of an adjustment where something cannot be given: what is to be taken away.
pub(super) fn taking_away(plan: &Adjust) -> Adjust {
    Adjust {
        create_roles: Vec::new(),
        grant: Vec::new(),
        grant_sets: Vec::new(),
        enable: false,
        verifier: None,
        ..plan.clone()
    }
}

/// What the account must be.
pub(super) fn guard(plan: &Adjust) -> Guard<'_> {
    let guard = Guard::managed(&plan.account);
    match &plan.record {
        Some(owner) => guard.not_foreign_to(&owner.uid),
        None => guard.owned_by(&plan.owner_uid),
    }
}

/// Writes the account's row, so that no other transaction changes it before this one ends. A managed account has no
/// connection limit.
pub(super) fn lock(message: &mut Message, account: &AccountName) {
    let account = identifier(account.as_str());
    message.push_needing(
        Needs::Account(account.clone()),
        format!("locking {account}"),
        format!("ALTER ROLE {account} CONNECTION LIMIT -1"),
    );
}

/// Takes memberships away.
///
/// From 16 on each grantor's grant is a membership of its own, and REVOKE takes away that of one grantor only. So the
/// grantors are looked up, and those whose rights the admin user has are named.
pub(super) fn revoke(
    message: &mut Message,
    account: &AccountName,
    roles: &[String],
    dialect: Dialect,
    cascade: bool,
) {
    if roles.is_empty() {
        return;
    }
    let sql_account = identifier(account.as_str());
    let what = format!("revoking {} from {sql_account}", identifiers(roles));
    let cascade = if cascade { " CASCADE" } else { "" };
    if !dialect.has_grantors() {
        let sql_roles = identifiers(roles);
        message.push_needing(
            Needs::AdminOption(sql_roles.clone()),
            what,
            format!("REVOKE {sql_roles} FROM {sql_account}{cascade}"),
        );
        return;
    }
    let account = literal(account.as_str());
    let needs = Needs::AdminOption(identifiers(roles));
    let roles = names(roles);
    let body = format!(
        "DECLARE
  statement pg_catalog.text;
BEGIN
  FOR statement IN
    SELECT pg_catalog.format('REVOKE %s FROM %I GRANTED BY %I{cascade}',
      pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ' ORDER BY r.rolname), u.rolname, g.rolname)
    FROM pg_catalog.pg_auth_members m
    JOIN pg_catalog.pg_roles u ON u.oid = m.member
    JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
    JOIN pg_catalog.pg_roles g ON g.oid = m.grantor
    WHERE u.rolname = {account} AND r.rolname = ANY ({roles})
      AND CASE WHEN g.rolname = CURRENT_USER THEN true ELSE pg_catalog.pg_has_role(g.oid, 'USAGE') END
    GROUP BY u.rolname, g.rolname ORDER BY g.rolname
  LOOP
    EXECUTE statement;
  END LOOP;
END"
    );
    message.push_needing(needs, what, block(&body));
}
