//! The admin user's own session.

use rolecall_engine::{AccountName, Engine, Query};

use crate::{Fixture, code, facts, ok, one, quote, unique};

facts![
    settings_of_the_role_and_the_database_do_not_reach_it,
    a_prepared_statement_is_called_within_a_message,
    a_literal_with_a_backslash_means_itself,
    names_are_cut_off_at_63_bytes,
    public_is_a_grantee_by_name,
];

async fn settings_of_the_role_and_the_database_do_not_reach_it(f: &Fixture) {
    let (database, admin) = (unique("set"), &f.bench.admin);
    f.sql(&format!("create database {database}")).await;
    // An operator for names in a schema of somebody's own, which would be found first.
    let pg = f.bench.pg;
    pg.sql(
        &database,
        "create function public.never(name, name) returns bool language sql as 'select false';
         create operator public.= (leftarg = name, rightarg = name, function = public.never);
         create function public.count(\"any\") returns bigint language internal as 'int8'",
    )
    .await
    .ok();
    if f.major < 19 {
        f.sql(&format!("alter role {admin} set standard_conforming_strings = off")).await;
    }
    f.sql(&format!(
        "alter database {database} set search_path = public, pg_catalog;
         alter database {database} set synchronous_commit = off;
         alter role {admin} set synchronous_commit = off;
         alter role {admin} set default_transaction_read_only = on;
         alter role {admin} in database {database} set statement_timeout = 1;
         alter role {admin} set lock_timeout = 1;
         alter role {admin} set search_path = public, pg_catalog"
    ))
    .await;
    let query = Query {
        account: AccountName::new(admin.as_str()).unwrap(),
        owner_uid: "us".to_owned(),
        session_database: Some(database.clone()),
        roles: [admin.clone()].into(),
        sets: Default::default(),
        databases: [database.clone()].into(),
        to_end: false,
    };
    let observed = f.bench.engine.observe(&query).await.unwrap();
    assert!(
        observed.account.is_some() && observed.roles.len() == 1 && observed.databases.len() == 1,
        "{observed:?}"
    );
    // And it writes: the marker is made, and an account, in a session that the role's settings would have spoiled.
    f.bench.engine.preflight(&Default::default()).await.unwrap();
    let mut config = f.bench.config();
    config.default_database = Some(database.clone());
    let engine = rolecall_postgres::Postgres::new(config).unwrap();
    let user = unique("us\\er'");
    crate::common::apply(&engine, &crate::common::enabled(&user, &[])).await.unwrap();
    assert_eq!(
        f.value(&format!("select count(*) from pg_roles where rolname = {}", crate::literal(&user))).await,
        "1"
    );
}

async fn a_prepared_statement_is_called_within_a_message(f: &Fixture) {
    let admin = f.admin().await;
    ok(&admin, "prepare checked (int) as select 1 / $1").await;
    assert_eq!(code(&admin, "select 1; execute checked (1)").await, "");
    let role = unique("role");
    assert_eq!(code(&admin, &format!("create role {role}; execute checked (0)")).await, "22012");
    assert_eq!(code(&admin, &format!("comment on role {role} is 'x'")).await, "42704");
    assert_eq!(code(&admin, "execute checked (1)").await, "");
}

async fn a_literal_with_a_backslash_means_itself(f: &Fixture) {
    let admin = f.admin().await;
    // From 19 on it cannot be turned off.
    let off = code(&admin, "set standard_conforming_strings = off").await;
    assert_eq!(off, if f.major >= 19 { "0A000" } else { "" });
    for conforming in ["on", "off"].into_iter().filter(|conforming| f.major < 19 || *conforming == "on") {
        let text =
            one(&admin, &format!("set standard_conforming_strings = {conforming}; select E'a\\\\''b'")).await;
        assert_eq!(text, "a\\'b");
    }
}

async fn names_are_cut_off_at_63_bytes(f: &Fixture) {
    let (admin, base) = (f.admin().await, unique("long"));
    let longest = format!("{base}{}", "x".repeat(63 - base.len()));
    ok(&admin, &format!("create role {longest}y")).await;
    assert_eq!(
        one(&admin, &format!("select rolname from pg_roles where rolname like '{base}%'")).await,
        longest
    );
    // So another name would mean this one.
    assert_eq!(
        one(&admin, &format!("select count(*) from pg_roles where rolname = '{longest}z'")).await,
        "1"
    );
    assert_eq!(code(&admin, &format!("drop role {}", quote(&format!("{longest}z")))).await, "");
}

async fn public_is_a_grantee_by_name(f: &Fixture) {
    let admin = f.admin().await;
    let query =
        "select has_database_privilege('public', oid, 'connect') from pg_database where datname = 'postgres'";
    assert_eq!(one(&admin, query).await, "t");
}
