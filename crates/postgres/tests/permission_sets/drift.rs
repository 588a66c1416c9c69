//! What others grant and take by hand, and what is none of ours.

use rolecall_engine::sets::plan_set;
use rolecall_policy::Privilege;
use rolecall_testbed::PgVersion;

use crate::common::unique;
use crate::shop::{RIGHTS, Rights, Shop, grants};

const OBJECTS: &str = "create table app.t1 (id int, name text); create table app.t2 (id int);
    create function app.f() returns int language sql as 'select 1'; create type app.e as enum ('a')";
const WANTED: [(&str, &str); 1] = [("SELECT", "app.t1")];

#[tokio::test]
async fn what_was_granted_or_taken_by_hand_is_put_right() {
    for version in PgVersion::ALL {
        for rights in RIGHTS {
            let shop = Shop::new(version, rights, OBJECTS).await;
            let set = shop.set();
            shop.reach(&set, &WANTED).await;
            let expected = shop.privileges_of(&set).await;
            let admin = if rights == Rights::Grants { shop.bench.admin.clone() } else { shop.owner.clone() };
            for by_hand in [
                format!("revoke select on app.t1 from \"{set}\""),
                format!("grant insert on app.t1 to \"{set}\""),
                format!("grant delete on app.t2 to \"{set}\""),
                format!("grant execute on function app.f() to \"{set}\""),
                format!("grant create on schema app to \"{set}\""),
                format!("grant select on app.t1 to \"{set}\" with grant option"),
                format!("revoke usage on schema app from \"{set}\""),
                format!("revoke connect on database {} from \"{set}\"", shop.database),
            ] {
                // The owner of the database can pass CONNECT on, too, but what the admin user granted is its own.
                let by = if by_hand.contains("connect") { &shop.bench.admin } else { &admin };
                shop.sql(&format!("set role {by}; {by_hand}")).await;
                assert!(!plan_now(&shop, &set).await.is_nothing(), "{by_hand}");
                shop.reach(&set, &WANTED).await;
                assert_eq!(shop.privileges_of(&set).await, expected, "{version:?} {rights:?}: {by_hand}");
            }
        }
    }
}

async fn plan_now(shop: &Shop, set: &str) -> rolecall_engine::sets::SetPlan {
    let catalog = shop.read(&[set]).await;
    plan_set(&shop.desired(set, &catalog, &WANTED), &catalog)
}

#[tokio::test]
async fn grants_of_another_grantor_are_revoked_where_the_admin_may_and_reported_where_not() {
    for version in PgVersion::ALL {
        for rights in RIGHTS {
            let shop = Shop::new(version, rights, OBJECTS).await;
            let (set, other) = (shop.set(), unique("dba"));
            shop.reach(&set, &WANTED).await;
            shop.sql(&format!(
                "create role {other}; grant usage on schema app to {other}; grant update on app.t1 to {other} with grant option;
                 set role {other}; grant update on app.t1 to \"{set}\""
            ))
            .await;
            let outcome = shop.sync(&set, &WANTED).await;
            let kept = shop.privileges_of(&set).await.contains(&("UPDATE".to_owned(), "app.t1".to_owned()));
            // On 15 CREATEROLE alone does not make the admin a member of the other; a superuser is one of all.
            assert_eq!(kept, rights != Rights::Superuser, "{version:?} {rights:?}: {outcome:#?}");
            if kept {
                assert_eq!(outcome.excess.len(), 1, "{outcome:#?}");
                assert_eq!(outcome.excess[0].grantor, other);
                shop.sql(&outcome.excess[0].statement).await;
            }
            shop.reach(&set, &WANTED).await;
            // A member of the grantor may.
            shop.sql(&format!(
                "grant {other} to {}; set role {other}; grant update on app.t1 to \"{set}\"",
                shop.bench.admin
            ))
            .await;
            let outcome = shop.reach(&set, &WANTED).await;
            assert_eq!(outcome.revoked.get(&Privilege::Update), Some(&1), "{version:?} {rights:?}");
        }
    }
}

#[tokio::test]
async fn grant_options_of_several_grantors_are_all_used() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::None, OBJECTS).await;
        let (set, admin, team) = (shop.set(), shop.bench.admin.clone(), unique("team"));
        shop.sql(&format!(
            "create role {team}; grant {team} to {admin}; grant usage on schema app to {admin} with grant option;
             grant select on app.t1 to {admin} with grant option; grant update on app.t1 to {team} with grant option"
        ))
        .await;
        let outcome = shop.reach(&set, &[("SELECT, UPDATE", "app.t1")]).await;
        assert_eq!(outcome.granted[&Privilege::Update], 1, "{version:?}");
    }
}

#[tokio::test]
async fn what_no_set_has_is_swept_away() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::Superuser, OBJECTS).await;
        let (set, reader, elsewhere) = (shop.set(), unique("reader"), unique("elsewhere"));
        shop.reach(&set, &WANTED).await;
        let expected = shop.privileges_of(&set).await;
        shop.bench.sql(&format!("create role {reader}")).await;
        shop.bench.sql(&format!("create database {elsewhere}")).await;
        shop.bench
            .pg
            .sql(&elsewhere, &format!("create table t (id int); grant select on t to \"{set}\""))
            .await
            .unwrap();
        for by_hand in [
            format!("alter role \"{set}\" login createdb"),
            format!("grant {reader} to \"{set}\""),
            format!("grant pg_read_all_data to \"{set}\""),
            format!("grant select (name) on app.t1 to \"{set}\""),
            format!("grant usage on type app.e to \"{set}\""),
            format!("grant create, temporary on database {} to \"{set}\"", shop.database),
            format!("grant connect on database {elsewhere} to \"{set}\""),
            format!("grant select on pg_catalog.pg_authid to \"{set}\""),
            format!("alter default privileges for role {} grant select on tables to \"{set}\"", shop.owner),
        ] {
            shop.sql(&by_hand).await;
            assert!(plan_now(&shop, &set).await.sweep, "{by_hand}");
            shop.reach(&set, &WANTED).await;
            assert_eq!(shop.privileges_of(&set).await, expected, "{version:?}: {by_hand}");
        }
        let can = format!("select has_table_privilege('{set}', 't', 'select')::text");
        assert_eq!(shop.bench.pg.value(&elsewhere, &can).await.unwrap().unwrap(), "false");
    }
}

#[tokio::test]
async fn what_is_none_of_ours_stays() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::MemberOfOwner, OBJECTS).await;
        let (set, user) = (shop.set(), unique("user"));
        shop.sql(&format!(
            "create role {user}; grant create, usage on schema app to {user}; grant select (id) on app.t1 to {user};
             set role {user}; create table app.mine (id int); reset role;
             alter default privileges for role {} in schema app grant select on tables to {user};
             alter table app.t1 enable row level security; create policy own on app.t1 to {user} using (id = 1)",
            shop.owner
        ))
        .await;
        let fingerprint = "select string_agg(x, ';' order by x) from (
            select relname || relowner || coalesce(array_to_string(array(select a::text from unnest(relacl) a where a::text not like '%rolecall:%'), ','), '') || relrowsecurity from pg_class where relnamespace = 'app'::regnamespace
            union all select attname || attacl::text from pg_attribute where attacl is not null
            union all select defaclacl::text from pg_default_acl union all select polname || polroles::text from pg_policy) f (x)";
        shop.reach(&set, &[("SELECT", "app.t2")]).await;
        let before = shop.value(fingerprint).await;
        let outcome = shop.sync(&set, &[("SELECT", "*"), ("UPDATE", "app.t2")]).await;
        assert_eq!(outcome.missing.len(), 1, "the user's own table: {outcome:#?}");
        shop.reach(&set, &[]).await;
        let after = shop.value(fingerprint).await;
        // Where nothing was granted before, the owner's rights are written out now.
        let written_out = |text: &str| {
            text.replace(&format!("{0}=arwdDxt/{0}", shop.owner), "")
                .replace(&format!("{0}=arwdDxtm/{0}", shop.owner), "")
        };
        assert_eq!(written_out(&before), written_out(&after), "{version:?}");
        assert_eq!(shop.value("select count(*)::text from pg_class, aclexplode(relacl) a join pg_roles r on r.oid = a.grantee where r.rolname like 'rolecall:%' and relnamespace = 'app'::regnamespace").await, "0");
        assert_eq!(shop.privileges_of(&set).await, grants(&[("CONNECT", "database")]));
    }
}

#[tokio::test]
async fn what_the_admin_cannot_remove_is_reported_with_the_statement_that_does() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::Grants, OBJECTS).await;
        let (set, reader, dba) = (shop.set(), unique("reader"), unique("dba"));
        let elsewhere = unique("elsewhere");
        shop.reach(&set, &WANTED).await;
        shop.bench.sql(&format!("create role {reader}; create role {dba}")).await;
        shop.bench.sql(&format!("create database {elsewhere}")).await;
        shop.bench.pg.sql(&elsewhere, "create table t (id int)").await.unwrap();
        shop.sql(&format!(
            "grant usage, create on schema app to {dba}; grant update (name) on app.t1 to {dba} with grant option;
             grant create on database {} to {dba} with grant option",
            shop.database
        ))
        .await;
        let mut reported = 0;
        for (place, by_hand) in [
            (&shop.database, format!("alter role \"{set}\" replication bypassrls")),
            (&shop.database, format!("grant {reader} to \"{set}\"")),
            (&shop.database, format!("grant pg_read_all_data to \"{set}\"")),
            (&shop.database, format!("grant select (name) on app.t1 to \"{set}\"")),
            (&shop.database, format!("set role {dba}; grant update (name) on app.t1 to \"{set}\"")),
            (&shop.database, format!("grant usage on type app.e to \"{set}\"")),
            (&shop.database, format!("grant temporary on database {} to \"{set}\"", shop.database)),
            (
                &shop.database,
                format!("set role {dba}; grant create on database {} to \"{set}\"", shop.database),
            ),
            (&shop.database, format!("grant select on pg_catalog.pg_authid to \"{set}\"")),
            (
                &shop.database,
                format!(
                    "alter default privileges for role {dba} in schema app grant select on tables to \"{set}\""
                ),
            ),
            (&shop.database, format!("create policy own on app.t2 to \"{set}\" using (true)")),
            (&elsewhere, format!("grant select on t to \"{set}\"")),
        ] {
            shop.bench.pg.sql(place, &by_hand).await.unwrap();
            for _ in 0..3 {
                let outcome = shop.sync(&set, &WANTED).await;
                // Some of it the admin user may take away by itself, on some versions.
                reported += outcome.excess.len();
                for excess in &outcome.excess {
                    shop.bench.pg.sql(place, &excess.statement).await.unwrap_or_else(|error| {
                        panic!("{version}: {by_hand}: {}: {error}", excess.statement)
                    });
                }
            }
            let outcome = shop.sync(&set, &WANTED).await;
            assert!(outcome.is_complete(), "{version}: {by_hand}: {outcome:#?}");
        }
        assert!(reported >= 8, "{version}: only {reported} were reported");
    }
}
