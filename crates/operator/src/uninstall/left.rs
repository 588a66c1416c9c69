//! What is in the way of an uninstall, and how that is said.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Context;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, DatabaseSession, conditions};
use serde::de::DeserializeOwned;

use super::Options;
use crate::model::session::{has_finalizer, may_have_access, phase};

/// How many objects are named at most.
const NAMED: usize = 20;
/// How many objects are read at once.
const PAGE: u32 = 500;

/// What is in the way.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Left {
    /// Sessions that may have access, each with its phase and what its status says of it.
    sessions: Vec<String>,
    /// DatabaseAdmins that are deleted with the release and have a finalizer.
    admins: Vec<String>,
    /// DatabaseAdmins on whose servers accounts can be used without a session, each with their number.
    orphaned: Vec<String>,
}

impl Left {
    /// Reads what is there now.
    pub(super) async fn read(client: &Client, options: &Options) -> anyhow::Result<Self> {
        let sessions: Vec<DatabaseSession> = list(client, &options.namespaces).await?;
        let admins: Vec<DatabaseAdmin> = list(client, &options.namespaces).await?;
        Ok(Self::of(&sessions, &admins, options))
    }

    fn of(sessions: &[DatabaseSession], admins: &[DatabaseAdmin], options: &Options) -> Self {
        let goes = |admin: &&DatabaseAdmin| {
            let has_finalizer = admin.finalizers().iter().any(|finalizer| finalizer == TEARDOWN_FINALIZER);
            has_finalizer
                && (options.kinds_too
                    || release(*admin).is_some_and(|of| options.release.as_ref() == Some(&of)))
        };
        Self {
            sessions: sessions.iter().filter(|session| is_held(session)).map(line).collect(),
            admins: admins.iter().filter(goes).map(key).collect(),
            orphaned: admins.iter().filter_map(orphaned).collect(),
        }
    }

    /// How many sessions may have access.
    pub(super) fn open(&self) -> usize {
        self.sessions.len()
    }

    /// Which objects would stay Terminating, and what to do about it.
    pub(super) fn finalizers(&self) -> Option<String> {
        if self.admins.is_empty() {
            return None;
        }
        let mut text = format!(
            "{} would be deleted after the operator, and stay Terminating:\n",
            count(self.admins.len(), "DatabaseAdmin")
        );
        name(&self.admins, &mut text);
        text.push_str("Delete them first, which ends the sessions on them: kubectl delete dba NAME --namespace NAMESPACE\n");
        Some(text)
    }

    /// What is said when no session has access: also which logins stay open, because no session accounts for them.
    pub(super) fn done(&self) -> String {
        let mut text = "No session has access.".to_owned();
        if !self.orphaned.is_empty() {
            text.push_str(" Accounts that belong to no session can still be used (kubectl describe dba NAME: its condition OrphanedAccounts names them):\n");
            name(&self.orphaned, &mut text);
        }
        text
    }

    /// How far it is.
    pub(super) fn progress(&self, heard: bool) -> String {
        let open = count(self.open(), "session");
        if heard {
            format!("{open} may still have access.")
        } else {
            format!("{open} may have access; no operator has answered yet.")
        }
    }

    /// That it took too long.
    pub(super) fn refusal(&self, heard: bool, waited: Duration) -> String {
        let open = count(self.open(), "session");
        let mut text = format!("{open} may still have access after {} s:\n", waited.as_secs());
        name(&self.sessions, &mut text);
        text.push_str(if heard {
            "Remove what is in the way and uninstall again, or leave these logins open: uninstall.force=true\n"
        } else {
            "No operator has answered, and nobody else ends them. Start one (kubectl scale deployment, replicas 1) and uninstall again\n"
        });
        text
    }
}

/// May it have access, or would it stay Terminating without an operator?
fn is_held(session: &DatabaseSession) -> bool {
    may_have_access(session) || has_finalizer(session)
}

/// The Helm release that an object is part of, as `NAMESPACE/NAME`.
fn release(object: &impl ResourceExt) -> Option<String> {
    let annotation = |name: &str| object.annotations().get(&format!("meta.helm.sh/release-{name}"));
    Some(format!("{}/{}", annotation("namespace")?, annotation("name")?))
}

fn orphaned(admin: &DatabaseAdmin) -> Option<String> {
    let number = admin.status.as_ref()?.accounts.as_ref()?.orphaned;
    (number > 0).then(|| format!("{}: {}", key(admin), count(number as usize, "account")))
}

fn line(session: &DatabaseSession) -> String {
    let ready =
        session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::READY));
    let why = ready.map(|ready| format!(": {}: {}", ready.reason, ready.message)).unwrap_or_default();
    format!("{} ({}){why}", key(session), phase(session).as_str())
}

fn key(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn name(objects: &[String], text: &mut String) {
    for object in objects.iter().take(NAMED) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {object}");
    }
    if objects.len() > NAMED {
        let _ = writeln!(text, "  and {} more", objects.len() - NAMED);
    }
}

async fn list<K>(client: &Client, namespaces: &[String]) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let scopes: Vec<Api<K>> = match namespaces {
        [] => vec![Api::all(client.clone())],
        names => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    let mut found = Vec::new();
    for scope in scopes {
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = scope.list(&page).await.with_context(|| format!("listing {}s", K::kind(&())))?;
            found.extend(listed.items);
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options() -> Options {
        Options {
            namespaces: Vec::new(),
            lease_namespace: None,
            timeout: Duration::from_secs(240),
            kinds_too: false,
            release: Some("rolecall-system/rolecall".to_owned()),
            finalizer_binding: None,
            force: false,
        }
    }

    fn session(name: &str, phase: &str, finalizer: bool) -> DatabaseSession {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop",
                "name": name,
                "finalizers": if finalizer { vec![rolecall_api::names::ACCOUNT_FINALIZER] } else { Vec::new() },
            },
            "spec": {"user": "alice", "database": "orders"},
            "status": {"phase": phase, "conditions": [{
                "type": "Ready", "status": "False", "reason": "DatabaseUnreachable", "message": "it is silent",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap()
    }

    fn admin(finalizers: &[&str], annotations: Value) -> DatabaseAdmin {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "orders", "finalizers": finalizers, "annotations": annotations},
            "spec": {"protocol": "postgres", "uri": "a:1", "auth": {"password": {"secretRef": {"name": "a", "key": "b"}}}},
        }))
        .unwrap()
    }

    fn left(sessions: &[DatabaseSession], admins: &[DatabaseAdmin], options: &Options) -> Left {
        Left::of(sessions, admins, options)
    }

    #[test]
    fn sessions_that_may_have_access_are_named_with_what_is_in_the_way() {
        let over =
            [session("a", "Ended", false), session("b", "Rejected", false), session("c", "Pending", false)];
        assert_eq!(left(&over, &[], &options()), Left::default());
        for (phase, finalizer) in [("Active", true), ("Ending", true), ("Pending", true), ("Active", false)] {
            let left = left(&[session("d", phase, finalizer)], &[], &options());
            let refusal = left.refusal(true, Duration::from_secs(240));
            let line = format!("  shop/d ({phase}): DatabaseUnreachable: it is silent\n");
            assert!(left.open() == 1 && refusal.contains(&line), "{refusal}");
        }
    }

    #[test]
    fn logins_that_stay_open_without_a_session_are_named() {
        let mut server = admin(&[], json!({}));
        assert_eq!(left(&[], &[server.clone()], &options()).done(), "No session has access.");
        server.status = Some(serde_json::from_value(json!({"accounts": {"orphaned": 2}})).unwrap());
        let said = left(&[], &[server], &options()).done();
        assert!(said.ends_with("names them):\n  shop/orders: 2 accounts\n"), "{said}");
    }

    #[test]
    fn many_are_counted() {
        let many: Vec<DatabaseSession> = (0..30).map(|n| session(&n.to_string(), "Active", true)).collect();
        let refusal = left(&many, &[], &options()).refusal(false, Duration::from_secs(45));
        assert!(refusal.starts_with("30 sessions may") && refusal.contains("  and 10 more\n"), "{refusal}");
        assert!(refusal.contains("No operator has answered"), "{refusal}");
    }

    #[test]
    fn what_goes_after_the_operator_may_have_no_finalizer() {
        let ours = json!({"meta.helm.sh/release-namespace": "rolecall-system", "meta.helm.sh/release-name": "rolecall"});
        let theirs =
            json!({"meta.helm.sh/release-namespace": "shop", "meta.helm.sh/release-name": "rolecall"});
        let refused = |admin: DatabaseAdmin, kinds_too: bool| {
            let options = Options { kinds_too, ..options() };
            left(&[], &[admin], &options).finalizers().is_some_and(|text| text.contains("  shop/orders\n"))
        };
        assert!(refused(admin(&[TEARDOWN_FINALIZER], ours.clone()), false), "it is in the release");
        assert!(!refused(admin(&[TEARDOWN_FINALIZER], theirs.clone()), false), "it stays");
        assert!(!refused(admin(&[TEARDOWN_FINALIZER], json!({})), false), "it stays");
        assert!(refused(admin(&[TEARDOWN_FINALIZER], theirs), true), "its kind goes");
        assert!(!refused(admin(&["somebody.else/finalizer"], ours), true));
    }
}
