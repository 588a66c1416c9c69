//! Sets get the privileges that they should have, whoever the admin user is.

use rolecall_engine::sets::Why;
use rolecall_engine::{Engine as _, Reason};
use rolecall_policy::Privilege;
use rolecall_testbed::PgVersion;

use crate::shop::{RIGHTS, Rights, Shop, grants};

const OBJECTS: &str = "create table app.t1 (id int, name text); create table app.t2 (id int);
    create table app.parts (id int) partition by range (id); create table app.part1 partition of app.parts for values from (0) to (9);
    create view app.v as select 1 as one; create materialized view app.m as select 1 as one; create sequence app.s;
    create function app.f(int) returns int language sql as 'select 1'; create function app.f(text, int[]) returns int language sql as 'select 1';
    create procedure app.p(int) language sql as 'select 1';
    revoke execute on all routines in schema app from public;";

#[tokio::test]
async fn a_set_has_what_it_should_and_nothing_else() {
    for version in PgVersion::ALL {
        for rights in RIGHTS {
            let shop = Shop::new(version, rights, OBJECTS).await;
            let set = shop.set();
            let outcome = shop
                .reach(
                    &set,
                    &[
                        ("SELECT, UPDATE", "app.t1"),
                        ("SELECT", "app.v"),
                        ("USAGE", "app.s"),
                        ("EXECUTE", "app.f"),
                    ],
                )
                .await;
            assert_eq!(outcome.granted[&Privilege::Select], 2, "{version:?} {rights:?}");
            assert_eq!(outcome.granted[&Privilege::Execute], 2);
            let expected = [
                ("CONNECT", "database"),
                ("USAGE", "app"),
                ("SELECT", "app.t1"),
                ("UPDATE", "app.t1"),
                ("SELECT", "app.v"),
                ("USAGE", "app.s"),
                ("EXECUTE", "app.f(integer)"),
                ("EXECUTE", "app.f(text,integer[])"),
            ];
            assert_eq!(shop.privileges_of(&set).await, grants(&expected), "{version:?} {rights:?}");
            // The policy changes.
            let outcome = shop.reach(&set, &[("SELECT", "app.t1"), ("SELECT", "app.parts")]).await;
            assert_eq!(outcome.revoked[&Privilege::Execute], 2);
            let expected =
                [("CONNECT", "database"), ("USAGE", "app"), ("SELECT", "app.t1"), ("SELECT", "app.parts")];
            assert_eq!(shop.privileges_of(&set).await, grants(&expected), "{version:?} {rights:?}");
            // Nothing any more, but that a session can connect.
            shop.reach(&set, &[]).await;
            assert_eq!(shop.privileges_of(&set).await, grants(&[("CONNECT", "database")]));
        }
    }
}

#[tokio::test]
async fn an_unchanged_set_costs_no_round_trip_and_a_new_table_few() {
    let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, OBJECTS).await;
    let set = shop.set();
    shop.reach(&set, &[("SELECT", "*")]).await;
    let catalog = shop.read(&[&set]).await;
    let desired = shop.desired(&set, &catalog, &[("SELECT", "*")]);
    let before = shop.bench.engine.stats().round_trips;
    let outcome =
        shop.bench.engine.sync_sets(std::slice::from_ref(&desired), &catalog).await.unwrap().remove(0);
    assert!(outcome.is_complete());
    assert_eq!(shop.bench.engine.stats().round_trips, before);
    shop.make("create table app.fresh (id int)").await;
    let catalog = shop.read(&[&set]).await;
    let desired = shop.desired(&set, &catalog, &[("SELECT", "*")]);
    let before = shop.bench.engine.stats().round_trips;
    let outcome = shop.bench.engine.sync_sets(&[desired], &catalog).await.unwrap().remove(0);
    assert_eq!(outcome.granted[&Privilege::Select], 8);
    // May it be granted? Grant it. Is it granted?
    assert_eq!(shop.bench.engine.stats().round_trips - before, 3);
}

#[tokio::test]
async fn what_everybody_has_is_enough_where_it_cannot_be_granted() {
    let shop = Shop::new(
        PgVersion::V16,
        Rights::None,
        "create function app.f() returns int language sql as 'select 1'",
    )
    .await;
    let set = shop.set();
    shop.make("grant usage on schema app to public").await;
    let outcome = shop.sync(&set, &[("EXECUTE", "app.f")]).await;
    assert!(outcome.is_complete(), "{outcome:#?}");
    assert_eq!(outcome.granted[&Privilege::Execute], 1);
    shop.make("revoke execute on function app.f() from public").await;
    let outcome = shop.sync(&set, &[("EXECUTE", "app.f")]).await;
    assert_eq!(outcome.missing_objects, 1, "{outcome:#?}");
    assert!(outcome.missing[0].statement.starts_with("GRANT EXECUTE ON ROUTINE app.f() TO"), "{outcome:#?}");
}

#[tokio::test]
async fn what_cannot_be_granted_is_left_out_and_named() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::Grants, OBJECTS).await;
        let (set, admin) = (shop.set(), shop.bench.admin.clone());
        shop.make("create table app.\"My \"\"own\"\" t.able\" (id int); create schema closed; create table closed.t (id int)").await;
        shop.make(&format!("revoke grant option for update on app.t1 from {admin} cascade")).await;
        shop.sql(&format!("revoke grant option for update on app.t1 from {admin} cascade")).await;
        let wanted = [
            ("SELECT, UPDATE", "app.t1"),
            ("SELECT", "app.t2"),
            ("SELECT", "app.My \"own\" t.able"),
            ("SELECT", "closed.t"),
        ];
        let outcome = shop.sync(&set, &wanted).await;
        let reported: Vec<String> =
            outcome.missing.iter().map(|one| one.statement.replace(&admin, "ADMIN")).collect();
        assert_eq!(
            reported,
            [
                "GRANT USAGE ON SCHEMA closed TO \"ADMIN\" WITH GRANT OPTION",
                "GRANT SELECT ON TABLE app.\"My \"\"own\"\" t.able\" TO \"ADMIN\" WITH GRANT OPTION",
                "GRANT USAGE ON SCHEMA closed TO \"ADMIN\"; GRANT SELECT ON TABLE closed.t TO \"ADMIN\" WITH GRANT OPTION",
                "GRANT UPDATE ON TABLE app.t1 TO \"ADMIN\" WITH GRANT OPTION",
            ],
            "{version:?}"
        );
        assert_eq!((outcome.missing_objects, outcome.granted[&Privilege::Select]), (4, 2));
        assert!(outcome.missing.iter().all(|one| matches!(one.why, Why::NotGrantable | Why::SchemaClosed)));
        assert_eq!(
            shop.privileges_of(&set).await,
            grants(&[("CONNECT", "database"), ("USAGE", "app"), ("SELECT", "app.t1"), ("SELECT", "app.t2")])
        );
        // Each statement mends what it says.
        for missing in &outcome.missing {
            shop.sql(&missing.statement).await;
        }
        shop.reach(&set, &wanted).await;
    }
}

#[tokio::test]
async fn a_database_that_the_admin_cannot_open_to_a_set_is_reported() {
    let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, OBJECTS).await;
    let admin = shop.bench.admin.clone();
    shop.sql(&format!("revoke {} from {admin}; grant usage on schema app to {admin} with grant option; grant select on app.t1 to {admin} with grant option; revoke grant option for connect on database {} from {admin}", shop.owner, shop.database)).await;
    let outcome = shop.sync(&shop.set(), &[("SELECT", "app.t1")]).await;
    assert!(!outcome.connects && !outcome.is_complete());
    assert_eq!(
        outcome.missing[0].statement,
        format!("GRANT CONNECT ON DATABASE \"{}\" TO \"{admin}\" WITH GRANT OPTION", shop.database)
    );
}

#[tokio::test]
async fn an_object_that_is_dropped_or_replaced_between_reading_and_granting_is_passed_over() {
    let shop = Shop::new(PgVersion::V18, Rights::MemberOfOwner, OBJECTS).await;
    let set = shop.set();
    let catalog = shop.read(&[&set]).await;
    let desired = shop.desired(&set, &catalog, &[("SELECT", "*")]);
    shop.make("drop table app.t1; alter table app.t2 rename to t1; create table app.t2 (secret text)").await;
    let outcome = shop.bench.engine.sync_sets(&[desired], &catalog).await.unwrap().remove(0);
    assert!(outcome.is_complete(), "{outcome:#?}");
    assert_eq!(outcome.granted[&Privilege::Select], 6);
    let granted = shop.privileges_of(&set).await;
    let has = |name: &str| granted.contains(&("SELECT".to_owned(), name.to_owned()));
    // What was t2 is called t1 now; what is called t2 now was never decided about.
    assert!(has("app.t1") && !has("app.t2"), "{granted:?}");
}

#[tokio::test]
async fn a_role_of_that_name_that_is_not_ours_is_left_alone() {
    let shop = Shop::new(PgVersion::V15, Rights::MemberOfOwner, OBJECTS).await;
    let set = shop.set();
    shop.sql(&format!("create role \"{set}\"; comment on role \"{set}\" is '{{\"uid\": \"somebody\"}}'"))
        .await;
    let outcome = shop.sync(&set, &[("SELECT", "app.t1")]).await;
    assert_eq!(outcome.failure.unwrap().reason, Reason::DbRoleNotGrantable);
    assert!(shop.privileges_of(&set).await.is_empty());
}

#[tokio::test]
async fn a_full_access_list_is_that_objects_failure_alone_and_is_warned_of_before() {
    let shop = Shop::new(PgVersion::V17, Rights::Superuser, OBJECTS).await;
    let others = crate::common::unique("other");
    shop.sql(&format!(
        "do $$ begin for i in 1..1600 loop execute format('create role {others}_%s', i); execute format('grant select on app.t1 to {others}_%s', i); end loop; end $$"
    ))
    .await;
    let set = shop.set();
    let outcome = shop.sync(&set, &[("SELECT", "app.t1"), ("SELECT", "app.t2")]).await;
    assert!(outcome.is_complete(), "{outcome:#?}");
    assert_eq!(outcome.near_limit.len(), 1);
    assert!(outcome.near_limit[0].1 > 1_500 && &*outcome.near_limit[0].0.name == "t1");
    // To the wall, and one more.
    shop.sql(&format!(
        "do $$ begin for i in 1601..4000 loop execute format('create role {others}_%s', i); begin execute format('grant select on app.t1 to {others}_%s', i); exception when program_limit_exceeded then exit; end; end loop; end $$"
    ))
    .await;
    let set = shop.set();
    let outcome = shop.sync(&set, &[("SELECT", "*")]).await;
    assert_eq!(outcome.missing_objects, 1, "{outcome:#?}");
    assert_eq!(
        (&outcome.missing[0].why, outcome.missing[0].object.as_str()),
        (&Why::AccessListFull, "TABLE app.t1")
    );
    assert_eq!(outcome.granted[&Privilege::Select], 6);
}
