//! A look at a few objects does what a look at all of them would do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use rolecall_engine::objects::ObjectClass;
use rolecall_engine::{
    Applied, Catalog, CatalogQuery, DesiredSet, Dialect, Engine, Error, Inventory, Needs, ObjectRef,
    Observed, Owner, Plan, Preflight, Query, SetEntry, SomeObjects, SyncedSet,
};
use rolecall_engine_conformance::fake::Fake;
use rolecall_policy::spec::{ImportRuleSpec, MappingSpec, MatchSpec, PermissionSpec, ScopeSpec};
use rolecall_policy::{
    DbObject, Effect, Faults, ImportRule, ObjectKind, PermissionEntry, Privilege, PrivilegeSet,
};
use serde_json::json;

use super::super::state::{Imported, Wanted};
use super::*;
use crate::model::{AccountKey, ObjectKey};
use crate::servers::{Issuer, Proof};
use crate::service_binding::{Binding, POSTGRES};

const SETS: [&str; 2] = ["rolecall:readers", "rolecall:writers"];
const KINDS: [ObjectKind; 4] =
    [ObjectKind::Table, ObjectKind::View, ObjectKind::Sequence, ObjectKind::Function];
const SCHEMAS: [&str; 4] = ["hr", "sales", "ops", "nowhere"];

/// What somebody does to the objects, each by its place among those there are.
#[derive(Clone, Debug)]
enum Change {
    Make { kind: usize, schema: usize, name: u8 },
    MakeSchema,
    Rename(usize, u8),
    Move(usize, usize),
    Drop(usize),
    Give(usize, usize, Privilege),
    Take(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let privileges = prop::sample::select(vec![
        Privilege::Select,
        Privilege::Update,
        Privilege::Usage,
        Privilege::Execute,
    ]);
    prop_oneof![
        3 => (0..KINDS.len(), 0..SCHEMAS.len(), any::<u8>())
            .prop_map(|(kind, schema, name)| Change::Make { kind, schema, name }),
        1 => Just(Change::MakeSchema),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(object, name)| Change::Rename(object, name)),
        2 => (any::<usize>(), 0..SCHEMAS.len()).prop_map(|(object, schema)| Change::Move(object, schema)),
        2 => any::<usize>().prop_map(Change::Drop),
        1 => (any::<usize>(), 0..SETS.len(), privileges)
            .prop_map(|(object, set, privilege)| Change::Give(object, set, privilege)),
        1 => (any::<usize>(), 0..SETS.len()).prop_map(|(object, set)| Change::Take(object, set)),
    ]
}

/// A server in memory that counts how often its objects were read: all of them, and some.
#[derive(Debug, Default)]
struct Counting {
    fake: Fake,
    reads: [AtomicUsize; 2],
}

#[async_trait]
impl Engine for Counting {
    fn dialect(&self) -> Dialect {
        self.fake.dialect()
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        self.fake.preflight(needs).await
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        self.fake.inventory().await
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        self.fake.observe(query).await
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        self.fake.apply(plan).await
    }

    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        self.reads[0].fetch_add(1, Ordering::Relaxed);
        self.fake.read_objects(query).await
    }

    async fn read_some_objects(&self, query: &CatalogQuery, some: &SomeObjects) -> Result<Catalog, Error> {
        self.reads[1].fetch_add(1, Ordering::Relaxed);
        self.fake.read_some_objects(query, some).await
    }

    async fn sync_sets(&self, desired: &[DesiredSet], catalog: &Catalog) -> Result<Vec<SyncedSet>, Error> {
        self.fake.sync_sets(desired, catalog).await
    }

    async fn list_sets(&self) -> Result<Vec<SetEntry>, Error> {
        self.fake.list_sets().await
    }

    async fn drop_set(&self, role: &str, owner_uid: &str) -> Result<Applied, Error> {
        self.fake.drop_set(role, owner_uid).await
    }

    async fn close(&self) {}
}

/// A logical database with two sets, that announces its changes.
struct World {
    shared: Arc<Shared>,
    engine: Arc<Counting>,
    server: Server,
    admin: DatabaseAdmin,
    key: DatabaseKey,
    kept: Vec<(String, Arc<PermissionEntries>)>,
    rules: ImportRules,
}

/// All that can be seen of the sets: their grants on the server, what their accounts are told, what is counted.
type Seen = (BTreeMap<u32, BTreeMap<String, PrivilegeSet>>, Vec<super::super::SetState>, Imported);

impl World {
    fn new() -> Self {
        let (shared, engine) = (Shared::alone(), Arc::new(Counting::default()));
        let admin: DatabaseAdmin = serde_json::from_value(json!({
            "metadata": {"name": "orders", "namespace": "shop", "labels": {"env": "prod"}},
            "spec": {"protocol": "postgres", "uri": "db:5432", "auth": {}, "objectSync": "1h"},
        }))
        .unwrap();
        let key = DatabaseKey { admin: ObjectKey::of(&admin), database: "app".into() };
        let kept = SETS.iter().zip([readers(), writers()]);
        let kept: Vec<_> = kept.map(|(role, entries)| ((*role).to_owned(), Arc::new(entries))).collect();
        for (role, entries) in &kept {
            let account = AccountKey { admin: key.admin.clone(), username: role.as_str().into() };
            let wanted = Wanted { key: key.clone(), role: role.clone(), entries: Arc::clone(entries) };
            shared.sets.want(&account, &[wanted]);
        }
        let known: Arc<dyn Engine> = engine.clone();
        let (queue, clock) = (&shared.queue, &shared.clock);
        shared.listeners.start(&key, &known, queue, clock, true, Duration::ZERO);
        let world = Self { server: server(known), shared, engine, admin, key, kept, rules: rules() };
        world.objects(|database| database.announces = true);
        for schema in &SCHEMAS[..2] {
            world.add(ObjectKind::Schema, schema, schema);
        }
        world
    }

    fn objects<T>(&self, act: impl FnOnce(&mut rolecall_engine_conformance::fake::Database) -> T) -> T {
        act(self.engine.fake.state().databases.entry("app".to_owned()).or_default())
    }

    fn add(&self, kind: ObjectKind, schema: &str, name: &str) -> ObjectRef {
        let id = self.engine.fake.state().add_object(DbObject::new(kind, "app", schema, name), true);
        ObjectRef { class: class(kind), id }
    }

    /// Changes something. Returns the object.
    fn change(&self, change: &Change) -> Option<ObjectRef> {
        let place = match change {
            Change::Make { kind, schema, name } => {
                return Some(self.add(KINDS[*kind], SCHEMAS[*schema], &format!("t{name}")));
            }
            Change::MakeSchema => {
                let there = |object: &DbObject| object.kind == ObjectKind::Schema && &*object.schema == "ops";
                let known = self.objects(|database| database.objects.values().any(|o| there(&o.object)));
                return (!known).then(|| self.add(ObjectKind::Schema, "ops", "ops"));
            }
            Change::Rename(place, _)
            | Change::Move(place, _)
            | Change::Drop(place)
            | Change::Give(place, ..)
            | Change::Take(place, _) => *place,
        };
        self.objects(|database| {
            let ids: Vec<u32> = database.objects.keys().copied().collect();
            let id = *ids.get(place.checked_rem(ids.len())?)?;
            let object = database.objects.get_mut(&id)?;
            let kind = object.object.kind;
            let with = |schema: &str, name: &str| DbObject::new(kind, "app", schema, name);
            match change {
                // What lies in a schema changes with it, which is announced as that anything may have.
                Change::Rename(..) | Change::Move(..) | Change::Drop(_) if kind == ObjectKind::Schema => {
                    return None;
                }
                Change::Rename(_, name) => object.object = with(&object.object.schema, &format!("t{name}")),
                Change::Move(_, schema) => object.object = with(SCHEMAS[*schema], &object.object.name),
                Change::Drop(_) => drop(database.objects.remove(&id)),
                Change::Give(_, set, privilege) => {
                    let has = object.granted.entry(SETS[*set].to_owned()).or_default();
                    *has = has.union(PrivilegeSet::from_iter([*privilege]));
                }
                Change::Take(_, set) => drop(object.granted.remove(SETS[*set])),
                Change::Make { .. } | Change::MakeSchema => {}
            }
            Some(ObjectRef { class: class(kind), id })
        })
    }

    async fn look(&self, cause: Cause) -> Action {
        let mut action = Action::default();
        let Self { shared, key, admin, server, kept, rules, .. } = self;
        Work { shared, key, admin, server, kept }.sync(cause, rules.clone(), &mut action).await;
        action
    }

    async fn announce(&self, changed: ChangedObjects) -> Action {
        self.shared.listeners.announce(&self.key, changed);
        self.look(Cause::Announced).await
    }

    /// How often all objects were read, and how often some.
    fn reads(&self) -> [usize; 2] {
        self.engine.reads.each_ref().map(|reads| reads.load(Ordering::Relaxed))
    }

    fn seen(&self) -> Seen {
        let granted = self.objects(|database| {
            let objects = database.objects.iter();
            let some = |granted: &BTreeMap<String, PrivilegeSet>| {
                granted
                    .iter()
                    .filter(|(_, has)| !has.is_empty())
                    .map(|(role, has)| (role.clone(), *has))
                    .collect()
            };
            objects.map(|(id, object)| (*id, some(&object.granted))).collect()
        });
        let states = SETS.map(|role| self.shared.sets.state(&self.key, role)).to_vec();
        (granted, states, self.shared.sets.imported(&self.key.admin).1)
    }
}

fn class(kind: ObjectKind) -> ObjectClass {
    match ObjectClass::of(kind) {
        ObjectClass::Sequence => ObjectClass::Table,
        class => class,
    }
}

fn server(engine: Arc<dyn Engine>) -> Server {
    Server {
        engine,
        owner: Owner { uid: "uid".to_owned(), ..Owner::default() },
        endpoint: Default::default(),
        binding: Binding {
            shape: &POSTGRES,
            scheme: "postgresql".to_owned(),
            authority: "db:5432".to_owned(),
            host: "db".to_owned(),
            port: 5432,
            options: String::new(),
            ssl_mode: None,
            server_ca: None,
        },
        issuer: Issuer::None,
        proof: Proof::default(),
        platform_roles: &[],
        fingerprint: 0,
    }
}

/// Two rules: one for what lies in three schemas, one for what is called so.
fn rules() -> ImportRules {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rule = |name: &str, priority, schemas: &[&str], names: &str, label: (&str, &str)| {
        let names = texts(&[names]);
        let spec = ImportRuleSpec {
            priority,
            database_labels: Some([("env".to_owned(), texts(&["prod"]))].into()),
            mappings: vec![MappingSpec {
                matching: MatchSpec {
                    table_names: names.clone(),
                    view_names: names.clone(),
                    sequence_names: names.clone(),
                    function_names: names.clone(),
                    schema_names: names,
                    ..MatchSpec::default()
                },
                scope: ScopeSpec { schema_names: texts(schemas), ..ScopeSpec::default() },
                add_labels: [(label.0.to_owned(), label.1.to_owned())].into(),
            }],
        };
        Arc::new(ImportRule::compile(name, &spec).unwrap())
    };
    ImportRules::new([
        rule("everything", 0, &["hr", "sales", "ops"], "*", ("where", "{{obj.schema}}")),
        rule("secret", 1, &["*"], "t1*", ("secret", "yes")),
    ])
}

fn entry(effect: Effect, label: (&str, &[&str]), privileges: &[&str]) -> Arc<PermissionEntry> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let spec = PermissionSpec {
        matching: [(label.0.to_owned(), texts(label.1))].into(),
        permissions: texts(privileges),
    };
    Arc::new(PermissionEntry::read("role", effect, 0, &spec, &mut Faults::default()))
}

fn readers() -> PermissionEntries {
    PermissionEntries {
        allow: vec![entry(Effect::Allow, ("where", &["hr", "sales"]), &["SELECT", "EXECUTE"])],
        deny: vec![entry(Effect::Deny, ("secret", &["yes"]), &["SELECT", "EXECUTE"])],
    }
}

fn writers() -> PermissionEntries {
    PermissionEntries {
        allow: vec![
            entry(Effect::Allow, ("where", &["sales", "ops"]), &["UPDATE"]),
            entry(Effect::Allow, ("secret", &["yes"]), &["SELECT", "USAGE"]),
        ],
        deny: Vec::new(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_look_at_what_has_changed_leaves_nothing_to_do_for_a_look_at_everything(
        before in prop::collection::vec(change(), 0..20),
        rounds in prop::collection::vec(prop::collection::vec(change(), 1..6), 1..5),
    ) {
        block_on(async {
            let world = World::new();
            world.look(Cause::Change).await;
            for change in &before {
                world.change(change);
            }
            world.look(Cause::Change).await;
            for (round, changes) in rounds.iter().enumerate() {
                let changed: BTreeSet<ObjectRef> =
                    changes.iter().filter_map(|change| world.change(change)).collect();
                world.announce(ChangedObjects::These(changed)).await;
                let after_some = world.seen();
                let reads = world.reads();
                prop_assert_eq!(reads[0], 2 + round, "only what was announced is read");
                world.look(Cause::Timer).await;
                prop_assert_eq!(after_some, world.seen(), "round {}: {:?}", round, changes);
            }
            Ok(())
        })?;
    }
}

fn table(world: &World, name: &str) -> ChangedObjects {
    ChangedObjects::These([world.add(ObjectKind::Table, "hr", name)].into())
}

#[tokio::test]
async fn what_is_not_named_is_not_touched() {
    let world = World::new();
    world.look(Cause::Change).await;
    table(&world, "unnamed");
    world.announce(table(&world, "named")).await;
    let (granted, ..) = world.seen();
    let with: Vec<bool> = granted.values().map(|of| of.contains_key(SETS[0])).collect();
    assert_eq!(with, [true, false, false, true], "the schemas hr and sales, and two tables");
    assert_eq!(world.reads(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_few_objects_puts_off_none_at_all_of_them() {
    let world = World::new();
    let due = world.look(Cause::Change).await.at.unwrap().0;
    for name in ["one", "two"] {
        tokio::time::advance(Duration::from_secs(60)).await;
        let at = world.announce(table(&world, name)).await.at.unwrap().0;
        // The wall clock goes on by itself.
        assert!((at - due).abs().total(jiff::Unit::Second).unwrap() < 200.0, "{at} {due}");
    }
    assert_eq!(world.reads(), [1, 2]);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    world.announce(table(&world, "three")).await;
    assert_eq!(world.reads(), [2, 2], "it was due");
    world.look(Cause::Announced).await;
    assert_eq!(world.reads(), [2, 2], "a look before took what was announced");
}

#[tokio::test]
async fn where_a_few_objects_are_not_enough_all_are_looked_at() {
    let world = World::new();
    world.announce(table(&world, "first")).await;
    assert_eq!(world.reads(), [1, 0], "nothing is known yet");
    world.announce(ChangedObjects::All).await;
    assert_eq!(world.reads(), [2, 0]);
    world.engine.fake.state().sets.remove(SETS[0]);
    world.announce(table(&world, "second")).await;
    assert_eq!(world.reads(), [3, 1], "a set is gone");
    world.announce(table(&world, "third")).await;
    assert_eq!(world.reads(), [3, 2]);
    let ungrantable = DbObject::new(ObjectKind::Table, "app", "hr", "closed");
    let id = world.engine.fake.state().add_object(ungrantable, false);
    let closed = || ChangedObjects::These([ObjectRef { class: ObjectClass::Table, id }].into());
    world.announce(closed()).await;
    assert_eq!(world.reads(), [4, 3], "something cannot be granted");
    world.announce(closed()).await;
    assert_eq!(world.reads(), [5, 3], "and that concerns the whole set");
    world.objects(|database| database.objects.get_mut(&id).map(|object| object.grantable = true));
    world.look(Cause::Timer).await;
    world.objects(|database| database.announces = false);
    world.announce(table(&world, "fourth")).await;
    assert_eq!(world.reads(), [7, 4], "nothing is announced any more");
}

#[tokio::test(start_paused = true)]
async fn whoever_announces_everything_again_and_again_has_all_objects_read_in_a_fifth_of_the_time_only() {
    let world = World::new();
    world.look(Cause::Change).await;
    let took = Duration::from_secs(2);
    let known: Arc<dyn Engine> = world.engine.clone();
    let (queue, clock) = (&world.shared.queue, &world.shared.clock);
    world.shared.listeners.start(&world.key, &known, queue, clock, true, took);
    let at = world.announce(ChangedObjects::All).await.at.unwrap().0;
    assert_eq!(world.reads(), [1, 0]);
    let left = at.duration_since(world.shared.now()).as_secs_f64();
    assert!((1.0..=8.0).contains(&left), "{left}");
    world.announce(table(&world, "named")).await;
    assert_eq!(world.reads(), [1, 0], "it waits for the rest");
    world.look(Cause::Change).await;
    assert_eq!(world.reads(), [2, 0], "another reason does not wait");
    world.announce(table(&world, "later")).await;
    assert_eq!(world.reads(), [2, 1]);
}
