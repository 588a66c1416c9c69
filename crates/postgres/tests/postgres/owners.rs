//! What whoever owns a logical database, or may alter the admin user, can do about the admin user's own sessions.

use std::time::Duration;

use rolecall_engine::{Class, Desired, Engine as _, Needs, Reason, Want};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::{PgVersion, Postgres, rows};

use crate::common::{Bench, Client, Failure, apply, enabled, ended, unique};

/// A logical database whose owner can log in, and an account with access to it. The admin user may become the owner.
struct Shop {
    bench: Bench,
    database: String,
    owner: String,
    user: String,
}

impl Shop {
    async fn new(version: PgVersion) -> Self {
        Self::on(Bench::new(version).await).await
    }

    async fn on(bench: Bench) -> Self {
        let (database, owner, user) = (unique("shop"), unique("owner"), unique("alice"));
        bench.sql(&format!("create role {owner} login; grant {owner} to {}", bench.admin)).await;
        bench.sql(&format!("create database {database} owner {owner}")).await;
        let shop = Self { bench, database, owner, user };
        shop.start().await;
        shop
    }

    fn here(&self, mut desired: Desired) -> Desired {
        desired.session_database = Some(self.database.clone());
        if let Want::Enabled(enabled) = &mut desired.want {
            enabled.databases = [self.database.clone()].into();
        }
        desired
    }

    async fn start(&self) {
        apply(&self.bench.another(), &self.here(enabled(&self.user, &[]))).await.unwrap();
        assert!(self.is_open().await);
    }

    /// Ends the access as an operator does that has just started.
    async fn end(&self, circumstance: &str) {
        self.end_with(&self.bench.another(), circumstance).await;
    }

    async fn end_with(&self, engine: &Engine, circumstance: &str) {
        let desired = self.here(ended(&self.user, false));
        let mut result = apply(engine, &desired).await;
        for _ in 0..3 {
            // Logins under way, of other tests too, are waited for.
            if matches!(&result, Err(Failure::Error(error)) if error.class == Class::Transient) {
                result = apply(engine, &desired).await;
            }
        }
        assert!(result.is_ok(), "{} {circumstance}: {result:?}", self.bench.pg.version());
        assert!(!self.is_open().await, "{circumstance}");
    }

    async fn is_open(&self) -> bool {
        let query = format!("select rolcanlogin from pg_roles where rolname = '{}'", self.user);
        self.bench.value(&query).await == "t"
    }

    /// A statement of the owner, from another database.
    async fn owner_says(&self, statement: &str) {
        let owner = self.bench.login(&self.owner).await.unwrap();
        rows(&owner, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    async fn owner(&self) -> Client {
        let certificate = self.bench.pg.client_cert(&self.owner).unwrap();
        self.bench.pg.connect(&self.database, &certificate).await.unwrap()
    }
}

#[tokio::test]
async fn what_an_owner_sets_for_its_database_does_not_stop_an_end() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version).await;
        let mut settings = vec![
            format!("role = '{}'", shop.owner),
            format!("session_authorization = '{}'", shop.owner),
            "local_preload_libraries = 'nothing'".to_owned(),
            "idle_session_timeout = 1".to_owned(),
            "idle_in_transaction_session_timeout = 1".to_owned(),
            "statement_timeout = 1".to_owned(),
            "lock_timeout = 1".to_owned(),
            "default_transaction_read_only = on".to_owned(),
            "exit_on_error = on".to_owned(),
            "search_path = public, pg_catalog".to_owned(),
            "tcp_user_timeout = 1".to_owned(),
        ];
        if version.major() >= 17 {
            settings.push("transaction_timeout = 1".to_owned());
        }
        for setting in &settings {
            shop.owner_says(&format!("alter database {} set {setting}", shop.database)).await;
            shop.end(setting).await;
            shop.owner_says(&format!("alter database {} reset all", shop.database)).await;
            shop.start().await;
        }
        // All at once, and for the admin user itself, by somebody who may alter it.
        for setting in settings {
            shop.owner_says(&format!("alter database {} set {setting}", shop.database)).await;
            if !setting.starts_with("session_authorization") {
                shop.bench.sql(&format!("alter role {} set {setting}", shop.bench.admin)).await;
            }
        }
        for setting in ["plpgsql.extra_errors = 'all'", "my.own = 'x'"] {
            shop.bench.sql(&format!("alter role {} set {setting}", shop.bench.admin)).await;
        }
        shop.end("all at once").await;
        shop.start().await;
        shop.end("all at once").await;
    }
}

#[tokio::test]
async fn whatever_can_be_set_for_a_database_is_not_what_the_admin_user_works_with() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version).await;
        let hostile = "select format('alter database %I set %I = %L', '_DB_', name, case vartype
                when 'bool' then case boot_val when 'on' then 'off' else 'on' end
                when 'enum' then (select e from unnest(enumvals) e where e is distinct from boot_val order by e limit 1)
                when 'string' then 'nothing'
                else case when boot_val = min_val or min_val = '-1' then max_val else min_val end end)
            from pg_settings where context = 'user'";
        let mut set = 0;
        for row in shop.bench.sql(&hostile.replace("_DB_", &shop.database)).await {
            let statement = row[0].clone().unwrap();
            // Some have no such value.
            set += u32::from(shop.bench.pg.sql("postgres", &statement).await.is_ok());
        }
        assert!(set > 100, "{version}: {set}");
        shop.end("everything").await;
        shop.start().await;
        // All that is done in the database itself works, too.
        let config = Config { default_database: Some(shop.database.clone()), ..shop.bench.config() };
        let engine = Engine::new(config).unwrap();
        let preflight = engine.preflight(&Needs::default()).await.unwrap();
        let blocked = preflight.findings.iter().find(|finding| finding.reason != Reason::PublicConnect);
        assert!(blocked.is_none(), "{version}: {blocked:?}");
        let query =
            rolecall_engine::objects::CatalogQuery { database: shop.database.clone(), sets: [].into() };
        engine.read_objects(&query).await.unwrap();
        engine.inventory().await.unwrap();
        // A password's verifier is nothing for the server's log.
        assert!(!shop.bench.pg.log().contains("utilityStmt {ALTERROLESTMT"), "{version}");
    }
}

#[tokio::test]
async fn a_database_that_lets_nobody_in_does_not_stop_an_end() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version).await;
        let name = &shop.database;
        for (closing, opening) in [
            ("alter database _ connection limit 0", "alter database _ connection limit -1"),
            ("alter database _ allow_connections false", "alter database _ allow_connections true"),
            ("revoke connect on database _ from public", "grant connect on database _ to public"),
            (
                "alter database _ set session_preload_libraries = 'nothing'",
                "alter database _ reset session_preload_libraries",
            ),
            ("alter database _ rename to __", "alter database __ rename to _"),
        ] {
            let named = |statement: &str| statement.replace("__", &format!("{name}x")).replace('_', name);
            // The names of the statements themselves have underscores.
            let sql = |statement: &str| {
                let kept =
                    statement.replace("allow_connections", "AC").replace("session_preload_libraries", "SPL");
                named(&kept).replace("AC", "allow_connections").replace("SPL", "session_preload_libraries")
            };
            shop.bench.sql(&sql(closing)).await;
            shop.end(closing).await;
            shop.bench.sql(&sql(opening)).await;
            shop.start().await;
        }
    }
}

#[tokio::test]
async fn a_server_is_not_unreachable_because_one_of_its_databases_is() {
    let shop = Shop::new(PgVersion::V17).await;
    shop.owner_says(&format!("alter database {} connection limit 0", shop.database)).await;
    // Neither where it is the admin user's own, nor where objects are read.
    let config = Config { default_database: Some(shop.database.clone()), ..shop.bench.config() };
    let engine = Engine::new(config).unwrap();
    let query = rolecall_engine::objects::CatalogQuery { database: shop.database.clone(), sets: [].into() };
    for error in [
        engine.preflight(&Needs::default()).await.unwrap_err(),
        engine.read_objects(&query).await.unwrap_err(),
        engine.watch_objects(&shop.database).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.class, error.code.as_str()), (Class::Transient, "53300"), "{error}");
        assert!(
            error.remedy.contains(&format!("ALTER DATABASE \"{}\" CONNECTION LIMIT -1", shop.database)),
            "{error}"
        );
    }
    engine.inventory().await.unwrap();
    apply(&engine, &shop.here(ended(&shop.user, false))).await.unwrap();
    assert!(!shop.is_open().await);
}

#[tokio::test]
async fn an_owner_who_locks_the_catalogues_of_its_database_does_not_stop_an_end() {
    for version in [PgVersion::V15, PgVersion::V18] {
        let shop = Shop::new(version).await;
        let working = shop.bench.another();
        apply(&working, &shop.here(enabled(&unique("bob"), &[]))).await.unwrap();
        // A reader, and behind it somebody who needs the whole table, so that everybody else waits, too.
        let (reader, writer) = (shop.owner().await, shop.owner().await);
        rows(&reader, "begin; select count(*) from pg_class; select count(*) from pg_proc").await.unwrap();
        let full = tokio::spawn(async move { rows(&writer, "vacuum full pg_class").await });
        let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'";
        while shop.bench.value(waits).await == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shop.end("locked").await;
        // Connections that were open before see it as well.
        apply(&working, &shop.here(enabled(&shop.user, &[]))).await.unwrap();
        shop.end_with(&working, "locked").await;
        rows(&reader, "rollback").await.unwrap();
        full.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_database_that_is_locked_against_every_login_does_not_stop_an_end() {
    for version in [PgVersion::V15, PgVersion::V16, PgVersion::V18] {
        // Its own server: other tests would wait as well.
        let pg: &Postgres = Box::leak(Box::new(Postgres::start(version).await.unwrap()));
        let shop = Shop::on(Bench::on(pg, "createrole").await).await;
        let stranger = unique("stranger");
        shop.bench.sql(&format!("create role {stranger} login; alter role {} createdb", shop.owner)).await;
        let owner = shop.bench.login(&shop.owner).await.unwrap();
        let lock = format!("begin; alter database {0} rename to {0}x", shop.database);
        rows(&owner, &lock).await.unwrap();
        // One login of the account that would get in after the end, and one of somebody else.
        let logins: Vec<_> = [shop.user.clone(), stranger]
            .into_iter()
            .map(|user| {
                let (certificate, database) = (pg.client_cert(&user).unwrap(), shop.database.clone());
                tokio::spawn(async move {
                    let login = pg.connect(&database, &certificate);
                    tokio::time::timeout(Duration::from_secs(60), login).await
                })
            })
            .collect();
        let hanging = "select count(*) from pg_locks where locktype = 'object' and not granted";
        while shop.bench.value(hanging).await != "2" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shop.end("locked").await;
        rows(&owner, "rollback").await.unwrap();
        let [own, other] = futures::future::join_all(logins).await.try_into().unwrap();
        let code = own.unwrap().unwrap().unwrap_err();
        assert_eq!(code.sqlstate(), Some("57P01"), "{version}: {code}");
        assert!(other.unwrap().unwrap().is_ok(), "{version}: a stranger's login is let be");
    }
}

#[tokio::test]
async fn whoever_the_admin_user_is_made_nobody_else_is_to_be_given_rights() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version).await;
        shop.bench.sql(&format!("alter role {} set role = '{}'", shop.bench.admin, shop.owner)).await;
        shop.bench.sql("create role blocked_reader").await;
        let needs = Needs { roles: ["blocked_reader".to_owned()].into(), ..Needs::default() };
        let engine = shop.bench.another();
        for _ in 0..2 {
            let preflight = engine.preflight(&needs).await.unwrap();
            let messages: Vec<&str> =
                preflight.findings.iter().map(|finding| finding.message.as_str()).collect();
            assert!(messages.iter().all(|message| !message.contains(&shop.owner)), "{version}: {messages:?}");
            let lacking =
                preflight.findings.iter().find(|finding| finding.reason == Reason::MissingAdminOption);
            assert_eq!(lacking.is_some(), version.major() >= 16, "{version}: {messages:?}");
            if let Some(lacking) = lacking {
                assert!(
                    lacking.message.contains(&format!("TO \"{}\"", shop.bench.admin)),
                    "{}",
                    lacking.message
                );
            }
        }
        shop.end("role").await;
        shop.bench.sql("drop role blocked_reader").await;
    }
}

#[tokio::test]
async fn an_admin_user_that_cannot_log_in_is_named() {
    let pg: &Postgres = Box::leak(Box::new(Postgres::start(PgVersion::V17).await.unwrap()));
    let bench = Bench::on(pg, "createrole").await;
    bench.sql(&format!("alter role {} connection limit 0", bench.admin)).await;
    let error = bench.engine.preflight(&Needs::default()).await.unwrap_err();
    assert_eq!((error.reason, error.code.as_str()), (Reason::DatabaseUnreachable, "53300"), "{error}");
    assert!(error.remedy.contains(&format!("ALTER ROLE \"{}\" CONNECTION LIMIT -1", bench.admin)), "{error}");
    bench.sql(&format!("alter role {} connection limit -1", bench.admin)).await;
    bench.sql(&format!("alter role {} set session_preload_libraries = 'nothing'", bench.admin)).await;
    let error = bench.engine.preflight(&Needs::default()).await.unwrap_err();
    assert_eq!(error.code, "58P01", "{error}");
    assert!(error.remedy.contains(&format!("ALTER ROLE \"{}\" RESET", bench.admin)), "{error}");
}

#[tokio::test]
async fn an_admin_user_that_is_a_superuser_is_nobody_else_either() {
    for version in [PgVersion::V15, PgVersion::V18] {
        let bench = Bench::on(Postgres::shared(version).await.unwrap(), "superuser").await;
        let shop = Shop::on(bench).await;
        for setting in ["role", "session_authorization"] {
            shop.owner_says(&format!("alter database {} set {setting} = '{}'", shop.database, shop.owner))
                .await;
            shop.end(setting).await;
            shop.start().await;
        }
        shop.end("both").await;
    }
}

#[tokio::test]
async fn a_name_that_a_database_has_no_letters_for_is_ended_from_another() {
    let shop = Shop::new(PgVersion::V17).await;
    let (latin, user) = (unique("latin"), format!("{}ш", unique("alice")));
    shop.bench.sql(&format!("create database {latin} encoding 'LATIN1' template template0")).await;
    let mut desired = enabled(&user, &[]);
    desired.session_database = Some(latin.clone());
    apply(&shop.bench.another(), &desired).await.unwrap();
    let mut desired = ended(&user, true);
    desired.session_database = Some(latin);
    assert!(apply(&shop.bench.another(), &desired).await.unwrap().dropped);
}
