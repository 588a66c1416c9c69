//! What an account owns, given to another role before the account is dropped.

use std::time::Duration;

use rolecall_engine::{Applied, Engine as _, Needs, Reason};
use rolecall_testbed::PgVersion;

use crate::common::{Bench, enabled, ended_giving_to, unique};

/// An account that had a session, and a role that may get what it owns.
struct Case {
    bench: Bench,
    user: String,
    heir: String,
}

impl Case {
    async fn new(version: PgVersion) -> Self {
        let bench = Bench::new(version).await;
        let (user, heir) = (unique("alice"), unique("heir"));
        bench.reach(&enabled(&user, &[])).await;
        let options = if version.major() >= 16 { "with inherit true, set true" } else { "" };
        bench.sql(&format!("create role {heir}; grant {heir} to {} {options}", bench.admin)).await;
        Self { bench, user, heir }
    }

    /// A logical database where everybody may create, and the account has run this.
    async fn database(&self, base: &str, statements: &str) -> String {
        let database = unique(base);
        self.bench.sql(&format!("create database {database}")).await;
        self.bench.sql(&format!("grant create on database {database} to {}", self.bench.admin)).await;
        self.make(&database, statements).await;
        database
    }

    /// What the account runs in a logical database.
    async fn make(&self, database: &str, statements: &str) {
        let user = &self.user;
        let all = format!(
            "grant create on schema public to public; grant create on database {database} to {user};
             set session authorization {user}; {statements}; reset session authorization;
             revoke create on database {database} from {user}"
        );
        self.bench.pg.sql(database, &all).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    async fn end(&self) -> Applied {
        self.bench.reach(&ended_giving_to(&self.user, &self.heir)).await
    }

    /// Whose objects of the schemas that users make there are.
    async fn owners(&self, database: &str) -> String {
        let query = "select string_agg(distinct pg_get_userbyid(o.owner), ',') from (
            select relowner as owner from pg_class where relnamespace in (select oid from pg_namespace where nspname in ('public', 'app'))
            union all select proowner from pg_proc where pronamespace = 'public'::regnamespace
            union all select nspowner from pg_namespace where nspname = 'app'
            union all select typowner from pg_type where typnamespace = 'public'::regnamespace
            union all select lomowner from pg_largeobject_metadata) o";
        self.bench.pg.value(database, query).await.unwrap().unwrap_or_default()
    }

    /// What it is kept for. Nobody else has got anything, and the account is closed.
    async fn kept_because(&self) -> String {
        let applied = self.end().await;
        assert!(!applied.dropped && applied.reassigned.is_none(), "{applied:?}");
        let observed = self.bench.observe(&ended_giving_to(&self.user, &self.heir)).await;
        assert!(!observed.account.unwrap().enabled);
        let owns = format!(
            "select count(*) from pg_shdepend where refobjid = '{}'::regrole and deptype = 'o'",
            self.heir
        );
        assert_eq!(self.bench.value(&owns).await, "0");
        // The admin user was a member of the account for a moment only.
        let member = format!(
            "select count(*) from pg_auth_members where roleid = '{}'::regrole and member = '{}'::regrole and not admin_option",
            self.user, self.bench.admin
        );
        assert_eq!(self.bench.value(&member).await, "0");
        applied.kept_because.unwrap()
    }
}

/// The statement that a reason ends in.
fn statement(why: &str) -> &str {
    why.split_once("run ").unwrap().1.split(": ").next().unwrap()
}

#[tokio::test]
async fn everything_goes_to_the_other_role_in_every_database() {
    for version in PgVersion::ALL {
        let case = Case::new(version).await;
        let shop = case
            .database(
                "shop",
                "create schema app; create table app.t (id serial primary key, note text default current_user, check (id > 0));
                 create index on app.t (lower(note)) where id > 7;
                 create view public.v with (security_invoker = true) as select * from app.t;
                 create function app.f(int) returns int language sql as 'select 1';
                 create type public.mood as enum ('good'); create domain public.small as int check (value < 9);
                 create table public.child (parent int references app.t on delete restrict);
                 alter default privileges grant select on tables to public;
                 grant select on app.t to public; select lo_create(0)",
            )
            .await;
        let other =
            case.database("other", "create table public.copy as select 1 as x; create sequence s").await;
        let theirs = "create table public.theirs (); select lo_create(0)";
        case.bench.pg.sql(&other, theirs).await.unwrap();
        let applied = case.end().await;
        assert!(applied.dropped && applied.kept_because.is_none(), "{version}: {applied:?}");
        let reassigned = applied.reassigned.unwrap();
        assert_eq!(reassigned.to, case.heir);
        assert_eq!(reassigned.objects.len(), 2, "{version}: {reassigned:?}");
        let all = reassigned.to_string();
        for part in [&shop, &other, "table app.t", "function app.f(integer)", "table public.copy"] {
            assert!(all.contains(part), "{version}: {part} is not in {all}");
        }
        assert_eq!(case.owners(&shop).await, case.heir, "{version}");
        assert_eq!(case.owners(&other).await, format!("{},postgres", case.heir), "{version}");
        // What was granted on it to others stays.
        let query = "select has_table_privilege('pg_monitor', 'app.t', 'select')";
        assert_eq!(case.bench.pg.value(&shop, query).await.unwrap().as_deref(), Some("t"), "{version}");
        for database in [shop, other] {
            case.bench.sql(&format!("drop database {database} with (force)")).await;
        }
    }
}

#[tokio::test]
async fn nothing_that_works_with_the_rights_of_its_owner_is_given_away() {
    const FUNCTION: &str = "create function f(int) returns int language sql immutable as 'select 1'";
    let codes = [
        ("create function d() returns int language sql security definer as 'select 1'", "SECURITY DEFINER"),
        ("create view v as select 1", "the view v"),
        ("create materialized view m as select 1", "the materialized view m"),
        ("create table t (a int); create rule r as on insert to t do also select 1", "the rule r of t"),
        (
            "create function g() returns trigger language plpgsql as 'begin return new; end';
             create table t (a int); create trigger x before insert on t for each row execute function g()",
            "the trigger x of t",
        ),
        ("create table t (a int); grant all on t to public", "the right TRIGGER of PUBLIC on t"),
        ("create table t (a int); grant references (a) on t to public", "the right REFERENCES of PUBLIC on t"),
        (
            "create type mood as enum ('good'); create table p (id mood primary key);
             create table t (a mood references p)",
            "the foreign key t_a_fkey of t (compares types of users)",
        ),
        ("create table t (a int); create index i on t (f(a))", "the index i"),
        ("create table t (a int); create index i on t (a) where f(a) > 0", "the index i"),
        ("create table t (a int, b int); create statistics s on (f(a)), b from t", "the statistics s of t"),
        (
            "create function diff(int, int) returns float8 language sql immutable strict as 'select 1.0::float8';
             create type r as range (subtype = int4, subtype_diff = diff)",
            "the range type r",
        ),
        (
            "create table p (id int primary key);
             create table t (a int references p on delete set null, b int check (f(b) > 0))",
            "the foreign key t_a_fkey of t",
        ),
        (
            "create table p (id int primary key);
             create table t (a int references p on update cascade, b int generated always as (a + 1) stored)",
            "the foreign key t_a_fkey of t",
        ),
        (
            "create domain small as int check (f(value) > 0); create table p (id int primary key);
             create table t (a int references p on delete cascade, b small)",
            "the foreign key t_a_fkey of t",
        ),
    ];
    for version in PgVersion::ALL {
        let mut case = Case::new(version).await;
        let (first, second) =
            (case.database("a_first", "select 1").await, case.database("second", "select 1").await);
        // One account after the other: what each has would keep all.
        for (statements, named) in codes {
            case.user = unique("alice");
            case.bench.reach(&enabled(&case.user, &[])).await;
            case.make(&first, "create table plain ()").await;
            case.make(&second, &format!("{FUNCTION}; {statements}")).await;
            let why = case.kept_because().await.replace("public.", "");
            assert!(why.contains(named) && why.contains(&second), "{version}: {statements}: {why}");
            assert_eq!(case.owners(&first).await, case.user, "{version}: {statements}");
            for database in [&first, &second] {
                case.bench.pg.sql(database, &format!("drop owned by {}", case.user)).await.unwrap();
            }
        }
        for database in [first, second] {
            case.bench.sql(&format!("drop database {database} with (force)")).await;
        }
    }
}

#[tokio::test]
async fn the_statement_in_the_reason_is_enough() {
    for version in PgVersion::ALL {
        let case = Case::new(version).await;
        let shop = case
            .database(
                "shop",
                "create schema app; create function public.f() returns int language sql as 'select 1'",
            )
            .await;
        let (heir, admin) = (&case.heir, &case.bench.admin);
        case.bench
            .sql(&format!("revoke {heir} from {admin}; revoke create on database {shop} from {admin}"))
            .await;
        case.bench.pg.sql(&shop, "revoke create on schema public from public").await.unwrap();

        let needs = Needs { new_owners: [heir.clone()].into(), ..Needs::default() };
        let preflight = case.bench.engine.preflight(&needs).await.unwrap();
        let finding = preflight.findings.iter().find(|found| found.reason == Reason::CannotReassign).unwrap();
        let why = case.kept_because().await;
        assert!(why.starts_with(&finding.message), "{version}: {why}");
        assert!(why.contains("it owns 2 objects"), "{version}: {why}");
        case.bench.sql(statement(&why)).await;
        let preflight = case.bench.engine.preflight(&needs).await.unwrap();
        assert!(preflight.findings.iter().all(|found| found.reason != Reason::CannotReassign));

        let why = case.kept_because().await;
        let grants = statement(&why);
        assert!(grants.contains("ON DATABASE") && grants.contains("ON SCHEMA public"), "{version}: {why}");
        case.bench.pg.sql(&shop, grants).await.unwrap();
        assert!(case.end().await.dropped, "{version}");
        case.bench.sql(&format!("drop database {shop} with (force)")).await;
    }
}

#[tokio::test]
async fn roles_with_power_get_nothing() {
    let mut case = Case::new(PgVersion::V17).await;
    let shop = case.database("shop", "create table t ()").await;
    for attribute in ["superuser", "createrole", "replication", "bypassrls"] {
        case.bench.sql(&format!("alter role {} {attribute}", case.heir)).await;
        let why = case.kept_because().await;
        assert!(why.contains(&attribute.to_uppercase()), "{why}");
        case.bench.sql(&format!("alter role {} no{attribute}", case.heir)).await;
    }
    let bob = unique("bob");
    case.bench.reach(&enabled(&bob, &[])).await;
    for (role, says) in [
        (bob, "is an account itself"),
        ("pg_read_all_data".to_owned(), "belongs to the server"),
        ("teleport-auto-user".to_owned(), "belongs to the server or to Rolecall"),
        (unique("nobody"), "does not exist"),
        (case.user.clone(), "is the account itself"),
    ] {
        let heir = std::mem::replace(&mut case.heir, role.clone());
        let applied = case.end().await;
        let why = applied.kept_because.unwrap();
        assert!(!applied.dropped && applied.reassigned.is_none() && why.contains(says), "{role}: {why}");
        case.heir = heir;
    }
    assert!(case.end().await.dropped);
    case.bench.sql(&format!("drop database {shop} with (force)")).await;
}

/// An end does not wait for people.
#[tokio::test]
async fn a_table_that_somebody_works_with_keeps_the_account_until_later() {
    let case = Case::new(PgVersion::V17).await;
    let shop = case.database("shop", "create table t (a int); grant select on t to public").await;
    let admin = case.bench.pg.client_cert("postgres").unwrap();
    let reader = case.bench.pg.connect(&shop, &admin).await.unwrap();
    reader.batch_execute("begin; select * from t").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), case.kept_because()).await;
    let why = ended.unwrap();
    assert!(why.contains("55P03"), "{why}");
    reader.batch_execute("commit").await.unwrap();
    assert!(case.end().await.dropped);
    drop(reader);
    case.bench.sql(&format!("drop database {shop} with (force)")).await;
}

#[tokio::test]
async fn a_superuser_needs_no_membership_and_gets_none() {
    for version in [PgVersion::V15, PgVersion::V17] {
        let mut case = Case::new(version).await;
        case.bench
            .sql(&format!("alter role {} superuser; revoke {} from {0}", case.bench.admin, case.heir))
            .await;
        // Sessions of before have no such rights.
        case.bench.engine = case.bench.another();
        let shop = case.database("shop", "create schema app; create table app.t ()").await;
        assert!(case.end().await.dropped, "{version}");
        assert_eq!(case.owners(&shop).await, case.heir, "{version}");
        case.bench.sql(&format!("drop database {shop} with (force)")).await;
    }
}
