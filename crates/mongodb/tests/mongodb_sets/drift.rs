//! Changes by hand are corrected.

use mongodb::bson::{Document, doc};
use rolecall_engine::{Engine as _, Reason};

use crate::shop::{Shop, grants, unique};

#[tokio::test]
async fn whatever_was_added_by_hand_goes() {
    let shop = Shop::new(&["orders", "payments"]).await;
    let set = shop.set();
    shop.reach(&set, &[("FIND", "orders")]).await;
    let more = |privilege: Document| doc! { "privileges": [privilege] };
    for (verb, change) in [
        ("grantPrivilegesToRole", more(shop.privilege("payments", "find"))),
        ("grantPrivilegesToRole", more(shop.privilege("orders", "remove"))),
        ("grantPrivilegesToRole", more(shop.privilege("orders", "anyAction"))),
        ("grantPrivilegesToRole", more(shop.privilege("", "dropDatabase"))),
        ("grantPrivilegesToRole", more(shop.privilege("not yet there", "find"))),
        ("grantRolesToRole", doc! { "roles": [{ "role": "readWrite", "db": &shop.database }] }),
    ] {
        shop.tamper(verb, &set, change.clone()).await;
        let outcome = shop.reach(&set, &[("FIND", "orders")]).await;
        assert!(outcome.failure.is_none(), "{change}");
        assert_eq!(shop.privileges_of(&set).await, grants(&[("find", "orders")]), "{change}");
        assert_eq!(shop.role(&set).await.unwrap().get_array("roles").unwrap().len(), 0, "{change}");
    }
}

#[tokio::test]
async fn whatever_was_taken_by_hand_comes_back() {
    let shop = Shop::new(&["orders"]).await;
    let set = shop.set();
    let wanted = [("FIND, INSERT", "orders")];
    let all = grants(&[("find", "orders"), ("insert", "orders")]);
    shop.reach(&set, &wanted).await;
    let less = doc! { "privileges": [shop.privilege("orders", "find")] };
    shop.tamper("revokePrivilegesFromRole", &set, less).await;
    shop.reach(&set, &wanted).await;
    assert_eq!(shop.privileges_of(&set).await, all);
    // With everything, its record too.
    shop.tamper("updateRole", &set, doc! { "privileges": [] }).await;
    assert_eq!(shop.read(&[&set]).await.sets[&set].record, None);
    shop.reach(&set, &wanted).await;
    assert_eq!(shop.privileges_of(&set).await, all);
    shop.tamper("dropRole", &set, doc! {}).await;
    assert_eq!(shop.role(&set).await, None);
    shop.reach(&set, &wanted).await;
    assert_eq!(shop.privileges_of(&set).await, all);
}

#[tokio::test]
async fn a_set_that_was_dropped_after_the_read_comes_back() {
    let shop = Shop::new(&["orders"]).await;
    let set = shop.set();
    shop.reach(&set, &[("FIND", "orders")]).await;
    let catalog = shop.read(&[&set]).await;
    let desired = shop.desired(&set, &catalog, &[("INSERT", "orders")]);
    shop.tamper("dropRole", &set, doc! {}).await;
    let outcome = shop.engine.sync_sets(&[desired], &catalog).await.unwrap().remove(0);
    assert!(outcome.is_complete(), "{outcome:#?}");
    assert_eq!(shop.privileges_of(&set).await, grants(&[("insert", "orders")]));
}

#[tokio::test]
async fn a_set_of_another_admin_is_left_alone() {
    let shop = Shop::new(&["orders"]).await;
    let set = shop.set();
    let catalog = shop.read(&[&set]).await;
    let mut theirs = shop.desired(&set, &catalog, &[("FIND", "orders")]);
    theirs.record.uid = "them".to_owned();
    assert!(shop.engine.sync_sets(&[theirs], &catalog).await.unwrap()[0].is_complete());
    let failure = shop.sync(&set, &[("INSERT", "orders")]).await.failure.unwrap();
    assert_eq!(failure.reason, Reason::DbRoleNotGrantable);
    assert!(failure.remedy.contains("dropRole"), "{failure}");
    assert_eq!(shop.privileges_of(&set).await, grants(&[("find", "orders")]));
    let refused = shop.reason(&shop.member(&unique("alice"), &[&set])).await;
    assert_eq!(refused, Reason::DbRoleNotGrantable);
}

#[tokio::test]
async fn a_collection_that_was_dropped_leaves_nothing_for_the_next_of_its_name() {
    let shop = Shop::new(&["orders", "payments"]).await;
    let set = shop.set();
    shop.reach(&set, &[("FIND", "*")]).await;
    shop.run(doc! { "drop": "payments" }).await;
    let outcome = shop.reach(&set, &[("FIND", "*")]).await;
    assert_eq!(outcome.granted.values().sum::<usize>(), 1);
    assert_eq!(shop.privileges_of(&set).await, grants(&[("find", "orders")]));
}
