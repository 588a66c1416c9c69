//! The objects of a logical database: its collections and views.

use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::{Document, doc};
use rolecall_engine::dialect::mongodb::database_fault;
use rolecall_engine::objects::{Catalog, CatalogQuery};
use rolecall_engine::{Class, Error, Reason};
use rolecall_policy::{DbObject, ObjectKind};

use crate::Mongodb;
use crate::transport::request::Request;

/// Collections of the server's own, which nobody is given.
const SYSTEM: &str = "system.";
/// Databases of the server's own. Among what is in them is every write to any other database.
const SYSTEM_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// The number in the catalogue of each collection, by name.
pub(crate) type Numbers<'a> = HashMap<&'a str, usize>;

impl Mongodb {
    pub(crate) async fn catalog(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        let database = query.database.as_str();
        let what = format!("reading the collections of the database {database:?}");
        if let Some(fault) = database_fault(database) {
            return Err(Error {
                class: Class::Refused,
                reason: Reason::DatabaseNameNotFound,
                attempted: what,
                code: String::new(),
                detail: fault.to_owned(),
                remedy: "correct databaseName".to_owned(),
            });
        }
        let request = Request::new(what, database, doc! { "listCollections": 1, "nameOnly": true });
        let found = match self.server.list(&request, None).await {
            Err(error) => return Err(self.explained(error, database).await),
            Ok(found) => found,
        };
        let mut catalog = catalog(database, &found);
        catalog.sets = self.set_states(database, &query.sets, &numbers(&catalog)).await?;
        if !catalog.sets.is_empty() {
            // Their privileges are not trusted before a majority has them.
            let hello = self.server.hello().await?;
            let what = format!("reading the permission sets of the database {database:?}");
            self.server.until_confirmed(&what, hello.latest, &hello).await?;
        }
        Ok(catalog)
    }
}

/// The number in the catalogue of each collection, by name.
pub(crate) fn numbers(catalog: &Catalog) -> Numbers<'_> {
    catalog.objects.iter().enumerate().map(|(number, object)| (&*object.name, number)).collect()
}

/// Everybody may connect, and a collection has no number of its own: privileges go by names, also of what comes later.
fn catalog(database: &str, found: &[Document]) -> Catalog {
    let (database, schema): (Arc<str>, Arc<str>) = (database.into(), "".into());
    let own = SYSTEM_DATABASES.contains(&&*database);
    let names = found.iter().filter_map(|collection| collection.get_str("name").ok());
    let mut objects: Vec<DbObject> = names
        .filter(|name| !own && !name.starts_with(SYSTEM))
        .map(|name| DbObject::new(ObjectKind::Collection, Arc::clone(&database), Arc::clone(&schema), name))
        .collect();
    objects.sort_unstable();
    Catalog {
        database: database.to_string(),
        ids: (0..).take(objects.len()).collect(),
        objects: objects.into(),
        open: true,
        ..Catalog::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_and_views_are_objects_and_system_ones_are_not() {
        let named = |name: &str, kind: &str| doc! { "name": name, "type": kind };
        let found = [
            named("orders", "collection"),
            named("system.views", "collection"),
            named("by_day", "view"),
            named("system.buckets.load", "collection"),
            named("load", "timeseries"),
            named("systems", "collection"),
        ];
        let catalog = catalog("shop", &found);
        let names: Vec<&str> = catalog.objects.iter().map(|object| &*object.name).collect();
        assert_eq!(names, ["by_day", "load", "orders", "systems"]);
        assert!(catalog.objects.iter().all(|object| object.kind == ObjectKind::Collection));
        assert!(catalog.open && catalog.ids == [0, 1, 2, 3]);
        assert_eq!(numbers(&catalog)["orders"], 2);
        for database in SYSTEM_DATABASES {
            assert!(super::catalog(database, &found).objects.is_empty(), "{database}");
        }
    }
}
