//! What a session costs in statements, and what it costs where they cannot be sent as few.

use rolecall_engine::account::Credential;
use rolecall_engine::{Desired, Dialect, Engine as _, Reason, Want, plan};
use rolecall_pki::credentials::password;
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres, rows};

use crate::common::{Bench, enabled, ended, unique};

/// The account with a new password.
fn with_password(mut desired: Desired) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        let verifier =
            password::verifier(Dialect::PostgreSql, &desired.account, &password::generate().unwrap());
        enabled.credential = Credential::Password { set: Some(verifier) };
        desired.owner.password_generation = 1;
    }
    desired
}

/// The round trips and statements of one step, after those that read the account.
async fn cost(engine: &Engine, desired: &Desired) -> (u64, u64) {
    let before = engine.stats();
    let observed = engine.observe(&desired.query()).await.unwrap();
    let plan = plan::plan(desired, &observed).unwrap();
    let read = engine.stats();
    assert_eq!((read.round_trips - before.round_trips, read.statements - before.statements), (1, 1));
    engine.apply(&plan).await.unwrap();
    let after = engine.stats();
    (after.round_trips - read.round_trips, after.statements - read.statements)
}

/// The same for an account of each kind, from its creation on.
async fn costs(bench: &Bench, engine: &Engine, role: &str, as_creator: bool, place: &str) {
    let [user, dropped] = ["alice", "bob"].map(unique);
    let start = enabled(&user, &[role]);
    // The role, its record, what it is a member of: a block.
    assert_eq!(cost(engine, &start).await, (1, 1), "{place}: create");
    // The login (read, taken, checked), what it had (reset, checked, revoked, settings) as a block, and that nobody is left.
    assert_eq!(cost(engine, &ended(&user, false)).await, (3, 5), "{place}: end");
    // Recorded, reset, checked twice, settings, roles, login.
    assert_eq!(cost(engine, &start).await, (1, 1), "{place}: start again");
    assert_eq!(cost(engine, &ended(&user, false)).await, (3, 5), "{place}: end again");
    // What has a verifier in it is no part of a block: the login, of an account that is made by a creator too.
    assert_eq!(cost(engine, &with_password(start)).await, (1, 2), "{place}: start with a password");
    assert_eq!(
        cost(engine, &with_password(enabled(&dropped, &[role]))).await,
        (1, 2),
        "{place}: create with one"
    );
    // The login; locked, checked, dropped, as a block.
    for user in [&user, &dropped] {
        let held = bench
            .value(&format!(
                "select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member
                 where m.roleid = '{user}'::regrole and m.admin_option and r.rolname like 'rolecall-creator:%'"
            ))
            .await;
        assert_eq!(held, if as_creator { "1" } else { "0" }, "{place}");
        assert_eq!(cost(engine, &ended(user, true)).await, (2, 4), "{place}: drop");
    }
}

#[tokio::test]
async fn a_session_costs_a_known_number_of_round_trips_and_statements() {
    for version in PgVersion::ALL {
        // Where nobody else logs in: an account is not dropped at once while somebody does.
        let pg = Postgres::builder(version).setting("autovacuum", "off").start().await.unwrap();
        let bench = Bench::on(Box::leak(Box::new(pg)), "createrole").await;
        let role = bench.role("reader").await;
        bench.engine.preflight(&Default::default()).await.unwrap();
        costs(&bench, &bench.engine, &role, false, &format!("{version}")).await;
        assert_eq!(bench.engine.stats().connections_opened, 1);
        if version >= PgVersion::V16 {
            through_a_creator(&bench, &role, &format!("{version}, through a creator")).await;
        }
    }
}

/// The same where the admin user holds as many roles as a creator may.
async fn through_a_creator(bench: &Bench, role: &str, place: &str) {
    for name in ["writer", "owner", "auditor", "tester"] {
        bench.role(name).await;
    }
    let engine = Engine::new(Config { accounts_per_creator: 5, ..bench.config() }).unwrap();
    for step in [enabled(&unique("first"), &[role]), ended(&unique("none"), true)] {
        let plan = plan::plan(&step, &engine.observe(&step.query()).await.unwrap()).unwrap();
        engine.apply(&plan).await.unwrap();
    }
    costs(bench, &engine, role, true, place).await;
}

#[tokio::test]
async fn of_a_block_that_fails_it_is_said_what_failed() {
    let bench = Bench::new(PgVersion::V17).await;
    let role = bench.role("reader").await;
    let desired = enabled(&unique("alice"), &[&role]);
    let plan = plan::plan(&desired, &bench.observe(&desired).await).unwrap();
    bench.sql(&format!("revoke {role} from {}", bench.admin)).await;
    let error = bench.engine.apply(&plan).await.unwrap_err();
    assert_eq!(error.reason, Reason::MissingAdminOption, "{error}");
    assert!(error.attempted.starts_with("granting") && error.attempted.contains(&role), "{error}");
    assert!(error.remedy.contains("WITH ADMIN OPTION"), "{error}");
    assert!(bench.observe(&desired).await.account.is_none(), "all of it is undone");
}

#[tokio::test]
async fn sessions_need_no_blocks() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let role = bench.role("reader").await;
        let database = unique("plain");
        bench.sql(&format!("create database {database}")).await;
        let client = bench.pg.superuser(&database).await.unwrap();
        rows(&client, "drop extension plpgsql").await.unwrap();
        drop(client);
        let config = Config { default_database: Some(database.clone()), ..bench.config() };
        let bench = Bench { engine: Engine::new(config).unwrap(), ..bench };
        let user = unique("alice");
        for (number, drops) in [(1, false), (2, true)] {
            // From 16 on a block is what revokes memberships: nothing is left to revoke of an account that is dropped at once.
            let roles: &[&str] = if drops || version == PgVersion::V15 { &[&role] } else { &[] };
            bench.reach(&enabled(&user, roles)).await;
            let may_log_in = format!("select rolcanlogin from pg_roles where rolname = '{user}'");
            assert_eq!(bench.value(&may_log_in).await, "t", "{version}, {number}");
            let applied = bench.reach(&ended(&user, drops)).await;
            assert_eq!(applied.dropped, drops, "{version}, {number}");
            assert_eq!(bench.value(&may_log_in).await, if drops { "" } else { "f" }, "{version}, {number}");
        }
    }
}
