//! Statements that grant and revoke memberships.

use rolecall_engine::AccountName;

use crate::quote::{block, identifier, identifiers, literal, names};
use crate::transport::message::{Message, Needs};
use crate::transport::version::Dialect;

/// One statement for all roles. The names are sorted: on 16+ each role granted is locked to the end of the
/// transaction, and two that take them in a different order would wait for each other.
pub(crate) fn grant<'a>(message: &mut Message, account: &AccountName, roles: impl Iterator<Item = &'a str>) {
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
pub(crate) fn grant_sets(message: &mut Message, account: &AccountName, sets: &[String], dialect: Dialect) {
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

/// Takes memberships away.
///
/// From 16 on each grantor's grant is a membership of its own, and REVOKE takes away that of one grantor only. So the
/// grantors are looked up, and those whose rights the admin user has are named.
pub(crate) fn revoke(
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
