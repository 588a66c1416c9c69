//! What outlives a session.

use crate::{Fixture, code, facts, ok, one, unique};

facts![
    passwords_and_settings_are_the_users_own_and_can_be_cleared,
    what_a_superuser_has_set_stays,
    a_prepared_transaction_outlives_everything,
    what_it_owns_keeps_a_user_from_being_dropped,
    rights_of_its_own_keep_a_user_from_being_dropped,
    a_right_is_taken_back_by_its_grantor_only,
    a_grant_reaches_members_without_touching_them,
];

async fn passwords_and_settings_are_the_users_own_and_can_be_cleared(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    ok(&client, &format!("alter role {user} password 'mine'")).await;
    ok(&client, &format!("alter role {user} set search_path = mine")).await;
    ok(&client, &format!("alter role {user} in database postgres set role = 'none'")).await;
    let settings = format!("select count(*) from pg_db_role_setting where setrole = '{user}'::regrole");
    assert_eq!(one(&admin, &settings).await, "2");
    let password = format!("select rolpassword is not null from pg_authid where rolname = '{user}'");
    assert_eq!(f.value(&password).await, "t");
    ok(&admin, &format!("alter role {user} password null; alter role {user} reset all")).await;
    assert_eq!(one(&admin, &settings).await, "1", "those for one database stay");
    ok(&admin, &format!("alter role {user} in database postgres reset all")).await;
    assert_eq!(one(&admin, &settings).await, "0");
    assert_eq!(f.value(&password).await, "f");
}

async fn what_a_superuser_has_set_stays(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    f.sql(&format!(
        "alter role {user} set log_statement = 'all'; alter role {user} set search_path = theirs;
         alter role {user} set my.setting = 'x'"
    ))
    .await;
    ok(&admin, &format!("alter role {user} reset all")).await;
    let left =
        one(&admin, &format!("select setconfig from pg_db_role_setting where setrole = '{user}'::regrole"))
            .await;
    assert_eq!(left, "{log_statement=all,my.setting=x}");
    // A user cannot set such things itself.
    let client = f.login(&user).await;
    assert_eq!(code(&client, &format!("alter role {user} set log_statement = 'none'")).await, "42501");
    assert_eq!(code(&client, &format!("alter role {user} set my.setting = 'y'")).await, "42501");
    // These functions say who may.
    let context = "select context from pg_settings where name = 'log_statement'";
    assert_eq!(one(&admin, context).await, "superuser");
    assert_eq!(one(&admin, "select has_parameter_privilege('log_statement', 'set')").await, "f");
    assert_eq!(one(&admin, "select has_parameter_privilege('my.setting', 'set')").await, "f");
}

async fn a_prepared_transaction_outlives_everything(f: &Fixture) {
    let (admin, user, gid) = (f.admin().await, f.user().await, unique("gid"));
    let client = f.login(&user).await;
    ok(&client, &format!("begin; select pg_current_xact_id(); prepare transaction '{gid}'")).await;
    drop(client);
    ok(&admin, &format!("alter role {user} nologin password null")).await;
    let owner = format!("select owner from pg_prepared_xacts where gid = '{gid}'");
    assert_eq!(one(&admin, &owner).await, user);
    assert_eq!(code(&admin, &format!("rollback prepared '{gid}'")).await, "42501");
    ok(&f.superuser().await, &format!("rollback prepared '{gid}'")).await;
}

async fn what_it_owns_keeps_a_user_from_being_dropped(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    f.sql(&format!("create schema {} authorization {user}", unique("schema"))).await;
    assert_eq!(code(&admin, &format!("drop role {user}")).await, "2BP01");
    let depends = format!(
        "select deptype from pg_shdepend where refobjid = '{user}'::regrole and classid <> 'pg_auth_members'::regclass"
    );
    assert_eq!(one(&admin, &depends).await, "o");
}

async fn rights_of_its_own_keep_a_user_from_being_dropped(f: &Fixture) {
    let (admin, user, table, role) = (f.admin().await, f.user().await, unique("table"), f.role().await);
    ok(&admin, &format!("grant {role} to {user}")).await;
    let depends = format!(
        "select string_agg(classid::regclass || ' ' || deptype::text, ', ') from pg_shdepend where refobjid = '{user}'::regrole"
    );
    // From 16 on a membership looks like a right, and is none.
    let memberships = one(&admin, &depends).await;
    assert!(memberships.split(", ").all(|row| row.is_empty() || row == "pg_auth_members a"), "{memberships}");
    f.sql(&format!("create table {table} (); grant select on {table} to {user}")).await;
    assert_eq!(code(&admin, &format!("drop role {user}")).await, "2BP01");
    let rights = format!("{depends} and classid <> 'pg_auth_members'::regclass");
    assert_eq!(one(&admin, &rights).await, "pg_class a");
    f.sql(&format!("revoke select on {table} from {user}; grant connect on database postgres to {user}"))
        .await;
    assert_eq!(one(&admin, &rights).await, "pg_database a");
    f.sql(&format!("revoke connect on database postgres from {user}")).await;
    assert_eq!(code(&admin, &format!("drop role {user}")).await, "");
}

async fn a_right_is_taken_back_by_its_grantor_only(f: &Fixture) {
    let (user, table, granter) = (f.user().await, unique("table"), unique("granter"));
    f.sql(&format!(
        "create table {table} (); create role {granter}; grant select on {table} to {granter} with grant option;
         grant create, usage on schema public to {granter}; set role {granter}; grant select on {table} to {user}"
    ))
    .await;
    let has = format!("select has_table_privilege('{user}', '{table}', 'select')");
    let superuser = f.superuser().await;
    ok(&superuser, &format!("revoke all on {table} from {user}")).await;
    assert_eq!(one(&superuser, &has).await, "t", "not even a superuser's REVOKE finds another's grant");
    // From 19 on whoever has the grantor's privileges may name it.
    let expected = if f.major >= 19 { "" } else { "0A000" };
    let statement = format!("revoke all on {table} from {user} granted by {granter}");
    assert_eq!(code(&superuser, &statement).await, expected);
    assert_eq!(one(&superuser, &has).await, if f.major >= 19 { "f" } else { "t" });
    ok(
        &superuser,
        &format!("begin; set local role {granter}; revoke all on {table} from {user} cascade; commit"),
    )
    .await;
    assert_eq!(one(&superuser, &has).await, "f");
}

async fn a_grant_reaches_members_without_touching_them(f: &Fixture) {
    let (admin, user, role, table) = (f.admin().await, f.user().await, f.role().await, unique("table"));
    f.sql(&format!("create table {table} (); grant select on {table} to {role}; create schema {role}; grant usage on schema {role} to {role}")).await;
    let client = f.login(&user).await;
    assert_eq!(code(&client, &format!("select from {table}")).await, "42501");
    ok(&admin, &format!("grant {role} to {user}")).await;
    assert_eq!(code(&client, &format!("select from {table}")).await, "");
    ok(&admin, &format!("revoke {role} from {user}")).await;
    assert_eq!(code(&client, &format!("select from {table}")).await, "42501", "at the next statement");
}
