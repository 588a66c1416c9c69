//! The vectors of the engine kinds, on whatever server the suite runs on.
//!
//! Where a case speaks of sessions, the engine's part of it is checked: what the account is afterwards, whether
//! anything changed, and the reason of a refusal. What only an operator decides is listed as such.

mod end;
#[path = "../../../../policy/tests/vectors/file.rs"]
mod file;
mod integration;
pub(crate) mod mongo;
mod pure;
pub(crate) mod redshift;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use rolecall_engine::Owner;
use rolecall_engine_conformance::{Harness, State};
use rolecall_postgres::Platform;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What the vectors need of a server beyond the conformance suite.
#[async_trait]
pub(crate) trait Server: Harness {
    fn is_fake(&self) -> bool;

    /// Creates a database role of this very name that the admin user may hand out, unless it exists.
    async fn named_role(&self, name: &str);

    /// The database in which the admin user worked last.
    async fn admin_database(&self) -> Option<String>;
}

/// Where the cases of a kind are checked.
enum Where {
    Here,
    /// By whom instead.
    Elsewhere(&'static str),
}

const KINDS: &[(&str, Where)] = &[
    ("pg_activate", Where::Here),
    ("pg_deactivate", Where::Here),
    ("pg_delete", Where::Here),
    ("pg_role_preparation", Where::Here),
    ("retry_classification", Where::Here),
    ("auto_user_support", Where::Here),
    ("session_integration", Where::Here),
    ("admin_user_resolution", Where::Elsewhere("the operator, which knows labels")),
    ("pg_permission_mode", Where::Elsewhere("the tests of permission sets")),
    ("pg_permission_conversion", Where::Elsewhere("the tests of permission sets")),
    ("pg_object_enumeration", Where::Elsewhere("the tests of permission sets")),
    ("pg_update_permissions", Where::Elsewhere("the tests of permission sets")),
    ("pg_remove_permissions", Where::Elsewhere("the tests of permission sets")),
    ("redshift_lifecycle", Where::Elsewhere("the vectors on Redshift")),
    ("mongo_role_parse", Where::Here),
    ("mongo_lifecycle", Where::Elsewhere("the vectors on MongoDB")),
];

/// Kinds of the policy crate, which may lie in the same directory.
const POLICY_KINDS: &[&str] = &[
    "access_check",
    "decision",
    "import_dbname_filter",
    "import_rule_filter",
    "import_rule_labelling",
    "import_rule_object_match",
    "import_rule_scope_match",
    "label_match",
    "label_template",
    "mode_combination",
    "mode_of_role",
    "pattern_match",
    "permission_computation",
    "pg_permission_validation",
    "remote_username",
    "role_evaluation",
    "role_trait_application",
    "template_expansion",
    "validation",
];

type File = file::File<Value>;
type Case = file::Case<Value>;

/// What became of a case.
type Outcome = Result<Done, String>;

enum Done {
    Checked,
    /// By whom, and why not here.
    LeftTo(&'static str),
}

/// Runs every case of every kind, and only then says which failed.
pub(crate) async fn run(name: &str, server: &dyn Server) {
    let mut failed = Vec::new();
    let mut ran = 0;
    for (path, file) in files() {
        match KINDS.iter().find(|(kind, _)| *kind == file.kind) {
            Some((_, Where::Here)) => {}
            Some((kind, Where::Elsewhere(who))) => {
                println!("{name}: {kind}: checked by {who}");
                continue;
            }
            None if POLICY_KINDS.contains(&file.kind.as_str()) => continue,
            None => panic!("{}: nobody checks the kind {:?}", path.display(), file.kind),
        }
        let (passed, left) =
            check_all(&file.cases, &mut failed, async |case| check(server, &file.kind, case).await).await;
        ran += passed;
        println!("{name}: {}: {passed}/{} {}", file.kind, file.cases.len(), left.join(", "));
    }
    assert!(failed.is_empty(), "{name}:\n{}", failed.join("\n"));
    assert!(ran > 0, "no case ran");
}

/// The files of cases, by name.
fn files() -> Vec<(PathBuf, File)> {
    let paths = file::files(&file::directory(env!("CARGO_MANIFEST_DIR")));
    let read = |path: PathBuf| {
        let file = file::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    };
    paths.into_iter().map(read).collect()
}

/// The cases of one kind.
fn cases(kind: &str) -> Vec<Case> {
    files().into_iter().filter(|(_, file)| file.kind == kind).flat_map(|(_, file)| file.cases).collect()
}

async fn check(server: &dyn Server, kind: &str, case: &Case) -> Outcome {
    match kind {
        "pg_activate" => start::activate(server, read(&case.input)?, read(&case.expect)?).await,
        "pg_deactivate" | "pg_delete" => end::end(server, read(&case.input)?, read(&case.expect)?).await,
        "pg_role_preparation" => pure::role_preparation(read(&case.input)?, read(&case.expect)?),
        "retry_classification" => pure::retry(read(&case.input)?, read(&case.expect)?),
        "mongo_role_parse" => mongo::parse_roles(&read(&case.input)?, &read(&case.expect)?),
        "auto_user_support" => pure::support(read(&case.input)?, read(&case.expect)?),
        "session_integration" => {
            integration::integration(server, read(&case.input)?, read(&case.expect)?).await
        }
        _ => Err("no function for this kind".to_owned()),
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, left: &T, right: &T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{what} is {left:?} and not {right:?}")) }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    exists: bool,
    #[serde(default)]
    managed: bool,
    #[serde(default)]
    login: bool,
    #[serde(default)]
    memberships: BTreeSet<String>,
    #[serde(default)]
    backends: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SessionOutcome {
    phase: String,
    reason: Option<String>,
    end_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountOutcome {
    phase: String,
    login: Option<bool>,
    managed: Option<bool>,
    memberships: Option<BTreeSet<String>>,
}

/// The names that a case uses, and those that they have here: others use the server, too.
struct Names<'a> {
    server: &'a dyn Server,
    here: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    fn new(server: &'a dyn Server) -> Self {
        Self { server, here: BTreeMap::new() }
    }

    /// A role that exists, or one that does not.
    async fn role(&mut self, name: &str, exists: bool) -> String {
        if let Some(here) = self.here.get(name) {
            return here.clone();
        }
        let here = if name.starts_with("rds_") {
            self.server.named_role(name).await;
            name.to_owned()
        } else if exists {
            self.server.role(name, None).await
        } else {
            self.server.name(name)
        };
        self.here.insert(name.to_owned(), here.clone());
        here
    }

    async fn roles<'b>(&mut self, names: impl IntoIterator<Item = &'b String>) -> BTreeSet<String> {
        let mut roles = BTreeSet::new();
        for name in names {
            roles.insert(self.role(name, true).await);
        }
        roles
    }

    /// Names as the case has them.
    fn back(&self, roles: &BTreeSet<String>) -> BTreeSet<String> {
        let there =
            |role: &String| self.here.iter().find(|(_, here)| *here == role).map(|(name, _)| name.clone());
        roles.iter().map(|role| there(role).unwrap_or_else(|| role.clone())).collect()
    }

    async fn put(&mut self, user: &str, before: &Before, ours: bool) {
        if before.exists {
            let owner = ours.then(us);
            let state = State {
                managed: before.managed,
                login: before.login,
                memberships: self.roles(&before.memberships).await,
                owner,
                backends: before.backends,
                ..State::default()
            };
            self.server.put(user, &state).await;
        }
    }

    async fn account(&self, user: &str, expected: &AccountOutcome) -> Result<(), String> {
        let seen = self.server.user_state(user).await;
        same("accountExists", &seen.is_some(), &(expected.phase != "Dropped"))?;
        let Some(seen) = seen else { return Ok(()) };
        in_phase(&seen, &expected.phase)?;
        if let Some(login) = expected.login {
            same("login", &seen.login, &login)?;
        }
        if let Some(managed) = expected.managed {
            same("managed", &seen.managed, &managed)?;
        }
        if let Some(memberships) = &expected.memberships {
            same("memberships", &self.back(&seen.memberships), memberships)?;
        }
        Ok(())
    }
}

/// The owner of what is ours.
fn us() -> Owner {
    Owner { uid: "us".into(), admin: "shop/us".into(), cluster: "blue".into(), ..Owner::default() }
}

/// Is an account that exists in the phase that a case names?
fn in_phase(seen: &State, phase: &str) -> Result<(), String> {
    match phase {
        "Enabled" => same("login", &seen.login, &true),
        "Disabled" => same("login", &seen.login, &false),
        "Conflict" => same("managed", &seen.managed, &false),
        other => Err(format!("unknown phase {other}")),
    }
}

/// Checks cases one by one: how many passed, and which are left to whom. Those that failed are added to `failed`.
async fn check_all<'a>(
    cases: &'a [Case],
    failed: &mut Vec<String>,
    check: impl AsyncFn(&'a Case) -> Outcome,
) -> (usize, Vec<String>) {
    let (mut passed, mut left) = (0, Vec::new());
    for case in cases {
        match check(case).await {
            Ok(Done::Checked) => passed += 1,
            Ok(Done::LeftTo(who)) => left.push(format!("{} is left to {who}", case.id)),
            Err(why) => failed.push(format!("{}: {why}", case.id)),
        }
    }
    (passed, left)
}

fn platform(name: &str) -> Result<Platform, String> {
    match name {
        "SelfHosted" => Ok(Platform::SelfHosted),
        "RDS" => Ok(Platform::Rds),
        other => Err(format!("unknown platform {other}")),
    }
}
