//! Accounts as members of sets.

use std::collections::BTreeSet;

use rolecall_engine::account::SetFacts;
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::{Desired, Engine as _, Reason, Want};
use rolecall_testbed::{PgVersion, Postgres};

use crate::common::{enabled, ended, live, owner, unique};
use crate::shop::{Rights, Shop};

const OBJECTS: &str = "create table app.t1 (id int); create table app.t2 (id int)";

/// The same with these sets.
pub(crate) fn with_sets(mut desired: Desired, sets: &[&str]) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        enabled.sets = sets.iter().map(|set| (*set).to_owned()).collect();
    }
    desired
}

fn in_database(mut desired: Desired, database: &str) -> Desired {
    if let Want::Enabled(enabled) = &mut desired.want {
        enabled.databases = BTreeSet::from([database.to_owned()]);
    }
    desired
}

#[tokio::test]
async fn a_member_can_do_what_the_set_and_its_roles_can_until_it_ends() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::Grants, OBJECTS).await;
        let (set, user, role) = (shop.set(), unique("alice"), shop.bench.role("reader").await);
        shop.sql(&format!("grant select on app.t2 to {role}")).await;
        shop.reach(&set, &[("SELECT", "app.t1")]).await;
        // CONNECT comes through the set alone.
        let desired = in_database(with_sets(enabled(&user, &[&role]), &[&set]), &shop.database);
        shop.bench.reach(&desired).await;
        let client = connect(&shop, &user).await.unwrap();
        client.batch_execute("select * from app.t1; select * from app.t2").await.unwrap();
        assert!(client.batch_execute("insert into app.t1 values (1)").await.is_err());
        // From 16 on it has the set's rights and cannot become it.
        let becomes = client.batch_execute(&format!("set role \"{set}\"; reset role")).await.is_ok();
        assert_eq!(becomes, version.major() == 15, "{version:?}");
        shop.bench.reach(&ended(&user, false)).await;
        assert!(connect(&shop, &user).await.is_err());
        let members = format!(
            "select count(*)::text from pg_auth_members where roleid = '\"{set}\"'::regrole and member = '{user}'::regrole"
        );
        assert_eq!(shop.value(&members).await, "0");
    }
}

async fn connect(shop: &Shop, user: &str) -> rolecall_testbed::Result<tokio_postgres::Client> {
    shop.bench.pg.connect(&shop.database, &shop.bench.pg.client_cert(user).unwrap()).await
}

#[tokio::test]
async fn a_live_account_changes_sets_without_losing_its_backends_from_16_on() {
    for version in PgVersion::ALL {
        let shop = Shop::new(version, Rights::MemberOfOwner, OBJECTS).await;
        let (first, second, user) = (shop.set(), shop.set(), unique("alice"));
        shop.reach(&first, &[("SELECT", "app.t1")]).await;
        shop.reach(&second, &[("SELECT", "app.t2")]).await;
        let desired = |sets: &[&str]| in_database(with_sets(enabled(&user, &[]), sets), &shop.database);
        shop.bench.reach(&desired(&[&first])).await;
        let client = connect(&shop, &user).await.unwrap();
        client.batch_execute("select * from app.t1").await.unwrap();
        shop.bench.reach(&live(desired(&[&second]))).await;
        let lives = client.batch_execute("select * from app.t2").await.is_ok();
        assert_eq!(lives, version.major() >= 16, "{version:?}");
        if lives {
            assert!(client.batch_execute("select * from app.t1").await.is_err());
        }
        // Somebody takes it away: it comes back, and nobody is thrown out.
        shop.sql(&format!("set role {}; revoke \"{second}\" from {user}", shop.bench.admin)).await;
        shop.bench.reach(&live(desired(&[&second]))).await;
        shop.bench.reach(&ended(&user, true)).await;
    }
}

#[tokio::test]
async fn only_sets_of_our_own_are_handed_out() {
    let shop = Shop::new(PgVersion::V17, Rights::Superuser, OBJECTS).await;
    let (set, user) = (shop.set(), unique("alice"));
    let desired = with_sets(enabled(&user, &[]), &[&set]);
    let refused = async || shop.bench.apply(&desired).await.unwrap_err().reason();
    assert_eq!(refused().await, Reason::DbRoleNotFound);
    shop.sql(&format!("create role \"{set}\"")).await;
    assert_eq!(refused().await, Reason::DbRoleNotGrantable);
    shop.reach(&set, &[]).await;
    shop.sql(&format!("alter role \"{set}\" createdb bypassrls")).await;
    assert_eq!(refused().await, Reason::DbRoleNotGrantable);
    shop.reach(&set, &[]).await;
    let mut other = desired.clone();
    other.owner = owner("uid-2");
    assert_eq!(shop.bench.apply(&other).await.unwrap_err().reason(), Reason::DbRoleNotGrantable);
    shop.bench.reach(&desired).await;
    let no_set = with_sets(enabled(&unique("bob"), &[]), &["postgres"]);
    assert_eq!(shop.bench.apply(&no_set).await.unwrap_err().reason(), Reason::DbRoleInvalid);
}

#[tokio::test]
async fn a_set_that_the_admin_may_not_grant_is_reported_with_the_statement() {
    let shop = Shop::new(PgVersion::V16, Rights::Grants, OBJECTS).await;
    let set = shop.set();
    let json = serde_json_of(&shop);
    shop.sql(&format!("create role \"{set}\"; comment on role \"{set}\" is '{json}'")).await;
    let desired = with_sets(enabled(&unique("alice"), &[]), &[&set]);
    let observed = shop.bench.engine.observe(&desired.query()).await.unwrap();
    let expected = SetFacts { owner_uid: Some("uid-1".to_owned()), ..SetFacts::default() };
    assert_eq!(observed.sets[&set], expected);
    let refusal = plan::plan(&desired, &observed).unwrap_err();
    assert_eq!(refusal.reason, Reason::MissingAdminOption);
    assert!(refusal.message.ends_with("WITH ADMIN OPTION"), "{refusal}");
}

fn serde_json_of(shop: &Shop) -> String {
    format!("{{\"uid\": \"uid-1\", \"database\": \"{}\"}}", shop.database)
}

#[tokio::test]
async fn a_plan_with_sets_leaves_nothing_to_do_and_distinguishes_sets_from_roles() {
    let _ = Postgres::shared(PgVersion::V17).await.unwrap();
    let shop = Shop::new(PgVersion::V17, Rights::MemberOfOwner, OBJECTS).await;
    let (set, user, role) = (shop.set(), unique("alice"), shop.bench.role("reader").await);
    shop.reach(&set, &[]).await;
    let desired = with_sets(enabled(&user, &[&role]), &[&set]);
    let observed = shop.bench.engine.observe(&desired.query()).await.unwrap();
    let Plan::Activate(activate) = plan::plan(&desired, &observed).unwrap() else { panic!("no activation") };
    assert_eq!((activate.grant, activate.grant_sets), (vec![role.clone()], vec![set.clone()]));
    shop.bench.reach(&desired).await;
    let without = live(enabled(&user, &[&role]));
    let observed = shop.bench.engine.observe(&without.query()).await.unwrap();
    let Plan::Adjust(adjust) = plan::plan(&without, &observed).unwrap() else { panic!("no adjustment") };
    assert_eq!((adjust.revoke, adjust.terminate), (vec![set], false));
}
