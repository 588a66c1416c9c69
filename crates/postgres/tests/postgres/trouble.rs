//! Servers and people who make trouble.

use futures::future::join_all;
use rolecall_engine::{Class, Engine as _, Needs, Reason, plan};
use rolecall_testbed::{PgVersion, Postgres, rows};

use crate::common::{Bench, Failure, apply, enabled, ended, unique};

#[tokio::test]
async fn an_end_survives_a_crash_right_after() {
    for version in PgVersion::ALL {
        let builder = Postgres::builder(version);
        // The server and the admin user are set against us; commits are kept back for as long as can be.
        let builder = builder.setting("synchronous_commit", "off").setting("wal_writer_delay", "10s");
        let pg: &Postgres = Box::leak(Box::new(builder.start().await.unwrap()));
        let bench = Bench::on(pg, "createrole").await;
        bench.sql(&format!("alter role {} set synchronous_commit = off", bench.admin)).await;
        let (kept, dropped) = (unique("kept"), unique("dropped"));
        for user in [&kept, &dropped] {
            bench.reach(&enabled(user, &[])).await;
        }
        bench.sql("checkpoint").await;
        let ends = (ended(&kept, false), ended(&dropped, true));
        tokio::join!(bench.reach(&ends.0), bench.reach(&ends.1));
        pg.kill().await;
        pg.start_again().await.unwrap();
        assert_eq!(
            bench.value(&format!("select rolcanlogin from pg_roles where rolname = '{kept}'")).await,
            "f"
        );
        assert_eq!(
            bench.value(&format!("select count(*) from pg_roles where rolname = '{dropped}'")).await,
            "0"
        );
    }
}

#[tokio::test]
async fn an_account_that_was_made_superuser_is_reported_with_what_to_do() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let user = unique("root");
        bench.reach(&enabled(&user, &[])).await;
        let _client = bench.login(&user).await.unwrap();
        bench.sql(&format!("alter role {user} superuser")).await;
        let Err(Failure::Error(error)) = bench.apply(&ended(&user, true)).await else { panic!("it worked") };
        assert_eq!((error.class, error.code.as_str()), (Class::Refused, "42501"), "{version}: {error}");
        assert!(error.remedy.contains("NOSUPERUSER"), "{error}");
        bench.sql(&format!("alter role {user} nosuperuser")).await;
        let applied = bench.reach(&ended(&user, true)).await;
        assert!(applied.dropped);
    }
}

#[tokio::test]
async fn settings_that_only_a_superuser_can_clear_delay_nothing() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let user = unique("alice");
        bench.reach(&enabled(&user, &[])).await;
        bench.sql(&format!("alter role {user} set log_statement = 'all'; alter role {user} set my.own = 'x'; alter role {user} set work_mem = '1MB'")).await;
        bench.reach(&ended(&user, false)).await;
        bench.reach(&enabled(&user, &[])).await;
        bench.reach(&ended(&user, true)).await;
    }
}

#[tokio::test]
async fn what_a_user_passed_on_goes_with_it() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let (user, friend, role) = (unique("alice"), unique("friend"), bench.role("shared").await);
        bench.reach(&enabled(&user, &[&role])).await;
        // Somebody gave it ADMIN OPTION, as the admin user would.
        bench
            .sql(&format!(
                "create role {friend}; set role {}; grant {role} to {user} with admin option",
                bench.admin
            ))
            .await;
        let client = bench.login(&user).await.unwrap();
        rows(&client, &format!("grant {role} to {friend}")).await.unwrap();
        bench.reach(&ended(&user, false)).await;
        if version.major() >= 16 {
            let left = format!("select count(*) from pg_auth_members where member = '{friend}'::regrole");
            assert_eq!(bench.value(&left).await, "0", "{version}");
        }
        bench.reach(&enabled(&user, &[&role])).await;
        bench.reach(&ended(&user, true)).await;
    }
}

#[tokio::test]
async fn grants_of_others_whose_rights_the_admin_user_has_are_revoked() {
    for version in PgVersion::ALL.into_iter().filter(|version| *version >= PgVersion::V16) {
        let bench = Bench::new(version).await;
        let (user, role, other) = (unique("alice"), bench.role("shared").await, unique("other"));
        bench.reach(&enabled(&user, &[])).await;
        bench
            .sql(&format!(
                "create role {other}; grant {role} to {other} with admin option; grant {other} to {} with inherit true;
                 grant {role} to {user} granted by {other}; set role {}; grant {role} to {user}",
                bench.admin, bench.admin
            ))
            .await;
        let observed = bench.observe(&ended(&user, false)).await.account.unwrap();
        assert_eq!(observed.memberships.len(), 2, "{version}: {observed:?}");
        assert!(observed.memberships.iter().all(|membership| membership.revocable), "{observed:?}");
        bench.reach(&ended(&user, false)).await;
    }
}

#[tokio::test]
async fn an_account_of_another_admin_user_is_taken_over() {
    for version in PgVersion::ALL {
        let (theirs, ours) = (Bench::new(version).await, Bench::new(version).await);
        let user = unique("alice");
        theirs.reach(&enabled(&user, &[])).await;
        theirs.reach(&ended(&user, false)).await;
        let mut desired = enabled(&user, &[]);
        desired.owner.uid = "ours".to_owned();
        if version.major() >= 16 {
            let Err(Failure::Error(error)) = ours.apply(&desired).await else {
                panic!("{version}: it worked")
            };
            assert_eq!((error.class, error.reason), (Class::Refused, Reason::MissingAdminOption), "{error}");
            // The reported statement is enough, and the other admin user is unchanged.
            let (_, statement) = error.remedy.split_once("run ").unwrap();
            ours.sql(statement).await;
        }
        ours.reach(&desired).await;
        let mut end = ended(&user, true);
        end.owner.uid = "ours".to_owned();
        assert!(ours.reach(&end).await.dropped, "{version}");
    }
}

#[tokio::test]
async fn why_an_account_is_kept_names_what_and_where() {
    let bench = Bench::new(PgVersion::V17).await;
    let (user, database, table) = (unique("alice"), unique("shop"), unique("table"));
    bench.reach(&enabled(&user, &[])).await;
    bench.sql(&format!("create database {database}")).await;
    let here = format!(
        "create schema {table} authorization {user}; create table {table} (); alter table {table} owner to {user}"
    );
    bench.pg.sql(&database, &here).await.unwrap();
    bench.sql(&format!("create table {table} (); grant select on {table} to {user}")).await;
    let why = bench.reach(&ended(&user, true)).await.kept_because.unwrap();
    assert!(why.contains(&format!("it owns 2 objects in the database \"{database}\"")), "{why}");
    assert!(why.contains("it has rights on 1 object in the database \"postgres\""), "{why}");
    assert!(why.contains("2BP01"), "{why}");
}

#[tokio::test]
async fn what_an_account_owns_is_named_up_to_ten_and_counted_beyond() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let (user, shop, closed) = (unique("alice"), unique("a_shop"), unique("b_closed"));
        bench.reach(&enabled(&user, &[])).await;
        for database in [&shop, &closed] {
            bench.sql(&format!("create database {database}")).await;
        }
        let own = format!(
            "create schema app; create table app.\"Odd one\" (id int); alter table app.\"Odd one\" owner to {user};
            create function app.f(int) returns int language sql as 'select 1'; alter function app.f owner to {user};
            revoke usage on schema app from public"
        );
        bench.pg.sql(&shop, &own).await.unwrap();
        let here = unique("many");
        let many = format!(
            "create schema {here}; do $$ begin for i in 1..12 loop
                execute 'create table {here}.t' || i || ' (); alter table {here}.t' || i || ' owner to {user}';
            end loop; end $$"
        );
        bench.sql(&many).await;
        bench
            .pg
            .sql(&closed, &format!("create table secret (); alter table secret owner to {user}"))
            .await
            .unwrap();
        bench.sql(&format!("revoke connect on database {closed} from public")).await;
        let why = bench.reach(&ended(&user, true)).await.kept_because.unwrap();
        let expected = [
            format!(
                r#"it owns 2 objects in the database "{shop}" (function app.f(integer), table app."Odd one")"#
            ),
            // Nobody can read it.
            format!(r#"it owns 1 object in the database "{closed}","#),
            format!(r#"it owns 12 objects in the database "postgres" (table {here}.t1, table {here}.t10, "#),
            " and 4 more)".to_owned(),
        ];
        for expected in expected {
            assert!(why.contains(&expected), "{version}: {expected} is not in {why}");
        }
        bench.sql(&format!("drop schema {here} cascade")).await;
    }
}

#[tokio::test]
async fn a_right_to_connect_stays_while_the_account_does() {
    let bench = Bench::new(PgVersion::V17).await;
    let (user, database) = (unique("alice"), unique("closed"));
    bench.sql(&format!("create database {database}")).await;
    bench.sql(&format!("revoke connect on database {database} from public")).await;
    bench.reach(&enabled(&user, &[])).await;
    bench.sql(&format!("grant connect, create on database {database} to {user}")).await;
    bench.sql(&format!("alter database {database} owner to {}", bench.admin)).await;
    bench.reach(&ended(&user, false)).await;
    let has = async |right: &str| {
        bench.value(&format!("select has_database_privilege('{user}', '{database}', '{right}')")).await
    };
    assert_eq!((has("connect").await, has("create").await), ("t".to_owned(), "f".to_owned()));
    bench.reach(&enabled(&user, &[])).await;
    assert_eq!(has("connect").await, "t");
    assert!(bench.reach(&ended(&user, true)).await.dropped);
}

#[tokio::test]
async fn objects_of_every_kind_are_no_hindrance() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let (user, database, admin) = (unique("alice"), unique("full"), bench.admin.clone());
        bench.reach(&enabled(&user, &[])).await;
        bench.sql(&format!("create database {database} owner {admin}")).await;
        let grants = format!(
            "create schema \"S x\"; create table \"S x\".\"T t\" (a int, b int); create sequence \"S x\".s; create type \"S x\".e as enum ('a');
             create function \"S x\".f(int, text) returns int language sql as 'select 1';
             create procedure \"S x\".p() language sql as 'select 1';
             grant usage on schema \"S x\" to \"{user}\"; grant select, update on \"S x\".\"T t\" to \"{user}\" with grant option;
             grant insert (b) on \"S x\".\"T t\" to \"{user}\"; grant usage on sequence \"S x\".s to \"{user}\";
             grant usage on type \"S x\".e to \"{user}\"; grant execute on function \"S x\".f(int, text) to \"{user}\";
             grant execute on procedure \"S x\".p() to \"{user}\"; select lo_create(4711); grant select on large object 4711 to \"{user}\";
             alter default privileges grant select on tables to \"{user}\";
             alter default privileges in schema \"S x\" grant usage on sequences to \"{user}\";
             grant connect, temporary on database {database} to \"{user}\""
        );
        let client = bench.pg.connect(&database, &bench.certificate).await.unwrap();
        rows(&client, &grants).await.unwrap_or_else(|error| panic!("{error}"));
        let applied = bench.reach(&ended(&user, true)).await;
        assert!(applied.dropped, "{version}: {applied:?}");
    }
}

#[tokio::test]
async fn a_server_that_changes_the_rules_of_text_is_no_danger() {
    let settings = |builder: rolecall_testbed::PostgresBuilder| {
        builder.setting("standard_conforming_strings", "off").setting("escape_string_warning", "off")
    };
    let pg: &Postgres =
        Box::leak(Box::new(settings(Postgres::builder(PgVersion::V17)).start().await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    let user = "a\\'; drop role x; --";
    bench.reach(&enabled(user, &[])).await;
    assert_eq!(bench.engine.inventory().await.unwrap().accounts[0].account.as_str(), user);
    bench.reach(&ended(user, true)).await;
}

#[tokio::test]
async fn two_operators_fight_over_an_account_and_one_has_it() {
    let bench = Bench::new(PgVersion::V17).await;
    for _ in 0..10 {
        let user = unique("contested");
        bench.reach(&enabled(&user, &[])).await;
        bench.reach(&ended(&user, false)).await;
        let others: Vec<_> = (0..4).map(|_| bench.another()).collect();
        let fights = others.iter().enumerate().map(async |(i, engine)| {
            let mut desired = enabled(&user, &[]);
            desired.owner.uid = format!("uid-{i}");
            let observed = engine.observe(&desired.query()).await.unwrap();
            match plan::plan(&desired, &observed) {
                Ok(plan) => engine.apply(&plan).await.map(drop),
                Err(refusal) => {
                    assert_eq!(refusal.reason, Reason::AccountInUse);
                    Ok(())
                }
            }
        });
        let outcomes = join_all(fights).await;
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!(error.class, Class::Transient, "{error}");
        }
        let inventory = bench.engine.inventory().await.unwrap();
        let entry = inventory.accounts.iter().find(|entry| entry.account.as_str() == user).unwrap();
        assert!(entry.enabled && entry.owner.is_some());
    }
}

#[tokio::test]
async fn one_query_shows_which_accounts_somebody_changed() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let (user, other) = (unique("alice"), unique("bob"));
        for user in [&user, &other] {
            bench.reach(&enabled(user, &[])).await;
        }
        let strays = async || {
            let before = bench.engine.stats();
            let inventory = bench.engine.inventory().await.unwrap();
            let after = bench.engine.stats();
            assert_eq!(after.statements - before.statements, 1, "{version}");
            // Others work on the same server.
            let names = inventory.accounts.iter().filter(|entry| entry.strays);
            let names =
                names.map(|entry| entry.account.as_str()).filter(|name| *name == user || *name == other);
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(strays().await, [] as [&str; 0], "{version}");
        let table = unique("of_nobody");
        bench.sql(&format!("create table {table} ()")).await;
        let alter = |what: &str| format!("alter role {user} {what}");
        for (change, back) in [
            (alter("connection limit 3"), alter("connection limit -1")),
            (alter("valid until '2040-01-01'"), alter("valid until 'infinity'")),
            (alter("noinherit"), alter("inherit")),
            (alter("createdb"), alter("nocreatedb")),
            (alter("bypassrls"), alter("nobypassrls")),
            (alter("set search_path = x"), alter("reset all")),
            (format!("grant select on {table} to {user}"), format!("revoke select on {table} from {user}")),
        ] {
            bench.sql(&change).await;
            assert_eq!(strays().await, [user.as_str()], "{version}: {change}");
            bench.sql(&back).await;
            assert_eq!(strays().await, [] as [&str; 0], "{version}: {back}");
        }
    }
}

#[tokio::test]
async fn a_server_in_which_nothing_happens_is_asked_once_for_all_that_is_looked_at() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let role = bench.role("reader").await;
        let user = unique("alice");
        let needs = Needs { roles: [role.clone()].into(), ..Needs::default() };
        let look = async || {
            let before = bench.engine.stats().round_trips;
            let (preflight, inventory) = bench.engine.look(&needs).await.unwrap();
            (bench.engine.stats().round_trips - before, preflight, inventory.unwrap())
        };
        let shows = |inventory: &rolecall_engine::Inventory| {
            inventory.accounts.iter().any(|entry| entry.account.as_str() == user && entry.enabled)
        };
        let (_, first, none) = look().await;
        assert!(!shows(&none));
        apply(&bench.engine, &enabled(&user, &[&role])).await.unwrap();
        let (round_trips, preflight, inventory) = look().await;
        assert_eq!(round_trips, 1, "{version}");
        assert!(shows(&inventory));
        let alone = bench.engine.preflight(&needs).await.unwrap();
        for other in [&first, &alone] {
            assert_eq!((&preflight.version, &preflight.identity), (&other.version, &other.identity));
            assert_eq!(
                (&preflight.findings, &preflight.absent_roles),
                (&other.findings, &other.absent_roles)
            );
            assert_eq!(
                (&preflight.history.branch, &preflight.history.run),
                (&other.history.branch, &other.history.run)
            );
        }
        let gone = Needs { roles: [unique("nobody")].into(), ..Needs::default() };
        let (preflight, _) = bench.engine.look(&gone).await.unwrap();
        assert_eq!(preflight.absent_roles, gone.roles);
    }
}
