//! What somebody changes by hand about the account of a live session, though no object changes: found by the next look,
//! taken back, and told.

use anyhow::{Context, Result};
use rolecall_testbed::PgVersion;
use rolecall_tests::TestEnv;
use rolecall_tests::test_env::{ADMIN_USER, ALICE};
use serde_json::json;

/// The account as the server has it, in words.
const STATE: &str = "select concat_ws(' ', r.rolcanlogin, r.rolconnlimit, coalesce(r.rolvaliduntil::text, 'infinity'), r.rolinherit,
    r.rolcreaterole, (select count(*) from pg_db_role_setting s where s.setrole = r.oid),
    has_table_privilege(r.oid, 'public.theirs', 'select'),
    (select string_agg(g.rolname, ',' order by g.rolname) from pg_auth_members m join pg_roles g on g.oid = m.roleid
     where m.member = r.oid and g.rolname in ('reader', 'writer')))
  from pg_roles r where r.rolname = ";

#[tokio::test]
async fn what_somebody_changed_is_taken_back_within_one_look_and_told() -> Result<()> {
    for version in PgVersion::ALL {
        let env = TestEnv::builder().version(version).flag("--resync-interval=1s").start().await?;
        env.session("alice-orders", json!({})).await?;
        env.active("alice-orders").await?;
        let table = format!(
            "create table public.theirs (id int); alter table public.theirs owner to \"{ADMIN_USER}\""
        );
        env.pg.sql("app", &table).await?;
        let query = format!("{STATE}'{ALICE}'");
        let state = || env.pg.value("app", &query);
        let before = state().await?.context("an account")?;
        assert_eq!(before, "t -1 infinity t f 0 f reader", "{version}");

        let all = format!(
            "revoke reader from \"{ALICE}\" granted by \"{ADMIN_USER}\"; grant writer to \"{ALICE}\" granted by \"{ADMIN_USER}\";
             alter role \"{ALICE}\" nologin noinherit createrole connection limit 3 valid until '2040-01-01 00:00:00+00';
             alter role \"{ALICE}\" set search_path = 'of-no-concern'; alter role \"{ALICE}\" in database app set work_mem = '9MB';
             grant select on public.theirs to \"{ALICE}\""
        );
        env.pg.sql("app", &all).await?;
        env.eventually("everything is taken back", async || Ok(state().await?.as_ref() == Some(&before)))
            .await?;
        let note = env.event("alice-orders", "AccountChanged").await?;
        for said in [
            "its login was taken away",
            "it lost the role \"reader\"",
            "it was made a member of \"writer\"",
            "it got CREATEROLE",
            "it got NOINHERIT",
            "it got CONNECTION LIMIT 3",
            "it got VALID UNTIL '2040-01-01",
            "it got SET search_path",
            "it got SET work_mem in the database app",
            "rights on objects were granted to it itself",
            "it is as it should be again",
        ] {
            assert!(note.contains(said), "{version}: {said}: {note}");
        }
        assert!(!note.contains("of-no-concern"), "{note}");
        drop(env.login("alice-orders").await?);

        // The record goes by itself: with it goes what says that the account is ours.
        env.pg.sql("app", &format!("comment on role \"{ALICE}\" is 'by hand'")).await?;
        let comment = format!("select shobj_description('\"{ALICE}\"'::regrole, 'pg_authid')");
        env.eventually("the record is back", async || {
            Ok(env.pg.value("app", &comment).await?.is_some_and(|comment| comment.contains("\"uid\"")))
        })
        .await?;
        env.active("alice-orders").await?;
    }
    Ok(())
}
