//! Permission sets: their privileges.

use futures::future::join_all;
use rolecall_engine::sets::plan_set;
use rolecall_engine::{CatalogQuery, ObjectRef, Reason, SomeObjects};

use super::objects::{Set, Sort, expected, read, sync};
use super::{Harness, Outcome, cases, check, check_eq};

cases![
    objects_are_read,
    a_database_that_is_not_there_has_no_objects,
    a_set_is_created_with_exactly_the_desired_privileges,
    a_changed_desired_set_gives_and_takes,
    unchanged_grants_are_not_touched_again,
    a_set_gets_new_objects,
    what_is_taken_by_hand_comes_back,
    what_is_given_by_hand_goes,
    some_objects_are_put_right_without_the_others,
    what_is_dropped_meanwhile_is_passed_over,
    what_is_renamed_or_replaced_is_put_right,
    objects_of_any_name_are_granted,
    what_may_not_be_granted_is_missing_with_a_remedy,
    many_sets_at_once,
    sets_of_two_databases_do_not_touch_each_other,
    only_sets_of_our_own_are_synced,
];

async fn objects_are_read(h: &dyn Harness) -> Outcome {
    let (objects, Sort { kind, .. }) = (h.objects(), h.objects().sort());
    let [here, there] = [objects.database("here").await, objects.database("there").await];
    for object in ["orders", "customers"] {
        objects.create(&here, object).await;
    }
    objects.create(&there, "elsewhere").await;
    let catalog = read(h, &here, &[]).await?;
    let found = catalog.objects.iter().filter(|object| object.kind == kind);
    let names: Vec<(&str, &str)> = found.map(|object| (&*object.database, &*object.name)).collect();
    check_eq!(names, [(here.as_str(), "customers"), (here.as_str(), "orders")]);
    check!(catalog.objects.is_sorted() && catalog.ids.len() == catalog.objects.len(), "{catalog:?}");
    check_eq!((catalog.database.as_str(), catalog.sets.len()), (here.as_str(), 0));
    Ok(())
}

async fn a_database_that_is_not_there_has_no_objects(h: &dyn Harness) -> Outcome {
    let query = CatalogQuery { database: h.name("dropped"), sets: Default::default() };
    // Some servers know no difference between a database without objects and none.
    match h.engine().read_objects(&query).await {
        Ok(catalog) => check!(catalog.objects.is_empty(), "{catalog:?}"),
        Err(error) => check_eq!(error.reason, Reason::DatabaseNameNotFound),
    }
    Ok(())
}

async fn a_set_is_created_with_exactly_the_desired_privileges(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    for object in ["orders", "customers", "payments"] {
        objects.create(&database, object).await;
    }
    let set = Set::new(h, &database);
    let outcome = set.must(&[("orders", read), ("orders", write), ("customers", read)]).await?;
    check_eq!(outcome.granted, [(read, 2), (write, 1)].into());
    check!(outcome.revoked.is_empty() && outcome.connects, "{outcome:?}");
    let state = self::read(h, &database, &[&set]).await?.sets.remove(&set.role).unwrap_or_default();
    check_eq!(state.record, Some(set.record()));
    Ok(())
}

async fn a_changed_desired_set_gives_and_takes(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    for object in ["orders", "customers"] {
        objects.create(&database, object).await;
    }
    let set = Set::new(h, &database);
    set.must(&[("orders", read), ("customers", read)]).await?;
    let outcome = set.must(&[("orders", read), ("orders", write)]).await?;
    check_eq!((outcome.granted, outcome.revoked), ([(read, 1), (write, 1)].into(), [(read, 1)].into()));
    let outcome = set.must(&[]).await?;
    // What only served to reach the objects may be gone, too.
    check_eq!([read, write].map(|one| outcome.revoked.get(&one).copied()), [Some(1), Some(1)]);
    check!(outcome.granted.is_empty(), "{outcome:?}");
    Ok(())
}

async fn unchanged_grants_are_not_touched_again(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    objects.create(&database, "orders").await;
    let set = Set::new(h, &database);
    let first = set.must(&[("orders", read)]).await?;
    let catalog = set.read().await?;
    let desired = set.desired(&catalog, &[("orders", read)]);
    check!(plan_set(&desired, &catalog).is_nothing(), "{}", plan_set(&desired, &catalog));
    let again = sync(h, &[desired], &catalog).await?.remove(0);
    check!(again.is_complete() && again.revoked.is_empty(), "{again:?}");
    check_eq!(again.granted, first.granted);
    check_eq!(set.privileges().await, expected(&[("orders", read)]));
    Ok(())
}

async fn a_set_gets_new_objects(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    let set = Set::new(h, &database);
    let outcome = set.must(&[]).await?;
    check!(outcome.granted.is_empty(), "{outcome:?}");
    for object in ["orders", "customers"] {
        objects.create(&database, object).await;
        set.must(&[(object, read)]).await?;
    }
    let outcome = set.must(&[("orders", read), ("customers", read)]).await?;
    check_eq!(outcome.granted, [(read, 2)].into());
    Ok(())
}

async fn what_is_taken_by_hand_comes_back(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    objects.create(&database, "orders").await;
    let set = Set::new(h, &database);
    let wanted = [("orders", read), ("orders", write)];
    set.must(&wanted).await?;
    objects.revoke(&database, "orders", write, &set.role).await;
    check_eq!(set.privileges().await, expected(&[("orders", read)]));
    let outcome = set.must(&wanted).await?;
    check_eq!(outcome.granted, [(read, 1), (write, 1)].into());
    Ok(())
}

async fn what_is_given_by_hand_goes(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    for object in ["orders", "payments"] {
        objects.create(&database, object).await;
    }
    let set = Set::new(h, &database);
    set.must(&[("orders", read)]).await?;
    objects.grant(&database, "orders", write, &set.role).await;
    objects.grant(&database, "payments", read, &set.role).await;
    check_eq!(set.privileges().await.len(), 3);
    let outcome = set.must(&[("orders", read)]).await?;
    check_eq!(outcome.revoked, [(read, 1), (write, 1)].into());
    Ok(())
}

async fn some_objects_are_put_right_without_the_others(h: &dyn Harness) -> Outcome {
    let (objects, Sort { kind, read, write }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    objects.create(&database, "orders").await;
    let set = Set::new(h, &database);
    set.must(&[("orders", read)]).await?;
    objects.grant(&database, "orders", write, &set.role).await;
    objects.create(&database, "payments").await;
    let all = set.read().await?;
    let Some(payments) =
        all.objects.iter().position(|object| object.kind == kind && &*object.name == "payments")
    else {
        return Err("the new object is not there".to_owned());
    };
    let some = SomeObjects {
        objects: ObjectRef::of(&all, payments).into_iter().collect(),
        ..SomeObjects::default()
    };
    let query = CatalogQuery { database: database.clone(), sets: [set.role.clone()].into() };
    let catalog = match h.engine().read_some_objects(&query, &some).await {
        Err(error) if error.reason == Reason::Unsupported => return Ok(()),
        read => read.map_err(|error| error.to_string())?,
    };
    let found = catalog.objects.iter().filter(|object| object.kind == kind);
    check_eq!(found.map(|object| &*object.name).collect::<Vec<_>>(), ["payments"]);
    check!(catalog.elsewhere.is_some() && all.elsewhere.is_none(), "{catalog:?}");
    let outcomes = sync(h, &[set.desired(&catalog, &[("payments", read)])], &catalog).await?;
    check!(outcomes[0].is_complete(), "{outcomes:#?}");
    check_eq!(set.privileges().await, expected(&[("orders", read), ("orders", write), ("payments", read)]));
    set.must(&[("orders", read), ("payments", read)]).await.map(drop)
}

async fn what_is_dropped_meanwhile_is_passed_over(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    for object in ["orders", "customers", "payments"] {
        objects.create(&database, object).await;
    }
    let set = Set::new(h, &database);
    set.must(&[("payments", read)]).await?;
    let catalog = set.read().await?;
    let desired = set.desired(&catalog, &[("orders", read), ("customers", read)]);
    objects.drop(&database, "customers").await;
    objects.drop(&database, "payments").await;
    let outcome = sync(h, &[desired], &catalog).await?.remove(0);
    check!(outcome.is_complete(), "{outcome:#?}");
    check_eq!(set.privileges().await, expected(&[("orders", read)]));
    set.must(&[("orders", read)]).await?;
    Ok(())
}

async fn what_is_renamed_or_replaced_is_put_right(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    for object in ["orders", "customers"] {
        objects.create(&database, object).await;
    }
    let set = Set::new(h, &database);
    set.must(&[("orders", read), ("customers", read)]).await?;
    // Whatever a server makes of it: after the next sync the set has what is desired by the new names.
    objects.rename(&database, "orders", "orders_2025").await;
    objects.drop(&database, "customers").await;
    objects.create(&database, "customers").await;
    let wanted = [("orders_2025", read), ("customers", read)];
    set.must(&wanted).await?;
    // Also where it happens between reading and changing.
    let catalog = set.read().await?;
    objects.rename(&database, "customers", "old").await;
    objects.create(&database, "customers").await;
    let desired = set.desired(&catalog, &wanted);
    sync(h, &[desired], &catalog).await?;
    set.must(&[("orders_2025", read)]).await?;
    Ok(())
}

async fn objects_of_any_name_are_granted(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    let names = [
        "Say \"hi\"",
        "it's",
        "back\\slash",
        "naïve 表",
        "select",
        "a, b TO postgres --",
        "dotted.name",
        "{}",
    ];
    let names = names.map(|name| if objects.folds_names() { name.to_lowercase() } else { name.to_owned() });
    for name in &names {
        objects.create(&database, name).await;
    }
    let set = Set::new(h, &database);
    let wanted: Vec<_> = names.iter().map(|name| (name.as_str(), read)).collect();
    set.must(&wanted).await?;
    set.must(&[]).await?;
    Ok(())
}

async fn what_may_not_be_granted_is_missing_with_a_remedy(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    objects.create(&database, "orders").await;
    if !objects.create_foreign(&database, "theirs").await {
        return Ok(());
    }
    let set = Set::new(h, &database);
    let outcome = set.sync(&[("orders", read), ("theirs", read)]).await?;
    check!(outcome.failure.is_none() && !outcome.is_complete(), "{outcome:#?}");
    check_eq!((outcome.missing_objects, outcome.granted), (1, [(read, 1)].into()));
    let missing = &outcome.missing[0];
    check!(missing.object.contains("theirs") && missing.privileges == read.to_string(), "{missing:?}");
    check!(missing.statement.contains("theirs") && !missing.statement.is_empty(), "{missing:?}");
    // The others get what they should.
    check_eq!(set.privileges().await, expected(&[("orders", read)]));
    Ok(())
}

async fn many_sets_at_once(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    let names: Vec<String> = (0..8).map(|i| format!("object{i}")).collect();
    for name in &names {
        objects.create(&database, name).await;
    }
    let sets: Vec<Set<'_>> = names.iter().map(|_| Set::new(h, &database)).collect();
    let catalog = self::read(h, &database, &sets.iter().collect::<Vec<_>>()).await?;
    let wanted: Vec<_> = names.iter().map(|name| [(name.as_str(), read), (name.as_str(), write)]).collect();
    let desired: Vec<_> =
        sets.iter().zip(&wanted).map(|(set, wanted)| set.desired(&catalog, wanted)).collect();
    for outcome in sync(h, &desired, &catalog).await? {
        check!(outcome.is_complete(), "{outcome:#?}");
    }
    for (set, wanted) in sets.iter().zip(&wanted) {
        check_eq!(set.privileges().await, expected(wanted));
    }
    Ok(())
}

async fn sets_of_two_databases_do_not_touch_each_other(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let [here, there] = [objects.database("here").await, objects.database("there").await];
    for database in [&here, &there] {
        objects.create(database, "orders").await;
    }
    let [first, second] = [Set::new(h, &here), Set::new(h, &there)];
    let both = join_all([first.must(&[("orders", read)]), second.must(&[("orders", write)])]).await;
    for outcome in both {
        outcome?;
    }
    for (set, elsewhere) in [(&first, &there), (&second, &here)] {
        check!(objects.privileges_of(elsewhere, &set.role).await.is_empty(), "{} in {elsewhere}", set.role);
    }
    first.must(&[]).await?;
    check_eq!(second.privileges().await, expected(&[("orders", write)]));
    Ok(())
}

async fn only_sets_of_our_own_are_synced(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    objects.create(&database, "orders").await;
    let theirs = Set { uid: "them", ..Set::new(h, &database) };
    theirs.must(&[]).await?;
    let ours = Set { role: theirs.role.clone(), ..Set::new(h, &database) };
    let outcome = ours.sync(&[("orders", read)]).await?;
    check!(
        outcome.failure.is_some_and(|error| error.reason == Reason::DbRoleNotGrantable),
        "{:?}",
        ours.role
    );
    // Nor is a role that is no set.
    let role = h.role("reader", None).await;
    let outcome = Set { role, ..Set::new(h, &database) }.sync(&[("orders", read)]).await?;
    check!(outcome.failure.is_some_and(|error| error.reason == Reason::DbRoleInvalid), "{:?}", outcome.role);
    check!(theirs.privileges().await.is_empty(), "{:?}", theirs.role);
    Ok(())
}
