//! Admin users with all, some and no rights.

use rolecall_policy::Privilege;
use rolecall_testbed::PgVersion;

use crate::common::enabled;
use crate::shop::{Rights, Shop};

const OBJECTS: &str = "create table app.t1 (id int); create table app.t2 (id int)";

#[tokio::test]
async fn an_admin_without_any_right_makes_a_set_that_lacks_everything() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::None, OBJECTS).await;
        let outcome = shop.sync(&shop.set(), &[("SELECT", "app.t1"), ("SELECT", "app.t2")]).await;
        assert!(outcome.failure.is_none() && outcome.connects, "{outcome:#?}");
        assert_eq!(outcome.missing_objects, 3, "{version:?}: {outcome:#?}");
        assert_eq!(outcome.granted.get(&Privilege::Select), None);
    }
}

#[tokio::test]
async fn an_admin_without_createrole_is_reported() {
    let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, OBJECTS).await;
    shop.sql(&format!("alter role {} nocreaterole", shop.bench.admin)).await;
    let outcome = shop.sync(&shop.set(), &[("SELECT", "app.t1")]).await;
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.reason, rolecall_engine::Reason::MissingCreateRole, "{failure}");
}

#[tokio::test]
async fn no_access_list_names_a_user() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::Grants, OBJECTS).await;
        let (set, user) = (shop.set(), crate::common::unique("alice"));
        shop.reach(&set, &[("SELECT", "*")]).await;
        shop.bench.reach(&crate::membership::with_sets(enabled(&user, &[]), &[&set])).await;
        let named = shop.value(&format!("select count(*)::text from pg_shdepend where refobjid = '{user}'::regrole and deptype = 'a' and classid <> 'pg_auth_members'::regclass")).await;
        assert_eq!(named, "0");
    }
}
