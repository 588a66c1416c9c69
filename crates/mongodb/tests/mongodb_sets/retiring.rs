//! Listing sets, and dropping those that nobody needs any more.

use rolecall_engine::{Engine as _, Reason};

use crate::shop::{Shop, narrow, unique};

#[tokio::test]
async fn sets_are_listed_wherever_the_admin_user_sees_roles() {
    let shop = Shop::new(&["orders"]).await;
    let (set, user) = (shop.set(), unique("alice"));
    shop.reach(&set, &[("FIND", "orders")]).await;
    shop.bring(&shop.member(&user, &[&set])).await;
    let entries = shop.engine.list_sets().await.unwrap();
    assert_eq!(entries.len(), 1, "only those of the database that it has rights on: {entries:?}");
    assert_eq!((entries[0].role.as_str(), entries[0].members), (set.as_str(), 1));
    assert_eq!(entries[0].record, Some(shop.record()));
    // With the right on all databases, these are found.
    let all = narrow().database("", &["viewRole"]);
    shop.mongo.set_admin(&shop.admin, &all).await.unwrap();
    let entries = shop.engine.list_sets().await.unwrap();
    assert!(entries.iter().any(|entry| entry.role == set && entry.members == 1), "{entries:?}");
}

#[tokio::test]
async fn a_set_is_dropped_when_it_is_ours_and_nobody_has_it() {
    let shop = Shop::new(&["orders"]).await;
    let (set, user) = (shop.set(), unique("alice"));
    shop.reach(&set, &[("FIND", "orders")]).await;
    let desired = shop.member(&user, &[&set]);
    shop.bring(&desired).await;
    let drop = async |set: &str, uid: &str| shop.engine.drop_set(set, uid).await.unwrap();
    assert!(drop(&set, "us").await.kept_because.unwrap().contains("1 members"));
    shop.bring(&desired.end(false)).await;
    assert!(drop(&set, "them").await.kept_because.unwrap().contains("record"));
    assert!(shop.role(&set).await.is_some());
    assert!(drop(&set, "us").await.dropped && drop(&set, "us").await.dropped);
    assert_eq!(shop.role(&set).await, None);
    for other in ["read@shop", "rolecall:x", "rolecall:x@a b", ""] {
        assert!(drop(other, "us").await.kept_because.is_some(), "{other}");
    }
    // Starting as a member of it fails: it is gone.
    assert_eq!(shop.reason(&shop.member(&user, &[&set])).await, Reason::DbRoleNotFound);
}
