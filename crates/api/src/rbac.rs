//! Access rules: what the operator may do, and what namespace viewers and editors get.

use crate::crds::crds;
use crate::names::{FIELD_MANAGER, GROUP};

/// One rule of a ClusterRole, with the reason why it is there.
struct Rule {
    why: &'static str,
    group: &'static str,
    resources: Vec<String>,
    /// Of this name only; empty: all of them.
    name: &'static str,
    verbs: &'static [&'static str],
}

impl Rule {
    fn new(
        why: &'static str,
        group: &'static str,
        resources: Vec<String>,
        verbs: &'static [&'static str],
    ) -> Self {
        Self { why, group, resources, name: "", verbs }
    }
}

/// The files with access rules: path and YAML.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    vec![
        ("deploy/rbac/operator_cluster_role.yaml", role("ClusterRole", FIELD_MANAGER, &[], &operator())),
        (
            "deploy/rbac/leader_election_role.yaml",
            role("Role", "rolecall-leader-election", &[], &leader_election()),
        ),
        ("deploy/rbac/view_cluster_role.yaml", role("ClusterRole", "rolecall-view", &["view"], &view())),
        (
            "deploy/rbac/edit_cluster_role.yaml",
            role("ClusterRole", "rolecall-edit", &["edit", "admin"], &edit()),
        ),
        ("deploy/rbac/approve_cluster_role.yaml", role("ClusterRole", "rolecall-approve", &[], &approve())),
    ]
}

fn operator() -> Vec<Rule> {
    let ours = |suffix: &str| plurals().iter().map(|plural| format!("{plural}{suffix}")).collect();
    vec![
        Rule::new("Every decision follows from these.", GROUP, ours(""), READ),
        Rule::new(
            "Conditions and counts.",
            GROUP,
            changeable().iter().map(|plural| format!("{plural}/status")).collect(),
            &["patch"],
        ),
        Rule::new(
            "Finalizers, which keep an object until the database shows its access gone.",
            GROUP,
            vec!["databaseadmins".into(), "databasesessions".into()],
            &["patch"],
        ),
        Rule::new(
            "What admission policies keep for it: status, finalizers, recorded names.",
            GROUP,
            ours(""),
            &["operate"],
        ),
        Rule::new("Sessions that others asked for.", GROUP, vec!["databasesessions".into()], &["manage"]),
        Rule::new(
            "Sessions are deleted after retainAfterEnd.",
            GROUP,
            vec!["databasesessions".into()],
            &["delete"],
        ),
        Rule::new(
            "A session's Secret is owned by the session, which therefore cannot be deleted before it.",
            GROUP,
            vec!["databasesessions/finalizers".into()],
            &["update"],
        ),
        Rule::new(
            "Credentials: those of admin users are read, and kept until their accounts are torn down; those of sessions are written. Never listed or watched.",
            "",
            vec!["secrets".into()],
            &["get", "create", "update", "delete"],
        ),
        Rule::new(
            "What happened to an object.",
            "events.k8s.io",
            vec!["events".into()],
            &["create", "patch"],
        ),
    ]
}

fn leader_election() -> Vec<Rule> {
    let leases = || vec!["leases".to_owned()];
    let why = "The Lease that says which replica leads. Needed in the namespace of --leader-election-namespace only.";
    vec![
        Rule { name: FIELD_MANAGER, ..Rule::new(why, LEASES, leases(), &["get", "update"]) },
        Rule::new("Rules for create cannot be limited to a name.", LEASES, leases(), &["create"]),
    ]
}

fn view() -> Vec<Rule> {
    let why =
        "Anyone who may view a namespace sees who has access to its databases; these contain no credentials.";
    vec![Rule::new(why, GROUP, plurals(), READ)]
}

fn edit() -> Vec<Rule> {
    let why =
        "Anyone who may edit a namespace can read its Secrets, and so is admin of its databases anyway.";
    let of = |plural: &str| vec![plural.to_owned()];
    vec![
        Rule::new(why, GROUP, changeable(), &["create", "update", "patch", "delete", "deletecollection"]),
        Rule::new(
            "Decides about sessions that wait for approval, where somebody gives the verb approve on a role: this gives none. \
             A decision is made once, and taken back by whoever made it.",
            GROUP,
            of(DECISIONS),
            &["create", "delete"],
        ),
        Rule::new(
            "Opens sessions for every user of the namespace, to every server of it, and may pass that right on.",
            GROUP,
            vec!["databaseusers".into(), "databaseadmins".into()],
            &["connect"],
        ),
        Rule::new("Hands every role out.", GROUP, of("provisioningroles"), &["bind"]),
        Rule::new("Changes and ends what others asked for.", GROUP, of("databasesessions"), &["manage"]),
    ]
}

fn approve() -> Vec<Rule> {
    let of = |plural: &str| vec![plural.to_owned()];
    vec![
        Rule::new("Sees what is asked for, and by which roles.", GROUP, plurals(), READ),
        Rule::new("Decides, and takes back its own decisions.", GROUP, of(DECISIONS), &["create", "delete"]),
        Rule::new(
            "On behalf of every role. For some of them only, bind a Role with resourceNames instead.",
            GROUP,
            of("provisioningroles"),
            &["approve"],
        ),
    ]
}

const LEASES: &str = "coordination.k8s.io";
const DECISIONS: &str = "databasesessiondecisions";
const READ: &[&str] = &["get", "list", "watch"];

fn plurals() -> Vec<String> {
    crds().into_iter().map(|crd| crd.spec.names.plural).collect()
}

/// The kinds whose objects change; a decision does not.
fn changeable() -> Vec<String> {
    plurals().into_iter().filter(|plural| plural != DECISIONS).collect()
}

/// A role as YAML, with the reasons as comments. It is added to the built-in ClusterRoles named in
/// `aggregate_to`.
fn role(kind: &str, name: &str, aggregate_to: &[&str], rules: &[Rule]) -> String {
    let mut yaml =
        format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n");
    if !aggregate_to.is_empty() {
        yaml.push_str("  labels:\n");
    }
    for built_in in aggregate_to {
        yaml.push_str(&format!("    rbac.authorization.k8s.io/aggregate-to-{built_in}: \"true\"\n"));
    }
    yaml.push_str("rules:\n");
    for Rule { why, group, resources, name, verbs } in rules {
        let (resources, verbs) = (resources.join(", "), verbs.join(", "));
        let names = if name.is_empty() { String::new() } else { format!("  resourceNames: [{name}]\n") };
        yaml.push_str(&format!(
            "# {why}\n- apiGroups: [\"{group}\"]\n  resources: [{resources}]\n{names}  verbs: [{verbs}]\n"
        ));
    }
    yaml
}
