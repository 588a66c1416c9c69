//! What an admin user with LOGIN and CREATEROLE may do, and how it is told that it may not.

use crate::{Ground, code, facts, literal, ok, one, quote, unique};

facts![
    a_role_that_exists_is_told_by_42710,
    a_role_that_is_missing_is_told_by_42704,
    a_role_without_admin_option_is_granted_by_15_only,
    roles_of_others_are_changed_by_15_only,
    superusers_are_out_of_reach,
    a_circle_of_memberships_is_told_by_0lp01,
    reserved_names_are_told_by_42939,
    a_creator_gets_admin_option_and_nothing_else,
    a_membership_of_another_grantor_stays,
    a_role_passed_on_is_revoked_by_cascade,
    the_password_catalog_is_closed,
    roles_and_comments_are_open,
    attributes_cannot_be_given,
    a_read_only_transaction_is_told_by_25006,
    a_grant_to_oneself_is_undone_by_a_rollback,
];

async fn a_role_that_exists_is_told_by_42710(g: &Ground) {
    let (admin, user) = (g.admin().await, g.user().await);
    assert_eq!(code(&admin, &format!("create role {user}")).await, "42710");
    // And where it comes to exist while this waits, by the index.
    let (first, second, name) = (g.admin().await, g.admin().await, unique("raced"));
    ok(&first, &format!("begin; create role {name}")).await;
    let statement = format!("create role {name}");
    let (second, _) = tokio::join!(code(&second, &statement), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        ok(&first, "commit").await;
    });
    assert_eq!(second, "23505");
}

async fn a_role_that_is_missing_is_told_by_42704(g: &Ground) {
    let (admin, user) = (g.admin().await, g.user().await);
    assert_eq!(code(&admin, &format!("grant ghost to {user}")).await, "42704");
    assert_eq!(code(&admin, "alter role ghost nologin").await, "42704");
    assert_eq!(code(&admin, "drop role ghost").await, "42704");
}

async fn a_role_without_admin_option_is_granted_by_15_only(g: &Ground) {
    let (admin, user, role) = (g.admin().await, g.user().await, unique("role"));
    g.sql(&format!("create role {role}")).await;
    let expected = if g.has_grantors() { "42501" } else { "" };
    assert_eq!(code(&admin, &format!("grant {role} to {user}")).await, expected);
    let may = one(&admin, &format!("select pg_has_role('{role}', 'member with admin option')")).await;
    assert_eq!(may, "f");
    g.sql(&format!("grant {role} to {} with admin option", g.bench.admin)).await;
    assert_eq!(code(&admin, &format!("grant {role} to {user}")).await, "");
    let may = one(&admin, &format!("select pg_has_role('{role}', 'member with admin option')")).await;
    assert_eq!(may, "t");
}

async fn roles_of_others_are_changed_by_15_only(g: &Ground) {
    let (admin, role) = (g.admin().await, unique("role"));
    g.sql(&format!("create role {role}")).await;
    let expected = if g.has_grantors() { "42501" } else { "" };
    for statement in [
        format!("alter role {role} connection limit -1"),
        format!("comment on role {role} is 'x'"),
        format!("alter role {role} reset all"),
        format!("drop role {role}"),
    ] {
        assert_eq!(code(&admin, &statement).await, expected, "{statement}");
    }
}

async fn superusers_are_out_of_reach(g: &Ground) {
    let (admin, user, role) = (g.admin().await, g.user().await, unique("super"));
    g.sql(&format!("create role {role} superuser; grant {role} to {} with admin option", g.bench.admin))
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

async fn a_circle_of_memberships_is_told_by_0lp01(g: &Ground) {
    let (admin, user) = (g.admin().await, g.user().await);
    let superuser = g.superuser().await;
    let grant = format!("grant {} to {user}", g.bench.admin);
    if g.has_grantors() {
        // The admin user is a member of what it created, so this is the circle already.
        assert_eq!(code(&superuser, &grant).await, "0LP01");
    } else {
        assert_eq!(code(&superuser, &grant).await, "");
        assert_eq!(code(&admin, &format!("grant {user} to current_user")).await, "0LP01");
    }
}

async fn reserved_names_are_told_by_42939(g: &Ground) {
    let admin = g.admin().await;
    for name in ["pg_alice", "\"none\"", "\"public\""] {
        assert_eq!(code(&admin, &format!("create role {name}")).await, "42939", "{name}");
    }
}

async fn a_creator_gets_admin_option_and_nothing_else(g: &Ground) {
    let (admin, user) = (g.admin().await, g.user().await);
    let options = if g.has_grantors() { ", inherit_option, set_option" } else { "" };
    let query = format!(
        "select admin_option {options}, grantor::regrole from pg_auth_members
         where roleid = '{user}'::regrole and member = '{}'::regrole",
        g.bench.admin
    );
    let rows = ok(&admin, &query).await;
    if g.has_grantors() {
        let texts: Vec<&str> = rows[0].iter().flatten().map(String::as_str).collect();
        assert_eq!(texts, ["t", "f", "f", "postgres"]);
    } else {
        assert!(rows.is_empty());
    }
    assert_eq!(code(&admin, &format!("set role {user}")).await, "42501");
}

async fn a_membership_of_another_grantor_stays(g: &Ground) {
    let (admin, user, role) = (g.admin().await, g.user().await, g.role().await);
    g.sql(&format!("grant {role} to {user}")).await;
    let member = format!(
        "select count(*) from pg_auth_members where member = '{user}'::regrole and roleid = '{role}'::regrole"
    );
    // A warning at most, and from 16 on nothing is revoked.
    assert_eq!(code(&admin, &format!("revoke {role} from {user}")).await, "");
    if !g.has_grantors() {
        assert_eq!(one(&admin, &member).await, "0");
        return;
    }
    assert_eq!(one(&admin, &member).await, "1");
    assert_eq!(code(&admin, &format!("revoke {role} from {user} granted by postgres")).await, "42501");
    // It works for whoever has the grantor's rights, and REVOKE alone does not find that grantor either.
    let other = unique("other");
    g.sql(&format!(
        "create role {other}; grant {role} to {other} with admin option; grant {other} to {} with inherit true;
         grant {role} to {user} granted by {other}",
        g.bench.admin
    ))
    .await;
    assert_eq!(one(&admin, &format!("select pg_has_role('{other}', 'usage')")).await, "t");
    ok(&admin, &format!("revoke {role} from {user}")).await;
    assert_eq!(one(&admin, &member).await, "2");
    ok(&admin, &format!("revoke {role} from {user} granted by {other}")).await;
    assert_eq!(one(&admin, &member).await, "1");
}

async fn a_role_passed_on_is_revoked_by_cascade(g: &Ground) {
    let (admin, user, role, friend) = (g.admin().await, g.user().await, g.role().await, unique("friend"));
    ok(&admin, &format!("create role {friend}; grant {role} to {user} with admin option")).await;
    ok(&g.login(&user).await, &format!("grant {role} to {friend}")).await;
    let expected = if g.has_grantors() { "2BP01" } else { "" };
    assert_eq!(code(&admin, &format!("revoke {role} from {user}")).await, expected);
    ok(&admin, &format!("revoke {role} from {user} cascade")).await;
    let left = format!(
        "select count(*) from pg_auth_members where roleid = '{role}'::regrole and member = '{friend}'::regrole"
    );
    let expected = if g.has_grantors() { "0" } else { "1" };
    assert_eq!(one(&admin, &left).await, expected);
}

async fn the_password_catalog_is_closed(g: &Ground) {
    let admin = g.admin().await;
    assert_eq!(code(&admin, "select rolpassword from pg_authid").await, "42501");
}

async fn roles_and_comments_are_open(g: &Ground) {
    let (admin, user) = (g.admin().await, g.user().await);
    ok(&admin, &format!("comment on role {user} is 'everybody reads this'")).await;
    let client = g.login(&user).await;
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

async fn attributes_cannot_be_given(g: &Ground) {
    let admin = g.admin().await;
    for attribute in ["superuser", "replication", "bypassrls"] {
        assert_eq!(
            code(&admin, &format!("create role {} {attribute}", unique("role"))).await,
            "42501",
            "{attribute}"
        );
    }
}

async fn a_read_only_transaction_is_told_by_25006(g: &Ground) {
    let admin = g.admin().await;
    let statement = format!("set transaction read only; create role {}", unique("role"));
    assert_eq!(code(&admin, &statement).await, "25006");
}

async fn a_grant_to_oneself_is_undone_by_a_rollback(g: &Ground) {
    let (admin, user) = (g.admin().await, g.user().await);
    let options = if g.has_grantors() { "with inherit true, set false" } else { "" };
    ok(&admin, &format!("begin; grant {user} to current_user {options}")).await;
    let seen = format!(
        "select count(*) from pg_auth_members where roleid = {}::regrole and member = {}::regrole and grantor = member",
        literal(&user),
        literal(&g.bench.admin)
    );
    assert_eq!(g.value(&seen).await, "0", "nobody else sees it");
    ok(&admin, "rollback").await;
    assert_eq!(one(&admin, &seen).await, "0");
}
