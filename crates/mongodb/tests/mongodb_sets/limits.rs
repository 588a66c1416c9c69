//! How many privileges a set can have.

use std::time::Instant;

use mongodb::bson::doc;
use rolecall_engine::objects::{ObjectGrant, SetState};
use rolecall_engine::{Catalog, Engine as _, Reason};
use rolecall_policy::{DbObject, ObjectKind, Privilege, PrivilegeSet};

use crate::shop::{Shop, grants, unique};

/// As if the database had so many collections. A privilege can be given on one that is not there.
fn many(shop: &Shop<'_>, count: u32) -> Catalog {
    let object = |i| DbObject::new(ObjectKind::Collection, shop.database.as_str(), "", format!("c{i:06}"));
    Catalog {
        database: shop.database.clone(),
        objects: (0..count).map(object).collect(),
        ids: (0..count).collect(),
        open: true,
        ..Catalog::default()
    }
}

#[tokio::test]
async fn a_set_of_too_many_collections_is_refused_and_the_others_are_made() {
    let shop = Shop::new(&[]).await;
    let catalog = many(&shop, 50_000);
    let (large, small) = (shop.set(), shop.set());
    let desired = [
        shop.desired(&large, &catalog, &[("FIND", "*")]),
        shop.desired(&small, &catalog, &[("FIND", "c000001")]),
    ];
    let outcomes = shop.engine.sync_sets(&desired, &catalog).await.unwrap();
    let failure = outcomes[0].failure.as_ref().unwrap();
    assert_eq!(failure.reason, Reason::Unsupported);
    assert!(failure.detail.contains("50000 collections") && failure.remedy.contains("fewer"), "{failure}");
    assert!(outcomes[1].is_complete(), "{:#?}", outcomes[1]);
    assert_eq!(shop.role(&large).await, None);
}

#[tokio::test]
async fn a_set_that_should_have_too_much_still_loses_what_it_should_not_have() {
    let shop = Shop::new(&[]).await;
    let mut catalog = many(&shop, 30_000);
    let set = shop.set();
    let small = shop.desired(&set, &catalog, &[("FIND, REMOVE", "c000001")]);
    assert!(shop.engine.sync_sets(&[small], &catalog).await.unwrap()[0].is_complete());
    let privileges = [Privilege::Find, Privilege::Remove].into_iter().collect();
    let grant = ObjectGrant { object: 1, grantor: "".into(), privileges, grantable: PrivilegeSet::EMPTY };
    let state =
        SetState { record: Some(shop.record()), connects: true, grants: vec![grant], foreign_grants: false };
    catalog.sets.insert(set.clone(), state);
    let large = shop.desired(&set, &catalog, &[("FIND", "*")]);
    let outcome = shop.engine.sync_sets(&[large], &catalog).await.unwrap().remove(0);
    assert_eq!(outcome.failure.map(|failure| failure.reason), Some(Reason::Unsupported));
    assert_eq!(shop.privileges_of(&set).await, grants(&[("find", "c000001")]));
    // Where it has nothing too much, nothing is written.
    let privileges = [Privilege::Find].into_iter().collect();
    catalog.sets.get_mut(&set).unwrap().grants[0].privileges = privileges;
    let before = shop.engine.stats().statements;
    let large = shop.desired(&set, &catalog, &[("FIND", "*")]);
    let outcome = shop.engine.sync_sets(&[large], &catalog).await.unwrap().remove(0);
    assert_eq!(outcome.failure.map(|failure| failure.reason), Some(Reason::Unsupported));
    assert_eq!(shop.engine.stats().statements, before);
}

#[tokio::test]
async fn a_set_of_ten_thousand_collections_is_made_read_and_used() {
    let shop = Shop::new(&[]).await;
    let mut catalog = many(&shop, 10_000);
    let (set, user) = (shop.set(), unique("alice"));
    let desired = shop.desired(&set, &catalog, &[("FIND, INSERT, UPDATE, REMOVE", "*")]);
    let started = Instant::now();
    let outcome = shop.engine.sync_sets(std::slice::from_ref(&desired), &catalog).await.unwrap().remove(0);
    println!("synced in {:?}", started.elapsed());
    assert!(outcome.is_complete(), "{:?}", outcome.failure);
    assert_eq!(shop.privileges_of(&set).await.len(), 40_000);
    let started = Instant::now();
    catalog.sets = shop.read(&[&set]).await.sets;
    println!("read in {:?}", started.elapsed());
    assert!(catalog.sets[&set].foreign_grants, "none of them is there");
    let started = Instant::now();
    shop.bring(&shop.member(&user, &[&set])).await;
    println!("an account with it started in {:?}", started.elapsed());
    let started = Instant::now();
    let client = shop.log_in(&user).await;
    println!("logged in after {:?}", started.elapsed());
    let find = client.database(&shop.database).run_command(doc! { "find": "c009999" }).await;
    assert!(find.is_ok(), "{find:?}");
}
