//! Who gets what on a database, and by what.

mod object;
mod show;

use std::sync::Arc;

use anyhow::Context;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, SessionPhase};
use rolecall_policy::{
    DatabaseNames, DbObject, Denial, GivenRole, LabelOrigin, Mode, ObjectKind, Origin, PermissionEntries,
    Privilege, PrivilegeOrigin, Protocol, SessionLimit, decide_objects, label_objects,
};
use serde::Serialize;

pub use show::table;

use crate::Exit;
use crate::access::{Access, Policy};
use crate::args::{Global, WhoCanArgs};
use crate::explain::{API_VERSION, BlockedView, NamesView};
use crate::input::{Cluster, Namespace, find_admin, gather, name_of};
use crate::output::{self, Output, colour, render};

/// What `who-can` answers. Its JSON is stable like that of `explain`; `docs/who-can-json.md` describes it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoCan {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `WhoCan`.
    pub kind: &'static str,
    /// Name of the DatabaseAdmin.
    pub database: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// The logical database asked about; `null`: any.
    pub database_name: Option<String>,
    /// The object asked about; `null`: none.
    pub object: Option<ObjectView>,
    /// Who gets something, by name.
    pub items: Vec<Item>,
    /// Who gets nothing, by name.
    pub refused: Vec<Refused>,
}

/// The object asked about.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// What it is.
    pub kind: ObjectKind,
    /// The logical database that it is in.
    pub database: String,
    /// The schema that it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The labels that it would have, each with what gives it.
    pub labels: Vec<LabelOrigin>,
    /// Why nobody gets permissions on it, whatever the entries say.
    pub problem: Option<Denial>,
}

/// Somebody who gets something.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Name of the DatabaseUser.
    pub user: String,
    /// Its name in databases.
    pub username: String,
    /// The logical databases that it may connect to.
    pub database_names: NamesView,
    /// The roles that let it in.
    pub allowed_by: Vec<Origin>,
    /// How it is provisioned.
    pub mode: Mode,
    /// The longest that a session may last.
    pub max_session_ttl: Option<SessionLimit>,
    /// The database roles that it gets, with what gives them.
    pub db_roles: Vec<GivenRole>,
    /// The entries of `dbPermissions` in force.
    pub permission_entries: PermissionEntries,
    /// The privileges on the object; `null` where none was asked about.
    pub privileges: Option<Vec<PrivilegeOrigin>>,
    /// Its live sessions there; `null` where they are not known.
    pub sessions: Option<Vec<String>>,
}

/// Somebody who gets nothing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Name of the DatabaseUser.
    pub user: String,
    /// Why.
    pub blocked: Vec<BlockedView>,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// The DatabaseAdmin.
    pub database: &'a str,
    /// The logical database; `None`: any.
    pub database_name: Option<&'a str>,
    /// The object; its logical database is then the one asked about.
    pub object: Option<DbObject>,
    /// Only who has this privilege on it.
    pub privilege: Option<Privilege>,
    /// The sessions of the namespace, where they are known.
    pub sessions: Option<&'a [DatabaseSession]>,
}

/// The command.
///
/// # Errors
///
/// Input that cannot be read, a database that does not exist, an object that cannot be told.
pub async fn run(global: &Global, args: &WhoCanArgs) -> anyhow::Result<Exit> {
    let database = name_of::<DatabaseAdmin>(&args.database)?;
    let namespace = gather(global, &args.source).await?;
    let admin = rolecall_resolve::database(find_admin(global, &args.source, &namespace, &database).await?);
    let read =
        |text: &String| object::read(text, args.kind.as_deref(), args.db_name.as_deref(), admin.protocol);
    let object = args.object.as_ref().map(read).transpose()?;
    let privilege = args.privilege.as_ref().map(|text| {
        Privilege::parse(text).with_context(|| {
            format!("{text:?} is no privilege; {}", similar(text, Privilege::all().map(Privilege::as_str)))
        })
    });
    let sessions = match args.source.files.is_empty() {
        // Who may not read them is told the rest.
        true => crate::input::list::<DatabaseSession>(Cluster::connect(global).await?.api()).await.ok(),
        false => None,
    };
    let question = Question {
        database: &database,
        database_name: args.db_name.as_deref(),
        object,
        privilege: privilege.transpose()?,
        sessions: sessions.as_deref(),
    };
    let mut answer = answer(&namespace, question)?;
    if !args.all {
        answer.refused.clear();
    }
    let colour = colour();
    output::print(&render(&answer, global.output(), || table(&answer, colour))?)?;
    if global.output() == Output::Table && answer.items.is_empty() {
        output::say(format_args!("Nobody; --all says why."));
    }
    Ok(Exit::Done)
}

/// The answer, without I/O.
///
/// # Errors
///
/// A database that does not exist.
pub fn answer(namespace: &Namespace, question: Question<'_>) -> anyhow::Result<WhoCan> {
    let admin = namespace.admin(question.database)?;
    let policy = Policy::new(namespace);
    let database = rolecall_resolve::database(admin);
    let database_name = match &question.object {
        Some(object) => Some(object.database.to_string()),
        None => question.database_name.map(str::to_owned),
    };
    let labelled = question
        .object
        .as_ref()
        .map(|object| Arc::new(label_objects(policy.rules(), &database, [object.clone()].into())));
    let problem = policy.rules().check(&database).err();
    let (mut items, mut refused) = (Vec::new(), Vec::new());
    for (name, user) in policy.users() {
        let access = policy.access(user, admin);
        let access = access.map_err(|blocked| blocked.into_iter().map(BlockedView::from).collect());
        match access.and_then(|access| connects(access, database_name.as_deref())) {
            Err(blocked) => refused.push(Refused { user: (*name).to_owned(), blocked }),
            Ok(access) => {
                let privileges = labelled.as_ref().map(|labelled| {
                    let entries = &access.provisioning.permissions;
                    decide_objects(policy.rules(), &database, database_name.as_deref(), entries, labelled)
                        .map(|permissions| permissions.explain(0).privileges)
                        .unwrap_or_default()
                });
                let has = |privilege: Privilege| {
                    let mut privileges = privileges.iter().flatten();
                    privileges.any(|origin| origin.privilege == privilege && origin.granted)
                };
                if question.privilege.is_none_or(has) {
                    let username = policy.username(user);
                    items.push(item(name, username, access, privileges, sessions(&question, name)));
                }
            }
        }
    }
    Ok(WhoCan {
        api_version: API_VERSION,
        kind: "WhoCan",
        database: database.name.clone(),
        protocol: database.protocol,
        database_name,
        object: labelled.map(|labelled| view(&labelled, problem)).and_then(|view| view),
        items,
        refused,
    })
}

fn item(
    name: &str,
    username: String,
    access: Access,
    privileges: Option<Vec<PrivilegeOrigin>>,
    sessions: Option<Vec<String>>,
) -> Item {
    let Access { names, provisioning, allowed_by, .. } = access;
    Item {
        user: name.to_owned(),
        username,
        database_names: names.into(),
        allowed_by,
        mode: provisioning.mode,
        max_session_ttl: provisioning.max_session_ttl,
        db_roles: provisioning.db_roles,
        permission_entries: provisioning.permissions,
        privileges,
        sessions,
    }
}

/// Only if the user may connect to the logical database.
fn connects(access: Access, database_name: Option<&str>) -> Result<Access, Vec<BlockedView>> {
    let Some(name) = database_name else { return Ok(access) };
    let may = match &access.names {
        DatabaseNames::AllExcept(names) => !names.iter().any(|other| other == name),
        DatabaseNames::Only(names) => names.iter().any(|other| other == name),
    };
    if may {
        return Ok(access);
    }
    Err(vec![BlockedView {
        reason: rolecall_api::reasons::ACCESS_DENIED.to_owned(),
        message: format!("no role lets it connect to {name}: {}", NamesView::from(&access.names)),
    }])
}

fn sessions(question: &Question<'_>, user: &str) -> Option<Vec<String>> {
    let live = |session: &&DatabaseSession| {
        let phase = session.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
        session.spec.user == user
            && session.spec.database == question.database
            && !matches!(phase, SessionPhase::Ended | SessionPhase::Rejected)
    };
    Some(question.sessions?.iter().filter(live).map(ResourceExt::name_any).collect())
}

fn view(labelled: &rolecall_policy::LabelledObjects, problem: Option<Denial>) -> Option<ObjectView> {
    let object = labelled.objects().first()?;
    Some(ObjectView {
        kind: object.kind,
        database: object.database.to_string(),
        schema: object.schema.to_string(),
        name: object.name.to_string(),
        labels: labelled.explain(0),
        problem,
    })
}

/// What was probably meant by a word that is none of these.
fn similar<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> String {
    let text = text.to_ascii_uppercase();
    let likeness = |word: &str| strsim::jaro_winkler(&word.to_ascii_uppercase(), &text);
    let best = words.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.map_or_else(String::new, |best| format!("did you mean {best}?"))
}
