//! The desired set is created in one command.

use mongodb::bson::{Document, doc};
use rolecall_engine::{CatalogQuery, Engine as _};
use rolecall_policy::{ObjectKind, Privilege};

use crate::shop::{Shop, grants, narrow, unique};

#[tokio::test]
async fn collections_views_and_time_series_are_read_and_system_collections_are_not() {
    let shop = Shop::new(&["orders"]).await;
    shop.run(doc! { "create": "by_day", "viewOn": "orders", "pipeline": [] }).await;
    shop.run(doc! { "create": "load", "timeseries": { "timeField": "at" } }).await;
    let catalog = shop.read(&[]).await;
    let names: Vec<&str> = catalog.objects.iter().map(|object| &*object.name).collect();
    assert_eq!(names, ["by_day", "load", "orders"]);
    assert!(catalog.objects.iter().all(|object| object.kind == ObjectKind::Collection));
}

#[tokio::test]
async fn databases_of_the_server_itself_have_no_objects() {
    let shop = Shop::new(&[]).await;
    let [admin, local] = ["admin", "local"];
    let rights = narrow().object_permissions(admin).object_permissions(local);
    shop.mongo.set_admin(&shop.admin, &rights).await.unwrap();
    for database in [admin, local] {
        let query = CatalogQuery { database: database.to_owned(), sets: Default::default() };
        let catalog = shop.engine.read_objects(&query).await.unwrap();
        assert!(catalog.objects.is_empty(), "{:?}", catalog.objects);
    }
}

#[tokio::test]
async fn more_collections_than_fit_one_answer_are_read() {
    let names: Vec<String> = (0..250).map(|i| format!("collection-with-a-rather-long-name-{i:04}")).collect();
    let shop = Shop::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let catalog = shop.read(&[]).await;
    let found: Vec<&str> = catalog.objects.iter().map(|object| &*object.name).collect();
    assert_eq!(found, names);
    let set = shop.set();
    let outcome = shop.reach(&set, &[("FIND", "*")]).await;
    assert_eq!(outcome.granted, [(Privilege::Find, 250)].into());
}

#[tokio::test]
async fn a_member_can_do_what_its_set_can_and_nothing_else() {
    let shop = Shop::new(&["orders", "payments"]).await;
    shop.run(doc! { "create": "by_day", "viewOn": "payments", "pipeline": [] }).await;
    let (set, user) = (shop.set(), unique("alice"));
    let outcome = shop.reach(&set, &[("FIND, INSERT", "orders"), ("FIND", "by_day")]).await;
    assert_eq!(outcome.granted, [(Privilege::Find, 2), (Privilege::Insert, 1)].into());
    assert_eq!(
        shop.privileges_of(&set).await,
        grants(&[("find", "orders"), ("insert", "orders"), ("find", "by_day")])
    );
    shop.bring(&shop.member(&user, &[&set])).await;
    let client = shop.log_in(&user).await;
    let can = async |command: Document| client.database(&shop.database).run_command(command).await.is_ok();
    assert!(can(doc! { "find": "orders" }).await);
    assert!(can(doc! { "insert": "orders", "documents": [{ "n": 1 }] }).await);
    assert!(can(doc! { "find": "by_day" }).await, "a view without what is behind it");
    for command in [
        doc! { "find": "payments" },
        doc! { "delete": "orders", "deletes": [{ "q": {}, "limit": 0 }] },
        doc! { "drop": "orders" },
        doc! { "create": "system.rolecall x" },
        doc! { "rolesInfo": 1 },
        doc! { "listIndexes": "orders" },
    ] {
        assert!(!can(command.clone()).await, "{command}");
    }

    // What the set gets and loses, its members get and lose at once, also on connections that are open.
    let outcome = shop.reach(&set, &[("FIND", "payments")]).await;
    assert_eq!(outcome.revoked, [(Privilege::Find, 2), (Privilege::Insert, 1)].into());
    assert!(can(doc! { "find": "payments" }).await && !can(doc! { "find": "orders" }).await);
}

#[tokio::test]
async fn a_set_that_differs_takes_one_change_and_one_read() {
    let shop = Shop::new(&["orders", "payments"]).await;
    let set = shop.set();
    let sent = || shop.engine.stats().statements;
    let catalog = shop.read(&[&set]).await;
    for wanted in [[("FIND", "orders")], [("FIND, UPDATE, REMOVE", "payments")]] {
        let catalog = if wanted[0].1 == "orders" { catalog.clone() } else { shop.read(&[&set]).await };
        let (desired, before) = (shop.desired(&set, &catalog, &wanted), sent());
        shop.engine.sync_sets(&[desired], &catalog).await.unwrap();
        assert_eq!(sent() - before, 2, "{wanted:?}");
    }
    let catalog = shop.read(&[&set]).await;
    let desired = shop.desired(&set, &catalog, &[("FIND, UPDATE, REMOVE", "payments")]);
    let before = sent();
    assert!(shop.engine.sync_sets(&[desired], &catalog).await.unwrap()[0].is_complete());
    assert_eq!(sent() - before, 0, "nothing differs");
}

#[tokio::test]
async fn every_action_that_policy_knows_is_one_of_the_server() {
    let shop = Shop::new(&["orders"]).await;
    let all: Vec<Privilege> =
        Privilege::all().filter(|privilege| privilege.applies_to(ObjectKind::Collection)).collect();
    let list = all.iter().map(|privilege| privilege.as_str()).collect::<Vec<_>>().join(", ");
    let set = shop.set();
    shop.reach(&set, &[(&list, "orders")]).await;
    assert_eq!(shop.privileges_of(&set).await.len(), all.len());
}

#[tokio::test]
async fn the_permissions_of_a_set_can_be_read_from_its_role() {
    let shop = Shop::new(&["orders"]).await;
    let set = shop.set();
    shop.reach(&set, &[("FIND", "orders")]).await;
    assert_eq!(shop.read(&[&set]).await.sets[&set].record, Some(shop.record()));
    let text = shop.role(&set).await.unwrap().to_string();
    assert!(text.contains("shop/orders") && text.contains("FIND where env"), "{text}");
}
