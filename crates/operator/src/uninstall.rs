//! `rolecall-operator check-uninstall`: may the operator go? If it is removed while accesses are open, they stay open.

use std::fmt::Write;

use anyhow::{Context, bail};
use kube::api::ListParams;
use kube::{Api, Client, Config, Resource, ResourceExt};
use rolecall_api::names::TEARDOWN_FINALIZER;
use rolecall_api::{DatabaseAdmin, DatabaseSession};
use serde::de::DeserializeOwned;

use crate::model::session::{may_have_access, phase};

/// How many objects are named at most.
const NAMED: usize = 20;
/// How many objects are read at once.
const PAGE: u32 = 500;

/// Fails, naming them, when sessions in `namespaces` (none: in all of them) may have access; with `kinds_too` also when
/// an object has a finalizer that only an operator takes off.
///
/// # Errors
///
/// That, or what the API server answered.
pub async fn run(namespaces: &[String], kinds_too: bool) -> anyhow::Result<()> {
    let config = Config::infer().await.context("finding the API server (KUBECONFIG, or in-cluster)")?;
    let client = Client::try_from(config).context("preparing the connection to the API server")?;
    check(&client, namespaces, kinds_too).await
}

/// As [`run`], with a given client for the API server.
///
/// # Errors
///
/// As [`run`].
pub async fn check(client: &Client, namespaces: &[String], kinds_too: bool) -> anyhow::Result<()> {
    let sessions: Vec<DatabaseSession> = list(client, namespaces).await?;
    let admins: Vec<DatabaseAdmin> = if kinds_too { list(client, namespaces).await? } else { Vec::new() };
    match refusal(&sessions, &admins) {
        Some(refusal) => bail!(refusal),
        None => Ok(()),
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

/// What is in the way, and what to do about it.
fn refusal(sessions: &[DatabaseSession], admins: &[DatabaseAdmin]) -> Option<String> {
    let open: Vec<String> = sessions
        .iter()
        .filter(|session| may_have_access(session))
        .map(|session| format!("{} ({})", key(session), phase(session).as_str()))
        .collect();
    let with_finalizer: Vec<String> = admins
        .iter()
        .filter(|admin| admin.finalizers().iter().any(|finalizer| finalizer == TEARDOWN_FINALIZER))
        .map(key)
        .collect();
    let mut text = String::new();
    if !open.is_empty() {
        text.push_str(&format!(
            "{} DatabaseSessions may have access, which only an operator ends:\n",
            open.len()
        ));
        name(&open, &mut text);
        text.push_str("End them, and wait until they are gone: kubectl delete dbs --all --all-namespaces\n");
    }
    if !with_finalizer.is_empty() {
        text.push_str(&format!(
            "{} DatabaseAdmins have a finalizer, which only an operator takes off:\n",
            with_finalizer.len()
        ));
        name(&with_finalizer, &mut text);
        text.push_str("Delete them first: kubectl delete dba --all --all-namespaces\n");
    }
    (!text.is_empty()).then_some(text)
}

fn key(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(name: &str, phase: &str, finalizer: bool) -> DatabaseSession {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop",
                "name": name,
                "finalizers": if finalizer { vec![rolecall_api::names::ACCOUNT_FINALIZER] } else { Vec::new() },
            },
            "spec": {"user": "alice", "database": "orders"},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn admin(finalizers: &[&str]) -> DatabaseAdmin {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "orders", "finalizers": finalizers},
            "spec": {"protocol": "postgres", "uri": "a:1", "auth": {"password": {"secretRef": {"name": "a", "key": "b"}}}},
        }))
        .unwrap()
    }

    #[test]
    fn sessions_that_may_have_access_keep_the_operator() {
        let ended =
            [session("a", "Ended", false), session("b", "Rejected", false), session("c", "Pending", false)];
        assert_eq!(refusal(&ended, &[]), None);
        for (phase, finalizer) in [("Active", true), ("Ending", true), ("Pending", true), ("Active", false)] {
            let refusal = refusal(&[session("d", phase, finalizer)], &[]).expect("a refusal");
            assert!(refusal.contains(&format!("  shop/d ({phase})\n")), "{refusal}");
        }
    }

    #[test]
    fn many_are_counted() {
        let many: Vec<DatabaseSession> = (0..30).map(|n| session(&n.to_string(), "Active", true)).collect();
        let refusal = refusal(&many, &[]).expect("a refusal");
        assert!(
            refusal.starts_with("30 DatabaseSessions") && refusal.contains("  and 10 more\n"),
            "{refusal}"
        );
    }

    #[test]
    fn where_the_kinds_go_too_no_finalizer_may_be_left() {
        assert_eq!(refusal(&[], &[admin(&["somebody.else/finalizer"])]), None);
        let refusal = refusal(&[], &[admin(&[TEARDOWN_FINALIZER])]).expect("a refusal");
        assert!(refusal.contains("  shop/orders\n"), "{refusal}");
    }
}
