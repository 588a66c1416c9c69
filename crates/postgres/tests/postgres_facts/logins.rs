//! What happens to open connections and logins under way when a login is taken away.

use std::time::{Duration, Instant};

use crate::{Client, Fixture, code, facts, ok, one, unique};

facts![
    an_open_session_outlives_its_login,
    a_role_that_a_session_has_become_outlives_its_revocation,
    a_login_on_its_way_is_announced_before_it_shows,
    activity_is_frozen_within_a_transaction,
    what_an_argument_takes_is_read_before_activity,
    without_membership_backends_are_counted_but_not_ended,
    membership_ends_backends_also_without_inherit,
    a_dropped_user_can_still_be_inside_and_out_of_reach,
    a_time_limit_is_for_passwords_only,
];

async fn an_open_session_outlives_its_login(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    ok(&admin, &format!("alter role {user} nologin")).await;
    assert_eq!(code(&client, "select 1").await, "");
    let refused = f.bench.login(&user).await.unwrap_err();
    assert_eq!(refused.sqlstate(), Some("28000"));
}

async fn a_role_that_a_session_has_become_outlives_its_revocation(f: &Fixture) {
    let (admin, user, role) = (f.admin().await, f.user().await, f.role().await);
    ok(&admin, &format!("grant {role} to {user}")).await;
    let (inside, outside) = (f.login(&user).await, f.login(&user).await);
    ok(&inside, &format!("set role {role}")).await;
    ok(&admin, &format!("revoke {role} from {user}")).await;
    assert_eq!(one(&inside, "select current_user").await, role);
    assert_eq!(code(&outside, &format!("set role {role}")).await, "42501");
}

/// Keeps everybody out of a logical database, after they were let in by their role.
pub(crate) async fn block_logins(f: &Fixture) -> (String, Client) {
    let database = unique("locked");
    f.sql(&format!("create database {database}")).await;
    let holder = f.superuser().await;
    ok(&holder, &format!("begin; alter database {database} rename to {database}_renamed")).await;
    (database, holder)
}

async fn a_login_on_its_way_is_announced_before_it_shows(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let (database, holder) = block_logins(f).await;
    let certificate = f.bench.pg.client_cert(&user).unwrap();
    let pg = f.bench.pg;
    let name = database.clone();
    let login = tokio::spawn(async move { pg.connect(&name, &certificate).await });
    // 18 has a row for it, which says nothing of whom or where.
    let starting = "select string_agg(l.pid || ' ' || l.virtualtransaction, ', ') from pg_locks l
        where l.locktype = 'virtualxid' and l.mode = 'ExclusiveLock' and l.granted and l.pid is not null
          and not exists (select from pg_stat_activity s where s.pid = l.pid and (s.usesysid is not null or s.datid is not null))
          and exists (select from pg_locks d where d.pid = l.pid and d.locktype = 'object' and not d.granted)";
    let deadline = Instant::now() + Duration::from_secs(10);
    while one(&admin, starting).await.is_empty() {
        assert!(Instant::now() < deadline, "the login is not announced");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Its role was let in: what is taken away now comes too late for it.
    ok(&admin, &format!("alter role {user} nologin")).await;
    let count = format!("select count(*) from pg_stat_activity where usename = '{user}'");
    assert_eq!(one(&admin, &count).await, "0");
    ok(&holder, "rollback").await;
    let client = login.await.unwrap().unwrap();
    assert_eq!(code(&client, "select 1").await, "");
    assert_eq!(one(&admin, &count).await, "1");
}

async fn activity_is_frozen_within_a_transaction(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let count = format!("select count(*) from pg_stat_activity where usename = '{user}'");
    ok(&admin, "begin").await;
    assert_eq!(one(&admin, &count).await, "0");
    let _client = f.login(&user).await;
    assert_eq!(one(&admin, &count).await, "0");
    ok(&admin, "select pg_stat_clear_snapshot()").await;
    assert_eq!(one(&admin, &count).await, "1");
}

async fn what_an_argument_takes_is_read_before_activity(f: &Fixture) {
    let (admin, holder, user) = (f.admin().await, f.superuser().await, f.user().await);
    let key = f.value(&format!("select '{user}'::regrole::oid")).await;
    ok(&holder, &format!("select pg_advisory_lock({key})")).await;
    let both = format!(
        "with first as materialized (select pg_advisory_lock_shared({key})),
           activity as materialized (select a.usesysid from pg_stat_get_activity(
             case when (select count(*) from first) >= 0 then null::int4 end) a)
         select count(*) from activity where usesysid = '{user}'::regrole"
    );
    let reading = tokio::spawn(async move { one(&admin, &both).await });
    let waits = format!(
        "select count(*) from pg_locks where locktype = 'advisory' and objid = {key} and not granted"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while one(&holder, &waits).await != "1" {
        assert!(Instant::now() < deadline, "the first part does not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _client = f.login(&user).await;
    ok(&holder, &format!("select pg_advisory_unlock({key})")).await;
    assert_eq!(reading.await.unwrap(), "1", "who logged in meanwhile shows");
}

async fn without_membership_backends_are_counted_but_not_ended(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    ok(&client, "select 'secret'").await;
    let row = ok(
        &admin,
        &format!("select pid, usesysid = '{user}'::regrole, query, state from pg_stat_activity where usename = '{user}'"),
    )
    .await
    .remove(0);
    assert!(row[0].is_some());
    assert_eq!(row[1].as_deref(), Some("t"));
    assert_eq!(row[3], None, "state is hidden");
    assert!(!row[2].clone().unwrap_or_default().contains("secret"));
    let statement = format!("select pg_terminate_backend({})", row[0].clone().unwrap());
    assert_eq!(code(&admin, &statement).await, "42501");
}

async fn membership_ends_backends_also_without_inherit(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    f.sql(&format!("alter role {} noinherit", f.bench.admin)).await;
    let _client = f.login(&user).await;
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{user}'");
    if f.has_grantors() {
        // The default of INHERIT is that of the member.
        ok(&admin, &format!("begin; grant {user} to current_user")).await;
        assert_eq!(code(&admin, &end).await, "42501");
        ok(&admin, "rollback").await;
        ok(&admin, &format!("begin; grant {user} to current_user with inherit true, set false")).await;
    } else {
        ok(&admin, &format!("begin; grant {user} to current_user")).await;
        assert_eq!(code(&admin, &end).await, "42501");
        ok(&admin, "rollback").await;
        ok(&admin, &format!("begin; grant {user} to current_user; set local role {user}")).await;
    }
    assert_eq!(one(&admin, &end).await, "t");
    ok(&admin, "rollback").await;
    assert_eq!(one(&admin, "select current_user").await, f.bench.admin);
}

async fn a_dropped_user_can_still_be_inside_and_out_of_reach(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    let client = f.login(&user).await;
    let pid = one(&client, "select pg_backend_pid()").await;
    assert_eq!(code(&admin, &format!("drop role {user}")).await, "");
    assert_eq!(code(&client, "select 1").await, "");
    assert_eq!(code(&admin, &format!("select pg_terminate_backend({pid})")).await, "42501");
}

async fn a_time_limit_is_for_passwords_only(f: &Fixture) {
    let (admin, user) = (f.admin().await, f.user().await);
    ok(&admin, &format!("alter role {user} valid until '2020-01-01'")).await;
    assert!(f.bench.login(&user).await.is_ok());
    ok(&admin, &format!("alter role {user} valid until 'infinity' connection limit -1")).await;
    let limits = format!("select rolvaliduntil::text, rolconnlimit from pg_roles where rolname = '{user}'");
    assert_eq!(ok(&admin, &limits).await[0], [Some("infinity".to_owned()), Some("-1".to_owned())]);
}
