//! Access rules: what the operator may do, and what namespace viewers and editors get.

use crate::crds::crds;
use crate::names::{FIELD_MANAGER, GROUP};

/// One rule of a ClusterRole, with the reason why it is there.
struct Rule {
    why: &'static str,
    group: &'static str,
    resources: Vec<String>,
    verbs: &'static [&'static str],
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
    ]
}

fn operator() -> Vec<Rule> {
    let ours = |suffix: &str| plurals().iter().map(|plural| format!("{plural}{suffix}")).collect();
    vec![
        Rule { why: "Every decision follows from these.", group: GROUP, resources: ours(""), verbs: READ },
        Rule { why: "Conditions and counts.", group: GROUP, resources: ours("/status"), verbs: &["patch"] },
        Rule {
            why: "Finalizers, which hold an object until the database shows its access gone.",
            group: GROUP,
            resources: vec!["databaseadmins".into(), "databasesessions".into()],
            verbs: &["patch"],
        },
        Rule {
            why: "Sessions go after retainAfterEnd.",
            group: GROUP,
            resources: vec!["databasesessions".into()],
            verbs: &["delete"],
        },
        Rule {
            why: "A session's Secret is owned by the session, which therefore cannot go before it.",
            group: GROUP,
            resources: vec!["databasesessions/finalizers".into()],
            verbs: &["update"],
        },
        Rule {
            why: "Credentials: those of admin users are read, those of sessions are written. Never listed or watched.",
            group: "",
            resources: vec!["secrets".into()],
            verbs: &["get", "create", "update", "patch", "delete"],
        },
        Rule {
            why: "What happened to an object.",
            group: "events.k8s.io",
            resources: vec!["events".into()],
            verbs: &["create", "patch"],
        },
    ]
}

fn leader_election() -> Vec<Rule> {
    vec![Rule {
        why: "The Lease that says which replica works. Needed in the namespace of --leader-election-namespace only.",
        group: "coordination.k8s.io",
        resources: vec!["leases".into()],
        verbs: &["get", "create", "patch"],
    }]
}

fn view() -> Vec<Rule> {
    vec![Rule {
        why: "Whoever may view a namespace sees who has access to its databases; no credentials are in these.",
        group: GROUP,
        resources: plurals(),
        verbs: READ,
    }]
}

fn edit() -> Vec<Rule> {
    vec![Rule {
        why: "Whoever may edit a namespace reads its Secrets anyway, and with them is admin of its databases.",
        group: GROUP,
        resources: plurals(),
        verbs: &["create", "update", "patch", "delete", "deletecollection"],
    }]
}

const READ: &[&str] = &["get", "list", "watch"];

fn plurals() -> Vec<String> {
    crds().into_iter().map(|crd| crd.spec.names.plural).collect()
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
    for Rule { why, group, resources, verbs } in rules {
        let (resources, verbs) = (resources.join(", "), verbs.join(", "));
        yaml.push_str(&format!(
            "# {why}\n- apiGroups: [\"{group}\"]\n  resources: [{resources}]\n  verbs: [{verbs}]\n"
        ));
    }
    yaml
}
