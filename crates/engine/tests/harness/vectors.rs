//! The vectors of the engine kinds, on whatever server the suite runs on.
//!
//! Where a case speaks of sessions, the engine's part of it is checked: what the account is afterwards, whether
//! anything changed, and the reason of a refusal. What only an operator decides is listed as such.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rolecall_engine::conformance::{Harness, State, Stopped, Trace, Wish, bring};
use rolecall_engine::postgres::{Platform, parse_address, sqlstate};
use rolecall_engine::{Class, Owner, Plan, Want, plan};
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
    ("redshift_lifecycle", Where::Elsewhere("nobody: Redshift is not built")),
    ("mongo_role_parse", Where::Elsewhere("nobody: MongoDB is not built")),
    ("mongo_lifecycle", Where::Elsewhere("nobody: MongoDB is not built")),
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    input: Value,
    expect: Value,
    #[serde(rename = "departure")]
    _departure: Option<u32>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

/// What became of a case.
type Outcome = Result<Done, String>;

enum Done {
    Checked,
    /// By whom, and why not here.
    LeftTo(&'static str),
}

/// Runs every case of every kind, and only then says which failed.
pub(crate) async fn run(name: &str, server: &dyn Server) {
    let directory = std::env::var_os("ROLECALL_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let mut failed = Vec::new();
    let mut ran = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        match KINDS.iter().find(|(kind, _)| *kind == file.kind) {
            Some((_, Where::Here)) => {}
            Some((kind, Where::Elsewhere(who))) => {
                println!("{name}: {kind}: checked by {who}");
                continue;
            }
            None if POLICY_KINDS.contains(&file.kind.as_str()) => continue,
            None => panic!("{}: nobody checks the kind {:?}", path.display(), file.kind),
        }
        let mut passed = 0;
        let mut left = Vec::new();
        for case in &file.cases {
            match check(server, &file.kind, case).await {
                Ok(Done::Checked) => passed += 1,
                Ok(Done::LeftTo(who)) => left.push(format!("{} is left to {who}", case.id)),
                Err(why) => failed.push(format!("{}: {why}", case.id)),
            }
        }
        ran += passed;
        println!("{name}: {}: {passed}/{} {}", file.kind, file.cases.len(), left.join(", "));
    }
    assert!(failed.is_empty(), "{name}:\n{}", failed.join("\n"));
    assert!(ran > 0, "no case ran");
}

async fn check(server: &dyn Server, kind: &str, case: &Case) -> Outcome {
    match kind {
        "pg_activate" => activate(server, read(&case.input)?, read(&case.expect)?).await,
        "pg_deactivate" | "pg_delete" => end(server, read(&case.input)?, read(&case.expect)?).await,
        "pg_role_preparation" => role_preparation(read(&case.input)?, read(&case.expect)?),
        "retry_classification" => retry(read(&case.input)?, read(&case.expect)?),
        "auto_user_support" => support(read(&case.input)?, read(&case.expect)?),
        "session_integration" => integration(server, read(&case.input)?, read(&case.expect)?).await,
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
struct Session {
    #[serde(rename = "databaseName")]
    _database_name: String,
    db_roles: Vec<String>,
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
            let owner =
                ours.then(|| Owner { uid: "us".into(), admin: "shop/us".into(), cluster: "blue".into() });
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
        let seen = self.server.look(user).await;
        same("accountExists", &seen.is_some(), &(expected.phase != "Dropped"))?;
        let Some(seen) = seen else { return Ok(()) };
        match expected.phase.as_str() {
            "Enabled" => same("login", &seen.login, &true)?,
            "Disabled" => same("login", &seen.login, &false)?,
            "Conflict" => same("managed", &seen.managed, &false)?,
            other => return Err(format!("unknown phase {other}")),
        }
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ActivateInput {
    platform: String,
    before: Before,
    live_sessions: Vec<Session>,
    session: Session,
    #[serde(default)]
    missing_in_database: Vec<String>,
    missing_db_roles: Option<String>,
    username: Option<String>,
    #[serde(rename = "markerExists")]
    _marker_exists: Option<bool>,
    #[serde(rename = "serverMessages")]
    _server_messages: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ActivateExpect {
    session: SessionOutcome,
    account: Option<AccountOutcome>,
    account_exists: Option<bool>,
    changed: Option<bool>,
}

async fn activate(server: &dyn Server, input: ActivateInput, expect: ActivateExpect) -> Outcome {
    if expect.session.reason.as_deref() == Some("RolesChanged") {
        return Ok(Done::LeftTo("the operator, which knows the other sessions"));
    }
    let mut names = Names::new(server);
    for role in &input.missing_in_database {
        names.role(role, false).await;
    }
    let user = match &input.username {
        // One that no server could have stays as it is.
        Some(username) if username.len() > 63 => username.clone(),
        Some(username) => server.name(username),
        None => server.name("user"),
    };
    let live = !input.live_sessions.is_empty();
    names.put(&user, &input.before, live).await;
    let before = server.look(&user).await;

    let reason = match Wish::start(&user, &server.database()) {
        Err(_) => Some("InvalidUsername".to_owned()),
        Ok(wish) => {
            let mut wish = wish.roles(names.roles(&input.session.db_roles).await);
            if let Want::Enabled(enabled) = &mut wish.0.want {
                platform(&input.platform)?.add_roles(&mut enabled.roles);
                for role in enabled.roles.clone().keys().filter(|role| role.starts_with("rds_")) {
                    names.role(role, true).await;
                }
                enabled.in_use = live;
                enabled.create_missing_roles = input.missing_db_roles.as_deref() == Some("Create");
            }
            match wish.bring(server.engine()).await {
                Ok(_) => None,
                Err(stopped) => Some(stopped.reason().ok_or_else(|| stopped.to_string())?.to_string()),
            }
        }
    };
    same("reason", &reason, &expect.session.reason)?;
    same("phase", &reason.is_none(), &(expect.session.phase == "Active"))?;
    let after = server.look(&user).await;
    if let Some(changed) = expect.changed {
        same("changed", &(before != after), &changed)?;
    }
    if let Some(exists) = expect.account_exists {
        same("accountExists", &after.is_some(), &exists)?;
    }
    match &expect.account {
        Some(account) => names.account(&user, account).await?,
        None => same("an account", &after.is_some(), &false)?,
    }
    Ok(Done::Checked)
}

fn platform(name: &str) -> Result<Platform, String> {
    match name {
        "SelfHosted" => Ok(Platform::SelfHosted),
        "RDS" => Ok(Platform::Rds),
        other => Err(format!("unknown platform {other}")),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndInput {
    #[serde(rename = "event")]
    _event: String,
    mode: String,
    before: Before,
    other_live_sessions: u32,
    #[serde(rename = "inherited")]
    _inherited: Option<Vec<String>>,
    #[serde(default)]
    server_down: bool,
    #[serde(default)]
    owns_objects: bool,
    drop_error: Option<String>,
    leftover_grant_in_database: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndExpect {
    session: SessionOutcome,
    account: Option<AccountOutcome>,
    account_exists: Option<bool>,
    revoked: Option<BTreeSet<String>>,
    backends_left: Option<u32>,
}

async fn end(server: &dyn Server, input: EndInput, expect: EndExpect) -> Outcome {
    if input.drop_error.is_some() && !server.is_fake() {
        return Ok(Done::LeftTo("the fake: no server refuses a drop alone for want of a right"));
    }
    let mut names = Names::new(server);
    let user = server.name("user");
    names.put(&user, &input.before, true).await;
    if input.owns_objects {
        server.leave(&user, &Trace::OwnedObject).await;
    }
    if input.leftover_grant_in_database.is_some() {
        server.leave(&user, &Trace::Right).await;
    }
    if input.drop_error.is_some() {
        // Whatever the server says, the account is kept.
        server.leave(&user, &Trace::OwnedObject).await;
    }
    let before = server.look(&user).await.ok_or("the account is not there")?;
    let drop = match input.mode.as_str() {
        "Keep" => false,
        "BestEffortDrop" => true,
        other => return Err(format!("unknown mode {other}")),
    };
    let wish = Wish::start(&user, &server.database())?.roles(&before.memberships);
    let wish = if input.other_live_sessions > 0 { wish.live() } else { wish.end(drop) };

    let ended = if input.server_down {
        let observed = server.engine().observe(&wish.0.query()).await.map_err(|error| error.to_string())?;
        let plan = plan::plan(&wish.0, &observed).map_err(|refusal| refusal.to_string())?;
        match server.unreachable().apply(&plan).await {
            Ok(_) => return Err("a server that is down has answered".to_owned()),
            Err(error) => same("class", &error.class, &Class::Unreachable)?,
        }
        false
    } else {
        wish.bring(server.engine()).await.map_err(|stopped| stopped.to_string())?;
        true
    };
    same("ended", &ended, &(expect.session.phase == "Ended"))?;
    // Why a session ends is the operator's to say.
    let _ = (&expect.session.end_reason, &expect.session.reason);
    if let Some(account) = &expect.account {
        names.account(&user, account).await?;
    }
    let after = server.look(&user).await;
    if let Some(exists) = expect.account_exists {
        same("accountExists", &after.is_some(), &exists)?;
    }
    if let Some(left) = expect.backends_left {
        same("backendsLeft", &after.as_ref().map_or(0, |state| state.backends), &left)?;
    }
    if let Some(revoked) = &expect.revoked {
        let kept = after.map(|state| state.memberships).unwrap_or_default();
        let gone: BTreeSet<String> = before.memberships.difference(&kept).cloned().collect();
        same("revoked", &names.back(&gone), revoked)?;
    }
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreparationInput {
    platform: String,
    db_roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreparationExpect {
    memberships: BTreeSet<String>,
}

fn role_preparation(input: PreparationInput, expect: PreparationExpect) -> Outcome {
    if input.platform == "Redshift" {
        return Ok(Done::LeftTo("nobody: Redshift is not built"));
    }
    let mut roles = input.db_roles.into_iter().map(|role| (role, Default::default())).collect();
    platform(&input.platform)?.add_roles(&mut roles);
    same("memberships", &roles.into_keys().collect(), &expect.memberships)?;
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryInput {
    sqlstate: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryExpect {
    retry: bool,
}

fn retry(input: RetryInput, expect: RetryExpect) -> Outcome {
    same("retry", &sqlstate::is_retried(&input.sqlstate), &expect.retry)?;
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SupportInput {
    protocol: String,
    uri: String,
    #[serde(rename = "mode")]
    _mode: Option<String>,
    sqlstate: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SupportExpect {
    supported: bool,
    platform: Option<String>,
    reason: Option<String>,
    session: Option<SessionOutcome>,
    capable: Option<Capable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capable {
    #[serde(rename = "status")]
    _status: String,
    reason: String,
}

fn support(input: SupportInput, expect: SupportExpect) -> Outcome {
    if input.protocol != "postgres" {
        return Ok(Done::LeftTo("nobody: neither Redshift nor MongoDB is built"));
    }
    let (host, _) = parse_address(&input.uri).map_err(|error| error.to_string())?;
    let found = Platform::of_host(&host);
    same("supported", &found.is_ok(), &expect.supported)?;
    match found {
        Ok(found) => {
            let expected = expect.platform.as_deref().map(platform).transpose()?.unwrap_or(found);
            same("platform", &found, &expected)?;
        }
        Err(refusal) => {
            same("reason", &Some(refusal.reason.to_string()), &expect.reason)?;
            let session = expect.session.as_ref().and_then(|session| session.reason.clone());
            same("session's reason", &session, &expect.reason)?;
        }
    }
    if let (Some(code), Some(capable)) = (&input.sqlstate, &expect.capable) {
        same("capable", &sqlstate::meaning(code).1.to_string(), &capable.reason)?;
    }
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntegrationInput {
    mode: String,
    allow_db_roles: Vec<String>,
    admin_user: AdminUser,
    #[serde(rename = "databaseName")]
    _database_name: String,
    #[serde(default)]
    then_ends: bool,
    #[serde(default)]
    fails_after_user_created: bool,
    parallel_sessions: Option<usize>,
    allow_db_permissions: Option<Value>,
    #[serde(rename = "tables")]
    _tables: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdminUser {
    default_database: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntegrationExpect {
    session: Option<SessionOutcome>,
    sessions: Option<Vec<SessionOutcome>>,
    memberships: Option<BTreeSet<String>>,
    admin_database: Option<String>,
    after_end: Option<AccountOutcome>,
    account_login: Option<bool>,
    #[serde(rename = "accountExists")]
    _account_exists: Option<bool>,
    #[serde(rename = "accountSessions")]
    _account_sessions: Option<usize>,
    #[serde(rename = "effective")]
    _effective: Option<Value>,
    #[serde(rename = "grantedToUser")]
    _granted_to_user: Option<Value>,
}

async fn integration(server: &dyn Server, input: IntegrationInput, expect: IntegrationExpect) -> Outcome {
    if input.mode == "Disabled" {
        return Ok(Done::LeftTo("the operator, which never asks the engine"));
    }
    if input.allow_db_permissions.is_some() {
        return Ok(Done::LeftTo("the tests of permission sets"));
    }
    if input.admin_user.default_database.is_some() {
        return Ok(Done::LeftTo("the_admin_user_works_in_its_default_database, on PostgreSQL"));
    }
    let mut names = Names::new(server);
    let user = server.name("user");
    let roles = names.roles(&input.allow_db_roles).await;
    let wish = Wish::start(&user, &server.database())?.roles(&roles);

    if input.fails_after_user_created {
        // The last grant of the transaction fails.
        let ghost = server.name("ghost");
        let observed = server.engine().observe(&wish.0.query()).await.map_err(|error| error.to_string())?;
        let Ok(Plan::Activate(mut plan)) = plan::plan(&wish.0, &observed) else {
            return Err("no activation was planned".to_owned());
        };
        plan.grant.push(ghost);
        if server.engine().apply(&Plan::Activate(plan)).await.is_ok() {
            return Err("it was carried out".to_owned());
        }
        let login = server.look(&user).await.is_some_and(|state| state.login);
        same("accountLogin", &Some(login), &expect.account_login)?;
        return Ok(Done::Checked);
    }

    match input.parallel_sessions {
        None => drop(wish.bring(server.engine()).await.map_err(|stopped| stopped.to_string())?),
        Some(sessions) => {
            // The operator has one task for an account; the engine bears two.
            let outcomes =
                futures::future::join_all((0..sessions).map(|_| bring(server.engine(), &wish.0))).await;
            let started = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            let lost = outcomes.iter().filter(
                |outcome| matches!(outcome, Err(Stopped::Failed(error)) if error.class == Class::Transient),
            );
            same("sessions that started or may try again", &(started + lost.count()), &sessions)?;
            wish.clone().live().bring(server.engine()).await.map_err(|stopped| stopped.to_string())?;
        }
    }
    let phases = expect.session.iter().chain(expect.sessions.iter().flatten());
    same("phases", &phases.map(|session| session.phase.as_str()).all(|phase| phase == "Active"), &true)?;
    let seen = server.look(&user).await.ok_or("the account is gone")?;
    if let Some(memberships) = &expect.memberships {
        same("memberships", &names.back(&seen.memberships), memberships)?;
    }
    if expect.admin_database.is_some()
        && let Some(database) = server.admin_database().await
    {
        same("adminDatabase", &database, &server.database())?;
    }
    if input.then_ends {
        let wish = wish.end(input.mode == "BestEffortDrop");
        wish.bring(server.engine()).await.map_err(|stopped| stopped.to_string())?;
    }
    if let Some(after) = &expect.after_end {
        names.account(&user, after).await?;
    }
    Ok(Done::Checked)
}
