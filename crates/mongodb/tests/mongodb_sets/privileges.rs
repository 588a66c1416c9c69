//! What the admin user needs, and the error when it lacks some of it.

use mongodb::bson::{Document, doc};
use rolecall_engine::{Catalog, CatalogQuery, Class, DesiredSet, Engine as _, Error, Reason, SetRecord};

use crate::shop::{Shop, grants, narrow, unique};

const NEEDED: [&str; 5] = ["createRole", "dropRole", "grantRole", "listCollections", "viewRole"];

/// Reads, makes, changes, uses, lists and drops a set.
async fn whole_life(shop: &Shop<'_>) -> Result<(), Error> {
    let (set, user) = (shop.set(), unique("alice"));
    let query = CatalogQuery { database: shop.database.clone(), sets: [set.clone()].into() };
    for wanted in [[("FIND", "orders")], [("INSERT", "orders")]] {
        let catalog = shop.engine.read_objects(&query).await?;
        let desired = shop.desired(&set, &catalog, &wanted);
        if let Some(failure) = shop.engine.sync_sets(&[desired], &catalog).await?.remove(0).failure {
            return Err(failure);
        }
    }
    assert_eq!(shop.privileges_of(&set).await, grants(&[("insert", "orders")]));
    let desired = shop.member(&user, &[&set]);
    shop.bring(&desired).await;
    assert!(shop.engine.list_sets().await?.iter().any(|entry| entry.role == set && entry.members == 1));
    shop.bring(&desired.end(true)).await;
    let applied = shop.engine.drop_set(&set, "us").await?;
    match applied.kept_because {
        None => Ok(()),
        Some(why) => Err(Error {
            class: Class::Refused,
            reason: Reason::MissingMongoPrivileges,
            attempted: String::new(),
            code: String::new(),
            remedy: why.split_once("; ").unwrap().1.to_owned(),
            detail: why,
        }),
    }
}

#[tokio::test]
async fn what_is_documented_is_enough_and_each_part_is_needed_and_the_remedy_mends_it() {
    let shop = Shop::new(&["orders"]).await;
    whole_life(&shop).await.unwrap();
    for lacking in NEEDED {
        let rest: Vec<&str> = NEEDED.into_iter().filter(|action| *action != lacking).collect();
        shop.mongo.set_admin(&shop.admin, &narrow().database(&shop.database, &rest)).await.unwrap();
        let error = whole_life(&shop).await.unwrap_err();
        assert_eq!(
            (error.class, error.reason),
            (Class::Refused, Reason::MissingMongoPrivileges),
            "{lacking}"
        );
        assert!(error.detail.contains(lacking), "{lacking}: {error}");
        let others = rest.iter().any(|other| error.remedy.contains(*other));
        assert!(!others, "only what is missing: {error}");
        run_as_a_person(&shop, &error.remedy).await;
        whole_life(&shop).await.unwrap_or_else(|error| panic!("{lacking}: {error}"));
    }
}

#[tokio::test]
async fn a_set_that_may_not_be_read_any_more_delays_nothing_else() {
    let shop = Shop::new(&["orders"]).await;
    let (here, crm, user) = (shop.set(), unique("crm"), unique("alice"));
    let there = format!("{}@{crm}", here.split_once('@').unwrap().0);
    let rights = || narrow().object_permissions(&shop.database);
    shop.mongo.set_admin(&shop.admin, &rights().object_permissions(&crm)).await.unwrap();
    shop.reach(&here, &[("FIND", "orders")]).await;
    let record = SetRecord { database: crm.clone(), ..shop.record() };
    let catalog = Catalog { database: crm.clone(), open: true, ..Catalog::default() };
    let desired = DesiredSet { role: there.clone(), record, wanted: Vec::new() };
    assert!(shop.engine.sync_sets(&[desired], &catalog).await.unwrap()[0].is_complete());
    shop.bring(&shop.member(&user, &[&here, &there])).await;

    let rest = ["createRole", "dropRole", "grantRole", "revokeRole", "listCollections"];
    shop.mongo.set_admin(&shop.admin, &rights().database(&crm, &rest)).await.unwrap();
    // One of its sessions is over, the other goes on with what it has.
    let client = shop.log_in(&user).await;
    let find = async || client.database(&shop.database).run_command(doc! { "find": "orders" }).await;
    assert!(find().await.is_ok());
    let live = shop.member(&user, &[&there]).live();
    shop.bring(&live).await;
    assert!(find().await.is_err(), "the set was not taken");
    // For those who do not have it yet, the error says why, and what to do.
    let stopped = shop.member(&unique("bob"), &[&there]).bring(&shop.engine).await.unwrap_err();
    assert_eq!(stopped.reason(), Some(Reason::MissingMongoPrivileges), "{stopped}");
    let text = stopped.to_string();
    assert!(text.contains("viewRole") && text.contains("grantPrivilegesToRole"), "{text}");
    shop.bring(&live.end(true)).await;
}

/// Runs `db.getSiblingDB("...").runCommand({...})` from a remedy.
async fn run_as_a_person(shop: &Shop<'_>, remedy: &str) {
    let rest = remedy.split_once("db.getSiblingDB(\"").unwrap().1;
    let (database, rest) = rest.split_once("\").runCommand(").unwrap();
    let (command, _) = rest.rsplit_once(')').unwrap();
    let command: serde_json::Value = serde_json::from_str(command).unwrap();
    // JSON objects have no order, and the name of a command comes first.
    let mut document = Document::new();
    document.insert("grantPrivilegesToRole", command["grantPrivilegesToRole"].as_str().unwrap());
    document.insert("privileges", mongodb::bson::serialize_to_bson(&command["privileges"]).unwrap());
    shop.run_in(database, document).await;
}

#[tokio::test]
async fn rights_on_one_database_give_no_sets_in_another() {
    let shop = Shop::new(&["orders"]).await;
    let elsewhere = unique("crm");
    let query = CatalogQuery { database: elsewhere.clone(), sets: Default::default() };
    let error = shop.engine.read_objects(&query).await.unwrap_err();
    assert_eq!(error.reason, Reason::MissingMongoPrivileges);
    assert!(error.remedy.contains(&elsewhere) && error.detail.contains("listCollections"), "{error}");
    let query = CatalogQuery { database: "no such name".to_owned(), sets: Default::default() };
    let error = shop.engine.read_objects(&query).await.unwrap_err();
    assert_eq!(error.reason, Reason::DatabaseNameNotFound);
}
