//! Grants that the server refuses though the admin user may make them: in its words.

use rolecall_engine::sets::Why;
use rolecall_policy::Privilege;
use rolecall_testbed::PgVersion;

use crate::shop::{Rights, Shop};

const OBJECTS: &str = "create table app.t1 (id int); create table app.t2 (id int); create function app.f() returns int language sql as 'select 1'";

/// An event trigger on this command that does this.
async fn watched(shop: &Shop, command: &str, body: &str) {
    shop.sql(&format!(
        "create table public.changes (what text);
         grant insert on public.changes to public;
         create function public.on_change() returns event_trigger language plpgsql as $$ begin {body} end $$;
         create event trigger watch on ddl_command_end when tag in ('{command}') execute function public.on_change()"
    ))
    .await;
}

#[tokio::test]
async fn the_message_of_an_event_trigger_that_is_in_the_way_is_reported() {
    for version in PgVersion::ALL {
        for rights in [Rights::Grants, Rights::MemberOfOwner] {
            for (body, code, said) in [
                ("insert into changes values (tg_tag);", "42P01", "\"changes\" does not exist"),
                ("perform missing(1);", "42883", "missing(integer) does not exist"),
                ("raise exception 'frozen';", "P0001", "frozen"),
                ("raise exception using errcode = '42501', message = 'frozen';", "42501", "frozen"),
            ] {
                let shop = Shop::new(version, rights, OBJECTS).await;
                watched(&shop, "GRANT", body).await;
                let outcome = shop.sync(&shop.set(), &[("SELECT", "app.t1"), ("EXECUTE", "app.f")]).await;
                assert!(!outcome.missing.is_empty() && outcome.granted.is_empty(), "{version}: {outcome:#?}");
                for missing in &outcome.missing {
                    let Why::Refused(text) = &missing.why else { panic!("{version} {code}: {missing:?}") };
                    for expected in [said, code, "on_change"] {
                        assert!(text.contains(expected), "{version}: {text}");
                    }
                    assert!(!missing.statement.contains("GRANT "), "{version}: {missing:?}");
                    assert!(missing.statement.contains("event trigger"), "{version}: {missing:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_message_of_what_keeps_a_right_from_being_revoked_is_reported() {
    for version in [PgVersion::V15, PgVersion::V18] {
        let shop = Shop::new(version, Rights::Grants, OBJECTS).await;
        let set = shop.set();
        shop.reach(&set, &[("SELECT", "app.t1"), ("SELECT", "app.t2")]).await;
        watched(&shop, "REVOKE", "insert into changes values (tg_tag);").await;
        let outcome = shop.sync(&set, &[("SELECT", "app.t1")]).await;
        assert!(!outcome.is_complete());
        let excess = &outcome.excess[0];
        assert!(
            excess.refused.contains("42P01") && excess.refused.contains("on_change"),
            "{version}: {excess:?}"
        );
        assert_eq!(outcome.granted[&Privilege::Select], 1);
    }
}

#[tokio::test]
async fn an_event_trigger_that_names_what_it_uses_is_in_nobodys_way() {
    let shop = Shop::new(PgVersion::V17, Rights::Grants, OBJECTS).await;
    watched(&shop, "GRANT", "insert into public.changes values (tg_tag);").await;
    shop.reach(&shop.set(), &[("SELECT", "app.t1")]).await;
    assert_ne!(shop.value("select count(*) from public.changes").await, "0");
}
