//! A logical database with objects, an admin user, and the desired sets.

use std::collections::BTreeSet;

use rolecall_engine::objects::CatalogQuery;
use rolecall_engine::sets::{DesiredSet, SetRecord, SyncedSet};
use rolecall_engine::{Catalog, Engine as _};
use rolecall_policy::{Privilege, PrivilegeSet};
use rolecall_testbed::{PgVersion, Postgres};

use crate::common::{Bench, quote, unique};

/// How the admin user came by its rights on the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// It owns nothing, and has everything WITH GRANT OPTION.
    Grants,
    /// It is a member of the role that owns everything.
    MemberOfOwner,
    Superuser,
    /// It has none.
    None,
}

pub(crate) const RIGHTS: [Rights; 3] = [Rights::Grants, Rights::MemberOfOwner, Rights::Superuser];

/// One logical database, that an owner role fills with objects.
pub(crate) struct Shop {
    pub(crate) bench: Bench,
    pub(crate) database: String,
    pub(crate) owner: String,
    pub(crate) rights: Rights,
}

/// A set as it reads.
pub(crate) type Privileges = BTreeSet<(String, String)>;

impl Shop {
    /// With the objects that these statements make, in the schema `app` of the owner unless they say otherwise.
    pub(crate) async fn new(version: PgVersion, rights: Rights, objects: &str) -> Self {
        let attributes = if rights == Rights::Superuser { "superuser" } else { "createrole" };
        let bench = Bench::on(Postgres::shared(version).await.unwrap(), attributes).await;
        let (database, owner) = (unique("shop"), unique("owner"));
        bench.sql(&format!("create role {owner}")).await;
        bench.sql(&format!("create database {database} owner {owner}")).await;
        bench.sql(&format!("revoke connect, temporary on database {database} from public")).await;
        bench
            .sql(&format!("grant connect on database {database} to {} with grant option", bench.admin))
            .await;
        let shop = Self { bench, database, owner, rights };
        shop.make(&format!("create schema app; {objects}")).await;
        if rights == Rights::MemberOfOwner {
            shop.sql(&format!("grant {} to {}", shop.owner, shop.bench.admin)).await;
        }
        shop.let_admin_grant("app").await;
        shop
    }

    /// Lets the admin user grant what there is in a schema.
    pub(crate) async fn let_admin_grant(&self, schema: &str) {
        if self.rights != Rights::Grants {
            return;
        }
        let (schema, admin) = (quote(schema), &self.bench.admin);
        self.sql(&format!(
            "grant all on schema {schema} to {admin} with grant option;
             grant all on all tables in schema {schema} to {admin} with grant option;
             grant all on all sequences in schema {schema} to {admin} with grant option;
             grant all on all routines in schema {schema} to {admin} with grant option"
        ))
        .await;
    }

    /// Statements of the superuser.
    pub(crate) async fn sql(&self, statements: &str) -> Vec<Vec<Option<String>>> {
        let result = self.bench.pg.sql(&self.database, statements).await;
        result.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// Statements of the owner.
    pub(crate) async fn make(&self, statements: &str) {
        self.sql(&format!("set role {}; {statements}", self.owner)).await;
    }

    pub(crate) async fn value(&self, query: &str) -> String {
        self.bench.pg.value(&self.database, query).await.unwrap().unwrap_or_default()
    }

    pub(crate) fn query(&self, sets: &[&str]) -> CatalogQuery {
        CatalogQuery {
            database: self.database.clone(),
            sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        }
    }

    pub(crate) async fn read(&self, sets: &[&str]) -> Catalog {
        self.bench.engine.read_objects(&self.query(sets)).await.unwrap()
    }

    /// A set that nobody else has.
    pub(crate) fn set(&self) -> String {
        format!("rolecall:{}", unique("set"))
    }

    pub(crate) fn record(&self) -> SetRecord {
        SetRecord {
            uid: "uid-1".to_owned(),
            admin: "shop/orders".to_owned(),
            database: self.database.clone(),
            permissions: "SELECT where env: [prod]".to_owned(),
            ..SetRecord::default()
        }
    }

    /// A desired set with privileges on objects, named `schema.name`.
    pub(crate) fn desired(&self, set: &str, catalog: &Catalog, wanted: &[(&str, &str)]) -> DesiredSet {
        let of = |name: &str| -> PrivilegeSet {
            let texts = wanted.iter().filter(|(_, wanted)| *wanted == name || *wanted == "*");
            texts.flat_map(|(list, _)| list.split(", ")).filter_map(Privilege::parse).collect()
        };
        let objects = catalog.objects.iter().enumerate();
        let wanted = objects.map(|(i, object)| {
            (
                i,
                of(&format!("{}.{}", object.schema, object.name))
                    .intersection(PrivilegeSet::of_kind(object.kind)),
            )
        });
        DesiredSet {
            role: set.to_owned(),
            record: self.record(),
            wanted: wanted.filter(|(_, privileges)| !privileges.is_empty()).collect(),
        }
    }

    /// Reads, and syncs a set.
    pub(crate) async fn sync(&self, set: &str, wanted: &[(&str, &str)]) -> SyncedSet {
        let catalog = self.read(&[set]).await;
        let desired = self.desired(set, &catalog, wanted);
        self.bench.engine.sync_sets(&[desired], &catalog).await.unwrap().remove(0)
    }

    /// Syncs a set, and checks that it is complete and that nothing is left to do.
    pub(crate) async fn reach(&self, set: &str, wanted: &[(&str, &str)]) -> SyncedSet {
        let outcome = self.sync(set, wanted).await;
        assert!(outcome.is_complete(), "{outcome:#?}");
        let catalog = self.read(&[set]).await;
        let plan = rolecall_engine::sets::plan_set(&self.desired(set, &catalog, wanted), &catalog);
        assert!(plan.is_nothing(), "left to do:\n{plan}");
        outcome
    }

    /// What a set is granted by name: privilege and object.
    pub(crate) async fn privileges_of(&self, set: &str) -> Privileges {
        let rows = self
            .sql(&format!(
                "select x.privilege_type, x.name from (
                   select c.oid::regclass::text as name, a.* from pg_class c, aclexplode(c.relacl) a
                   union all select p.oid::regprocedure::text, a.* from pg_proc p, aclexplode(p.proacl) a
                   union all select n.nspname::text, a.* from pg_namespace n, aclexplode(n.nspacl) a
                   union all select 'database', a.* from pg_database d, aclexplode(d.datacl) a where d.datname = current_database()
                   union all select t.attrelid::regclass || '.' || t.attname, a.* from pg_attribute t, aclexplode(t.attacl) a
                 ) x where x.grantee = (select oid from pg_roles where rolname = '{set}')"
            ))
            .await;
        let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
        rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
    }
}

/// Privileges to compare with.
pub(crate) fn grants(list: &[(&str, &str)]) -> Privileges {
    list.iter().map(|(privilege, name)| ((*privilege).to_owned(), (*name).to_owned())).collect()
}
