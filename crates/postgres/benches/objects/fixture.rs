//! A server with many tables, and what is done on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use rolecall_engine::account::Enabled;
use rolecall_engine::objects::Elsewhere;
use rolecall_engine::plan::{self, Plan};
use rolecall_engine::sets::{DesiredSet, SetRecord};
use rolecall_engine::{
    AccountName, Catalog, CatalogQuery, ChangedObjects, Changes, Desired, Engine as _, SomeObjects, Want,
};
use rolecall_policy::spec::{ImportRuleSpec, MappingSpec, MatchSpec, PermissionSpec};
use rolecall_policy::{
    Database, Effect, Faults, ImportRule, ImportRules, ObjectKind, PermissionEntries, PermissionEntry,
    Protocol, compute_permissions, label_objects,
};
use rolecall_postgres::Postgres as Engine;
use rolecall_testbed::{Postgres, rows};

use crate::common::{self, ADMIN, timed};

/// Tables in one bare statement.
const IN_ONE: usize = 500;

/// A server with a database of that many tables, on which the admin user has SELECT WITH GRANT OPTION.
pub(crate) struct Fixture {
    pub(crate) pg: Postgres,
    pub(crate) engine: Engine,
    rules: ImportRules,
    entries: PermissionEntries,
}

impl Fixture {
    pub(crate) async fn new(tables: usize) -> Self {
        let (pg, engine) = common::start().await;
        pg.sql("postgres", "create database shop").await.unwrap();
        pg.sql("shop", &format!("create schema app; grant usage on schema app to {ADMIN} with grant option"))
            .await
            .unwrap();
        let create = format!(
            "do $$ begin for i in 1..{tables} loop execute format('create table app.t%s (id int)', i);
             if i % 1000 = 0 then commit; end if; end loop; end $$"
        );
        pg.sql("shop", &create).await.unwrap();
        let fixture = Self { pg, engine, rules: rules(), entries: entries() };
        fixture.grant(tables, "postgres", ADMIN, " with grant option", IN_ONE).await;
        fixture.vacuum().await;
        fixture
    }

    /// Bare GRANTs on so many tables in each statement, as one of these users.
    async fn grant(&self, tables: usize, as_user: &str, role: &str, option: &str, in_one: usize) -> Duration {
        let client = self.pg.superuser("shop").await.unwrap();
        rows(&client, &format!("set session authorization {as_user}")).await.unwrap();
        let names: Vec<String> = (1..=tables).map(|i| format!("app.t{i}")).collect();
        let statements: Vec<String> = names
            .chunks(in_one)
            .map(|names| format!("grant select on table {} to {role}{option}", names.join(", ")))
            .collect();
        let grants = async {
            for statement in &statements {
                client.batch_execute(statement).await.unwrap();
            }
        };
        timed(grants).await.0
    }

    /// What it costs to grant each table separately.
    pub(crate) async fn naive_floor(&self, tables: usize, role: &str) -> Duration {
        self.role(role).await;
        self.grant(tables, ADMIN, role, "", 1).await
    }

    /// What the server takes at least.
    pub(crate) async fn bare_floor(&self, tables: usize, role: &str) -> Duration {
        self.role(role).await;
        self.grant(tables, ADMIN, role, "", IN_ONE).await
    }

    async fn role(&self, role: &str) {
        self.pg.sql("shop", &format!("create role {role}")).await.unwrap();
        self.vacuum().await;
    }

    pub(crate) async fn read(&self, set: &str) -> Catalog {
        let query = CatalogQuery { database: "shop".to_owned(), sets: BTreeSet::from([set.to_owned()]) };
        self.engine.read_objects(&query).await.unwrap()
    }

    /// Labels the objects by import rules, and computes the desired set.
    pub(crate) fn desired(&self, set: &str, catalog: &Catalog) -> DesiredSet {
        let labelled = Arc::new(label_objects(&self.rules, &database(), Arc::clone(&catalog.objects)));
        let permissions = compute_permissions(&self.entries, &labelled, Some("shop"));
        let record = SetRecord::new(&common::owner(), "shop", &self.entries.canonical());
        DesiredSet::new(set, record, &permissions)
    }

    pub(crate) async fn sync(&self, desired: &DesiredSet, catalog: &Catalog) {
        let outcomes = self.engine.sync_sets(std::slice::from_ref(desired), catalog).await.unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.is_complete()), "{outcomes:#?}");
    }

    /// Reads, labels and syncs: what one reconcile costs.
    pub(crate) async fn reconcile(&self, set: &str) {
        let catalog = self.read(set).await;
        self.sync(&self.desired(set, &catalog), &catalog).await;
    }

    /// Waits until somebody announces that objects have changed; then reads, labels and syncs these alone. Returns how long
    /// that took, with how many statements and rows.
    pub(crate) async fn reconcile_announced(
        &self,
        set: &str,
        changes: &mut Changes,
    ) -> (Duration, u64, usize) {
        let Some(ChangedObjects::These(objects)) = changes.next().await else { panic!("not named") };
        let before = self.engine.stats().statements;
        let begun = Instant::now();
        let query = CatalogQuery { database: "shop".to_owned(), sets: BTreeSet::from([set.to_owned()]) };
        let some = SomeObjects { objects, ..SomeObjects::default() };
        let mut catalog = self.engine.read_some_objects(&query, &some).await.unwrap();
        // As the operator knows from the look before.
        let schemas = (0..catalog.objects.len()).filter(|i| catalog.objects[*i].kind == ObjectKind::Schema);
        let used_schemas = [(set.to_owned(), schemas.collect())].into();
        catalog.elsewhere = Some(Elsewhere { used_schemas });
        self.sync(&self.desired(set, &catalog), &catalog).await;
        (begun.elapsed(), self.engine.stats().statements - before, catalog.objects.len())
    }

    pub(crate) async fn watch(&self) -> Changes {
        self.engine.watch_objects("shop").await.unwrap().unwrap()
    }

    /// How many statements the engine has sent.
    pub(crate) fn statements(&self) -> u64 {
        self.engine.stats().statements
    }

    /// Starts an account that is a member of the set.
    pub(crate) async fn start(&self, user: &str, set: &str) {
        let enabled = Enabled {
            sets: BTreeSet::from([set.to_owned()]),
            databases: BTreeSet::from(["shop".to_owned()]),
            ..Enabled::default()
        };
        self.account(user, Want::Enabled(enabled)).await;
    }

    pub(crate) async fn end(&self, user: &str) {
        self.account(user, Want::Ended { drop: false, reassign_to: None }).await;
    }

    async fn account(&self, user: &str, want: Want) {
        let desired = Desired {
            account: AccountName::new(user).unwrap(),
            owner: common::owner(),
            session_database: Some("shop".to_owned()),
            want,
        };
        let observed = self.engine.observe(&desired.query()).await.unwrap();
        let plan = plan::plan(&desired, &observed).unwrap();
        assert!(!matches!(plan, Plan::Nothing));
        self.engine.apply(&plan).await.unwrap();
    }

    /// Statements of the superuser.
    pub(crate) async fn sql(&self, statements: &str) {
        self.pg.sql("shop", statements).await.unwrap();
    }

    pub(crate) async fn vacuum(&self) {
        self.sql("vacuum analyze").await;
    }
}

fn database() -> Database {
    let labels = [("env".to_owned(), "prod".to_owned())].into();
    Database { name: "orders".to_owned(), protocol: Protocol::Postgres, labels }
}

/// Twenty rules of five mappings each, that give each table a few labels.
fn rules() -> ImportRules {
    let texts = |text: String| vec![text];
    let mapping = |r: usize, m: usize| MappingSpec {
        matching: MatchSpec {
            table_names: texts(if m == 0 { "*".to_owned() } else { format!("t{r}{m}*") }),
            ..MatchSpec::default()
        },
        add_labels: [("dept".to_owned(), "hr".to_owned()), (format!("area{m}"), "{{obj.schema}}".to_owned())]
            .into(),
        ..MappingSpec::default()
    };
    ImportRules::new((0..20).map(|r| {
        let mappings = (0..5).map(|m| mapping(r, m)).collect();
        let labels = Some([("env".to_owned(), texts("prod".to_owned()))].into());
        let spec = ImportRuleSpec { priority: 1, database_labels: labels, mappings };
        Arc::new(ImportRule::compile(&format!("rule{r}"), &spec).unwrap())
    }))
}

/// SELECT on everything that carries a label of the rules.
fn entries() -> PermissionEntries {
    let spec = PermissionSpec {
        matching: [("dept".to_owned(), vec!["hr".to_owned()])].into(),
        permissions: vec!["SELECT".to_owned()],
    };
    let entry = PermissionEntry::read("reader", Effect::Allow, 0, &spec, &mut Faults::default());
    PermissionEntries { allow: vec![Arc::new(entry)], deny: Vec::new() }
}
