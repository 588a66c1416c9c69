//! What an admin user with LOGIN and CREATEROLE may do, and the errors where it may not.

use crate::{Fixture, code, facts, literal, ok, one, quote, unique};

facts![
    creating_a_role_that_exists_fails_with_42710,
    granting_a_role_that_is_missing_fails_with_42704,
    a_role_without_admin_option_is_granted_by_15_only,
    roles_of_others_are_changed_by_15_only,
    superusers_are_out_of_reach,
    a_circle_of_memberships_fails_with_0lp01,
    reserved_names_fail_with_42939,
    a_creator_gets_admin_option_and_nothing_else,
    a_membership_of_another_grantor_stays,
    a_role_passed_on_is_revoked_by_cascade,
    the_password_catalog_is_closed,
    roles_and_comments_are_open,
    attributes_cannot_be_given,
    a_read_only_transaction_fails_with_25006,
    a_grant_to_oneself_is_undone_by_a_rollback,
];

async fn creating_a_role_that_exists_fails_with_42710(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    assert_eq!(code(&admin, &format!("create role {user}")).await, "42710");
    // And where it comes to exist while this waits, by the index.
    let (first, second, name) = (f.admin().await, f.admin().await, unique("raced"));
    ok(&first, &format!("begin; create role {name}")).await;
    let statement = format!("create role {name}");
    let (second, _) = tokio::join!(code(&second, &statement), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        ok(&first, "commit").await;
    });
    assert_eq!(second, "23505");
}

async fn granting_a_role_that_is_missing_fails_with_42704(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    assert_eq!(code(&admin, &format!("grant ghost to {user}")).await, "42704");
    assert_eq!(code(&admin, "alter role ghost nologin").await, "42704");
    assert_eq!(code(&admin, "drop role ghost").await, "42704");
}

async fn a_role_without_admin_option_is_granted_by_15_only(f: &Fixture) {
    let (admin, user, role) = (f.admin().await, f.user().await, unique("role"));
    f.sql(&format!("create role {role}")).await;
    let expected = if f.has_grantors() { "42501" } else { "" };
    assert_eq!(code(&admin, &format!("grant {role} to {user}")).await, expected);
    let may = one(&admin, &format!("select pg_has_role('{role}', 'member with admin option')")).await;
    assert_eq!(may, "f");
    f.sql(&format!("grant {role} to {} with admin option", f.bench.admin)).await;
    assert_eq!(code(&admin, &format!("grant {role} to {user}")).await, "");
    let may = one(&admin, &format!("select pg_has_role('{role}', 'member with admin option')")).await;
    assert_eq!(may, "t");
}

async fn roles_of_others_are_changed_by_15_only(f: &Fixture) {
    let (admin, role) = (f.admin().await, unique("role"));
    f.sql(&format!("create role {role}")).await;
    let expected = if f.has_grantors() { "42501" } else { "" };
    for statement in [
        format!("alter role {role} connection limit -1"),
        format!("comment on role {role} is 'x'"),
        format!("alter role {role} reset all"),
        format!("drop role {role}"),
    ] {
        assert_eq!(code(&admin, &statement).await, expected, "{statement}");
    }
}

async fn superusers_are_out_of_reach(f: &Fixture) {
    let (admin, user, role) = (f.admin().await, f.user().await, unique("super"));
    f.sql(&format!("create role {role} superuser; grant {role} to {} with admin option", f.bench.admin))
        .await;
    for statement in [
        format!("alter role {role} nologin"),
        format!("grant {role} to {user}"),
        format!("grant {role} to current_user"),
        format!("drop role {role}"),
    ] {
        assert_eq!(code(&admin, &statement).await, "42501", "{statement}");
    }
}

async fn a_circle_of_memberships_fails_with_0lp01(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let superuser = f.superuser().await;
    let grant = format!("grant {} to {user}", f.bench.admin);
    if f.has_grantors() {
        // The admin user is a member of what it created, so this is the circle already.
        assert_eq!(code(&superuser, &grant).await, "0LP01");
    } else {
        assert_eq!(code(&superuser, &grant).await, "");
        assert_eq!(code(&admin, &format!("grant {user} to current_user")).await, "0LP01");
    }
}

async fn reserved_names_fail_with_42939(f: &Fixture) {
    let admin = f.admin().await;
    for name in ["pg_alice", "\"none\"", "\"public\""] {
        assert_eq!(code(&admin, &format!("create role {name}")).await, "42939", "{name}");
    }
}

async fn a_creator_gets_admin_option_and_nothing_else(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let options = if f.has_grantors() { ", inherit_option, set_option" } else { "" };
    let query = format!(
        "select admin_option {options}, grantor::regrole from pg_auth_members
         where roleid = '{user}'::regrole and member = '{}'::regrole",
        f.bench.admin
    );
    let rows = ok(&admin, &query).await;
    if f.has_grantors() {
        let texts: Vec<&str> = rows[0].iter().flatten().map(String::as_str).collect();
        assert_eq!(texts, ["t", "f", "f", "postgres"]);
    } else {
        assert!(rows.is_empty());
    }
    assert_eq!(code(&admin, &format!("set role {user}")).await, "42501");
}

async fn a_membership_of_another_grantor_stays(f: &Fixture) {
    let (admin, user, role) = (f.admin().await, f.user().await, f.role().await);
    f.sql(&format!("grant {role} to {user}")).await;
    let member = format!(
        "select count(*) from pg_auth_members where member = '{user}'::regrole and roleid = '{role}'::regrole"
    );
    // A warning at most, and from 16 on nothing is revoked.
    assert_eq!(code(&admin, &format!("revoke {role} from {user}")).await, "");
    if !f.has_grantors() {
        assert_eq!(one(&admin, &member).await, "0");
        return;
    }
    assert_eq!(one(&admin, &member).await, "1");
    assert_eq!(code(&admin, &format!("revoke {role} from {user} granted by postgres")).await, "42501");
    // It works for whoever has the grantor's rights, and REVOKE alone does not find that grantor either.
    let other = unique("other");
    f.sql(&format!(
        "create role {other}; grant {role} to {other} with admin option; grant {other} to {} with inherit true;
         grant {role} to {user} granted by {other}",
        f.bench.admin
    ))
    .await;
    assert_eq!(one(&admin, &format!("select pg_has_role('{other}', 'usage')")).await, "t");
    ok(&admin, &format!("revoke {role} from {user}")).await;
    assert_eq!(one(&admin, &member).await, "2");
    ok(&admin, &format!("revoke {role} from {user} granted by {other}")).await;
    assert_eq!(one(&admin, &member).await, "1");
}

async fn a_role_passed_on_is_revoked_by_cascade(f: &Fixture) {
    let (admin, user, role, friend) = (f.admin().await, f.user().await, f.role().await, unique("friend"));
    ok(&admin, &format!("create role {friend}; grant {role} to {user} with admin option")).await;
    ok(&f.login(&user).await, &format!("grant {role} to {friend}")).await;
    let expected = if f.has_grantors() { "2BP01" } else { "" };
    assert_eq!(code(&admin, &format!("revoke {role} from {user}")).await, expected);
    ok(&admin, &format!("revoke {role} from {user} cascade")).await;
    let left = format!(
        "select count(*) from pg_auth_members where roleid = '{role}'::regrole and member = '{friend}'::regrole"
    );
    let expected = if f.has_grantors() { "0" } else { "1" };
    assert_eq!(one(&admin, &left).await, expected);
}

async fn the_password_catalog_is_closed(f: &Fixture) {
    let admin = f.admin().await;
    assert_eq!(code(&admin, "select rolpassword from pg_authid").await, "42501");
}

async fn roles_and_comments_are_open(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    ok(&admin, &format!("comment on role {user} is 'everybody reads this'")).await;
    let client = f.login(&user).await;
    let comment = one(&client, &format!("select shobj_description('{user}'::regrole, 'pg_authid')")).await;
    assert_eq!(comment, "everybody reads this");
    for query in [
        "select * from pg_roles",
        "select * from pg_auth_members",
        "select * from pg_db_role_setting",
        "select * from pg_shdepend",
        "select * from pg_prepared_xacts",
        "select * from pg_locks",
        "select system_identifier from pg_control_system()",
    ] {
        assert_eq!(code(&admin, query).await, "", "{query}");
    }
    // What a user cannot do to the record, to its limits, and to its membership in the marker.
    let marker = quote("teleport-auto-user");
    ok(&admin, &format!("grant {marker} to {user}")).await;
    for (statement, expected) in [
        (format!("comment on role {user} is 'mine'"), "42501"),
        (format!("alter role {user} connection limit 5"), "42501"),
        (format!("alter role {user} valid until 'infinity'"), "42501"),
        (format!("alter role {user} rename to x{user}"), "0A000"),
        (format!("revoke {marker} from {user}"), "42501"),
        (format!("grant {user} to postgres"), "42501"),
    ] {
        assert_eq!(code(&client, &statement).await, expected, "{statement}");
    }
}

async fn attributes_cannot_be_given(f: &Fixture) {
    let admin = f.admin().await;
    for attribute in ["superuser", "replication", "bypassrls"] {
        assert_eq!(
            code(&admin, &format!("create role {} {attribute}", unique("role"))).await,
            "42501",
            "{attribute}"
        );
    }
}

async fn a_read_only_transaction_fails_with_25006(f: &Fixture) {
    let admin = f.admin().await;
    let statement = format!("set transaction read only; create role {}", unique("role"));
    assert_eq!(code(&admin, &statement).await, "25006");
}

async fn a_grant_to_oneself_is_undone_by_a_rollback(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let options = if f.has_grantors() { "with inherit true, set false" } else { "" };
    ok(&admin, &format!("begin; grant {user} to current_user {options}")).await;
    let seen = format!(
        "select count(*) from pg_auth_members where roleid = {}::regrole and member = {}::regrole and grantor = member",
        literal(&user),
        literal(&f.bench.admin)
    );
    assert_eq!(f.value(&seen).await, "0", "nobody else sees it");
    ok(&admin, "rollback").await;
    assert_eq!(one(&admin, &seen).await, "0");
}
