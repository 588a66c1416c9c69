//! Who waits for whom.

use std::time::Duration;

use crate::{Fixture, code, facts, ok, one, quote, unique};

facts![
    a_comment_on_a_role_locks_it_in_every_database,
    a_user_cannot_take_that_lock,
    advisory_locks_are_open_to_everybody_and_per_database,
    two_who_change_one_role_collide,
    a_change_of_the_row_is_a_lock_and_shows_what_was_committed_before,
    a_user_can_lock_its_own_row,
    a_user_who_sets_something_delays_a_drop_only,
    from_16_on_a_grant_locks_the_role_granted,
    a_message_is_one_transaction,
    a_failed_message_leaves_the_connection_idle,
];

async fn a_comment_on_a_role_locks_it_in_every_database(f: &Fixture) {
    let (one_, two, user) = (f.admin().await, f.admin_in("template1").await, f.user().await);
    ok(&one_, &format!("begin; comment on role {user} is 'one'")).await;
    assert_eq!(
        code(&two, &format!("set lock_timeout = 100; comment on role {user} is 'two'")).await,
        "55P03"
    );
    ok(&one_, "commit").await;
    assert_eq!(code(&two, &format!("comment on role {user} is 'two'")).await, "");
}

async fn a_user_cannot_take_that_lock(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    ok(&client, "begin; savepoint s").await;
    assert_eq!(code(&client, &format!("comment on role {user} is 'mine'")).await, "42501");
    ok(&client, "rollback to s").await;
    assert_eq!(code(&admin, &format!("set lock_timeout = 100; comment on role {user} is 'ours'")).await, "");
}

async fn advisory_locks_are_open_to_everybody_and_per_database(f: &Fixture) {
    let (here, there, user) = (f.admin().await, f.admin_in("template1").await, f.user().await);
    let client = f.login(&user).await;
    let key = format!("hashtext('{user}')");
    ok(&client, &format!("select pg_advisory_lock({key})")).await;
    assert_eq!(one(&here, &format!("select pg_try_advisory_lock({key})")).await, "f");
    assert_eq!(one(&there, &format!("select pg_try_advisory_lock({key})")).await, "t");
}

async fn two_who_change_one_role_collide(f: &Fixture) {
    let (first, second, user) = (f.admin().await, f.admin().await, f.user().await);
    ok(&first, &format!("begin; alter role {user} nologin")).await;
    let statement = format!("alter role {user} login");
    let (second, _) = tokio::join!(code(&second, &statement), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        ok(&first, "commit").await;
    });
    assert_eq!(second, "XX000");
}

async fn a_change_of_the_row_is_a_lock_and_shows_what_was_committed_before(f: &Fixture) {
    let (ours, theirs, user) = (f.admin().await, f.admin().await, f.user().await);
    ok(&ours, &format!("begin; alter role {user} connection limit -1")).await;
    // Whoever wants to change it now waits.
    let statement = format!("set lock_timeout = 100; alter role {user} nologin");
    assert_eq!(code(&theirs, &statement).await, "55P03");
    // A comment does not touch the row, so both locks are taken where both are meant.
    ok(&theirs, &format!("comment on role {user} is 'theirs'")).await;
    let comment = one(&ours, &format!("select shobj_description('{user}'::regrole, 'pg_authid')")).await;
    assert_eq!(comment, "theirs", "a later statement of the transaction sees what was committed");
    ok(&ours, "rollback").await;
}

async fn a_user_can_lock_its_own_row(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    ok(&client, &format!("begin; alter role {user} password 'mine'")).await;
    ok(&admin, "set lock_timeout = 100").await;
    assert_eq!(code(&admin, &format!("alter role {user} nologin password null")).await, "55P03");
    // Ending the backend does not wait.
    let (options, role) = if f.has_grantors() {
        ("with inherit true, set false", String::new())
    } else {
        ("", format!("set local role {user};"))
    };
    let ended = one(
        &admin,
        &format!(
            "begin; grant {user} to current_user {options}; {role}
             select pg_terminate_backend(pid) from pg_stat_activity where usename = '{user}'; rollback"
        ),
    )
    .await;
    assert_eq!(ended, "t");
    ok(&admin, "set lock_timeout = 5000").await;
    assert_eq!(code(&admin, &format!("alter role {user} nologin password null")).await, "");
}

async fn a_user_who_sets_something_delays_a_drop_only(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    ok(&client, &format!("begin; alter role {user} set search_path = mine")).await;
    ok(&admin, "set lock_timeout = 100").await;
    assert_eq!(code(&admin, &format!("alter role {user} nologin password null")).await, "");
    assert_eq!(code(&admin, &format!("drop role {user}")).await, "55P03");
}

async fn from_16_on_a_grant_locks_the_role_granted(f: &Fixture) {
    let (one_, two, a, b) = (f.admin().await, f.admin().await, f.user().await, f.user().await);
    let marker = quote("teleport-auto-user");
    let role = f.role().await;
    ok(&one_, &format!("begin; grant {role} to {a}")).await;
    let expected = if f.has_grantors() { "55P03" } else { "" };
    assert_eq!(code(&two, &format!("set lock_timeout = 100; grant {role} to {b}")).await, expected);
    ok(&one_, "rollback").await;
    assert_eq!(code(&two, &format!("grant {role}, {marker} to {b}")).await, "");
}

async fn a_message_is_one_transaction(f: &Fixture) {
    let (admin, user) = (f.admin().await, unique("user"));
    let statements =
        format!("create role {user}; set local lock_timeout = 77; show lock_timeout; grant ghost to {user}");
    assert_eq!(code(&admin, &statements).await, "42704");
    assert_eq!(f.value(&format!("select count(*) from pg_roles where rolname = '{user}'")).await, "0");
    assert_eq!(one(&admin, "set local lock_timeout = 77; show lock_timeout").await, "77ms");
    assert_eq!(one(&admin, "show lock_timeout").await, "0");
}

async fn a_failed_message_leaves_the_connection_idle(f: &Fixture) {
    let admin = f.admin().await;
    assert_eq!(code(&admin, "select 1; select 1 / 0").await, "22012");
    assert_eq!(one(&admin, "select 2").await, "2");
    // With a BEGIN in it, it does not.
    assert_eq!(code(&admin, "begin; select 1 / 0").await, "22012");
    assert_eq!(code(&admin, "select 2").await, "25P02");
    ok(&admin, "rollback").await;
    assert_eq!(one(&admin, "select 2").await, "2");
}
