//! What a preflight finds missing, with the statement that fixes it.

use rolecall_engine::examine::Hba;
use rolecall_engine::{Class, Engine as _, Examine as _, Finding, Needs, Reason};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres};

use crate::common::{Bench, Failure, apply, config, enabled, unique};

fn find(findings: &[Finding], reason: Reason) -> Option<&Finding> {
    findings.iter().find(|finding| finding.reason == reason)
}

/// The statement at the end of a finding.
fn statement(finding: &Finding) -> &str {
    finding.message.split_once(": run ").unwrap().1
}

#[tokio::test]
async fn the_reported_statement_fixes_what_is_missing() {
    for version in PgVersion::ALL {
        // Here nobody has made the marker yet.
        let pg = Postgres::start(version).await.unwrap();
        pg.sql("postgres", "create role adm login; create role reader; create role heir").await.unwrap();
        for database in ["closed", "spare"] {
            pg.sql("postgres", &format!("create database {database}")).await.unwrap();
        }
        pg.sql("postgres", "revoke connect on database closed from public").await.unwrap();
        let engine = Engine::new(config(&pg, "adm", &pg.client_cert("adm").unwrap())).unwrap();
        let needs = Needs {
            roles: ["reader".to_owned()].into(),
            databases: ["closed".to_owned(), "postgres".to_owned()].into(),
            new_owners: ["heir".to_owned()].into(),
            create_missing_roles: false,
        };

        let preflight = engine.preflight(&needs).await.unwrap();
        // What follows is a dot, or the letters of a version before its release.
        let digits = preflight.version.split(|character: char| !character.is_ascii_digit()).next();
        assert_eq!(digits, Some(version.major().to_string().as_str()), "{preflight:?}");
        assert_eq!(preflight.findings[0].reason, Reason::MissingCreateRole, "{preflight:?}");
        assert!(find(&preflight.findings, Reason::MissingConnect).is_some(), "{version}: {preflight:?}");
        assert!(find(&preflight.findings, Reason::CannotReassign).is_some(), "{version}: {preflight:?}");
        for _ in 0..5 {
            let preflight = engine.preflight(&needs).await.unwrap();
            for finding in preflight.findings.iter().filter(|finding| finding.reason != Reason::PublicConnect)
            {
                pg.sql("postgres", statement(finding)).await.unwrap();
            }
        }
        let preflight = engine.preflight(&needs).await.unwrap();
        assert!(
            preflight.findings.iter().all(|finding| finding.reason == Reason::PublicConnect),
            "{version}: {preflight:?}"
        );
        apply(&engine, &enabled("alice", &["reader"])).await.unwrap();
        let marker = "select count(*) from pg_roles where rolname = 'teleport-auto-user'";
        assert_eq!(pg.value("postgres", marker).await.unwrap().as_deref(), Some("1"));

        // The warning is about what no session needs, and goes by its statement, too.
        let warnings: Vec<&str> = preflight.findings.iter().map(|finding| finding.object.as_str()).collect();
        assert_eq!(warnings, ["spare"], "{version}");
        pg.sql("postgres", statement(&preflight.findings[0])).await.unwrap();
        assert!(engine.preflight(&needs).await.unwrap().findings.is_empty());
    }
}

#[tokio::test]
async fn a_marker_that_somebody_else_has_made() {
    for version in PgVersion::ALL {
        let pg = Postgres::start(version).await.unwrap();
        pg.sql("postgres", "create role adm login createrole; create role \"teleport-auto-user\"")
            .await
            .unwrap();
        let engine = Engine::new(config(&pg, "adm", &pg.client_cert("adm").unwrap())).unwrap();
        let preflight = engine.preflight(&Needs::default()).await.unwrap();
        let Some(finding) = find(&preflight.findings, Reason::MissingAdminOption) else {
            assert_eq!(version, PgVersion::V15);
            continue;
        };
        assert_eq!(finding.object, "teleport-auto-user");
        let Err(Failure::Error(error)) = apply(&engine, &enabled("alice", &[])).await else {
            panic!("it worked")
        };
        assert_eq!(error.reason, Reason::MissingAdminOption, "{error}");
        assert!(error.remedy.contains("WITH ADMIN OPTION"), "{error}");
        assert_eq!(
            pg.value("postgres", "select count(*) from pg_roles where rolname = 'alice'")
                .await
                .unwrap()
                .as_deref(),
            Some("0")
        );
        pg.sql("postgres", statement(finding)).await.unwrap();
        apply(&engine, &enabled("alice", &[])).await.unwrap();
    }
}

#[tokio::test]
async fn a_marker_that_somebody_has_dropped_is_made_again() {
    let pg = Postgres::start(PgVersion::V17).await.unwrap();
    let certificate = pg.create_admin("adm").await.unwrap();
    let engine = Engine::new(config(&pg, "adm", &certificate)).unwrap();
    engine.preflight(&Needs::default()).await.unwrap();
    pg.sql("postgres", "drop role \"teleport-auto-user\"").await.unwrap();
    apply(&engine, &enabled("alice", &[])).await.unwrap();
    assert_eq!(engine.inventory().await.unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn without_createrole_nothing_starts_and_the_reason_is_reported() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        bench.sql(&format!("alter role {} nocreaterole", bench.admin)).await;
        let Err(Failure::Error(error)) = bench.apply(&enabled(&unique("alice"), &[])).await else {
            panic!("{version}: it worked")
        };
        assert_eq!(error.reason, Reason::MissingCreateRole, "{error}");
        assert!(error.remedy.contains("CREATEROLE"), "{error}");
    }
}

#[tokio::test]
async fn a_replica_is_a_read_only_endpoint() {
    let pg = Postgres::start(PgVersion::V17).await.unwrap();
    let certificate = pg.create_admin("adm").await.unwrap();
    let engine = Engine::new(config(&pg, "adm", &certificate)).unwrap();
    engine.preflight(&Needs::default()).await.unwrap();
    pg.stop().await;
    std::fs::write(pg.socket_dir().join("data/standby.signal"), "").unwrap();
    pg.start_again().await.unwrap();

    let preflight = engine.preflight(&Needs::default()).await.unwrap();
    assert_eq!(preflight.findings[0].reason, Reason::ReadOnlyEndpoint, "{preflight:?}");
    let Err(Failure::Error(error)) = apply(&engine, &enabled("alice", &[])).await else {
        panic!("it worked")
    };
    assert_eq!((error.reason, error.code.as_str()), (Reason::ReadOnlyEndpoint, "25006"), "{error}");

    // Behind a name that leads to a cluster's writer it is a failover under way.
    let writer = Config { leads_to_writer: true, ..config(&pg, "adm", &certificate) };
    let engine = Engine::new(writer).unwrap();
    let Err(Failure::Error(refused)) = apply(&engine, &enabled("alice", &[])).await else {
        panic!("it worked")
    };
    for error in [engine.preflight(&Needs::default()).await.unwrap_err(), refused] {
        assert_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable), "{error}");
        assert!(error.detail.contains("failover"), "{error}");
    }
}

#[tokio::test]
async fn an_admin_user_that_rds_keeps_from_setting_passwords() {
    let pg = Postgres::builder(PgVersion::V17)
        .setting("rds.restrict_password_commands", "1")
        .start()
        .await
        .unwrap();
    let certificate = pg.create_admin("adm").await.unwrap();
    pg.sql("postgres", "create role rds_password; create role rds_superuser").await.unwrap();
    pg.sql("postgres", "grant rds_password to rds_superuser").await.unwrap();
    let engine = Engine::new(config(&pg, "adm", &certificate)).unwrap();
    let findings = engine.preflight(&Needs::default()).await.unwrap().findings;
    let finding = find(&findings, Reason::MissingCreateRole).unwrap();
    assert_eq!(statement(finding), "GRANT rds_password TO \"adm\"");
    pg.sql("postgres", "grant rds_superuser to adm").await.unwrap();
    let findings = engine.preflight(&Needs::default()).await.unwrap().findings;
    assert_eq!(find(&findings, Reason::MissingCreateRole), None, "also through another role");
}

#[tokio::test]
async fn admin_users_that_hand_the_marker_out_are_no_accounts() {
    for version in PgVersion::ALL {
        let pg: &Postgres = Box::leak(Box::new(Postgres::start(version).await.unwrap()));
        let certificate = pg.create_admin("adm").await.unwrap();
        let engine = Engine::new(config(pg, "adm", &certificate)).unwrap();
        // It creates the marker, and is a member of it from then on.
        engine.preflight(&Needs::default()).await.unwrap();
        let other =
            "create role other login createrole; grant \"teleport-auto-user\" to other with admin option";
        pg.sql("postgres", other).await.unwrap();
        for admin in ["adm", "other"] {
            let desired = enabled(admin, &[]);
            let Err(Failure::Refusal(refusal)) = apply(&engine, &desired).await else { panic!("it worked") };
            let expected = if admin == "adm" { Reason::InvalidUsername } else { Reason::UserConflict };
            assert_eq!(refusal.reason, expected, "{version}: {refusal}");
            assert!(!engine.observe(&desired.query()).await.unwrap().account.unwrap().managed);
        }
        assert!(engine.inventory().await.unwrap().accounts.is_empty(), "{version}");
    }
}

#[tokio::test]
async fn a_server_identifies_itself() {
    let bench = Bench::new(PgVersion::V17).await;
    let identity = bench.engine.preflight(&Needs::default()).await.unwrap().identity;
    assert_eq!(identity, bench.value("select system_identifier from pg_control_system()").await);
    // And where the admin user may not ask, by its address.
    let pg = Postgres::start(PgVersion::V17).await.unwrap();
    let certificate = pg.create_admin("adm").await.unwrap();
    pg.sql("postgres", "revoke execute on function pg_control_system() from public").await.unwrap();
    let engine = Engine::new(config(&pg, "adm", &certificate)).unwrap();
    let identity = engine.preflight(&Needs::default()).await.unwrap().identity;
    assert_eq!(identity, pg.address());
}

#[tokio::test]
async fn a_caller_that_only_reads_makes_no_marker_and_takes_the_server_for_what_it_is() {
    let pg = Postgres::start(PgVersion::V17).await.unwrap();
    pg.sql("postgres", "create role adm login createrole; create role reader").await.unwrap();
    let only_reads = Config { read_only: true, ..config(&pg, "adm", &pg.client_cert("adm").unwrap()) };
    let engine = Engine::new(only_reads).unwrap();
    let needs = Needs {
        roles: ["reader".to_owned(), "gone".to_owned()].into(),
        databases: ["postgres".to_owned(), "nowhere".to_owned()].into(),
        ..Needs::default()
    };
    let preflight = engine.preflight(&needs).await.unwrap();
    let reasons: Vec<Reason> = preflight.findings.iter().map(|finding| finding.reason).collect();
    assert_eq!(reasons, [Reason::MissingAdminOption], "{preflight:?}");
    assert_eq!(preflight.findings[0].fix, ["GRANT \"reader\" TO \"adm\" WITH ADMIN OPTION"]);
    assert!(preflight.findings[0].message.ends_with(&format!(": run {}", preflight.findings[0].fix[0])));
    assert!(preflight.absent_roles.iter().eq(["gone"]) && preflight.absent_databases.iter().eq(["nowhere"]));
    let marker = "select count(*) from pg_roles where rolname = 'teleport-auto-user'";
    assert_eq!(pg.value("postgres", marker).await.unwrap().as_deref(), Some("0"));
}

#[tokio::test]
async fn clock_event_triggers_and_pg_hba_are_read_as_far_as_the_admin_user_may() {
    for version in PgVersion::ALL {
        let pg = Postgres::start(version).await.unwrap();
        pg.sql("postgres", "create role adm login createrole").await.unwrap();
        pg.sql("postgres", "create database app").await.unwrap();
        let trigger = "create function f() returns event_trigger language plpgsql as 'begin end';
             create event trigger watch on ddl_command_end execute function f();
             create event trigger off on ddl_command_end execute function f();
             alter event trigger off disable";
        pg.sql("app", trigger).await.unwrap();
        let only_reads = Config { read_only: true, ..config(&pg, "adm", &pg.client_cert("adm").unwrap()) };
        let engine = Engine::new(only_reads).unwrap();
        let databases = ["app".to_owned(), "nowhere".to_owned()].into();
        let found = engine.examine(&databases).await.unwrap();
        let now = jiff::Timestamp::now().as_microsecond();
        assert!(found.clock.is_some_and(|clock| (clock - now).abs() < 60_000_000), "{version}: {found:?}");
        let names: Vec<_> = found
            .event_triggers
            .iter()
            .map(|trigger| (trigger.database.as_str(), trigger.name.as_str(), trigger.function.as_str()))
            .collect();
        assert_eq!(names, [("app", "watch", "public.f()")], "{version}");
        assert_eq!(found.hba, Hba::Closed, "{version}");
        assert!(found.unread.len() == 1 && found.unread[0].contains("nowhere"), "{version}: {found:?}");

        let open =
            "grant select on pg_hba_file_rules to adm; grant execute on function pg_hba_file_rules() to adm";
        pg.sql("postgres", open).await.unwrap();
        let Hba::Rules(rules) = engine.examine(&databases).await.unwrap().hba else { panic!("{version}") };
        assert!(rules.iter().any(|rule| rule.connection == "hostssl" && rule.method == "cert"), "{rules:?}");
    }
}
