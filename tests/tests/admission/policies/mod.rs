//! Admission policies: who may open a session for whom, hand a role out, end the sessions of others, and write what is
//! the operator's. With real users and RBAC.

mod needed;
mod people;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DynamicObject};
use rolecall_testbed::Identity;
use rolecall_tests::cluster;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::kinds;
use people::{OPERATOR, People, Try, decision, session, user};

/// Whoever changes the policies, which are the cluster's, has them alone.
static POLICIES: RwLock<()> = RwLock::const_new(());

/// May connect as `alice` to `orders`.
const ALICE: &str = "alice@example.com";

/// A namespace where alice may open her sessions and has one.
async fn people(namespace: &str) -> Result<People> {
    let people = People::of(namespace).await?;
    people.may(ALICE, "connect", "databaseusers", &["alice"]).await?;
    people.may(ALICE, "connect", "databaseadmins", &["orders"]).await?;
    // Where the API server does not write it, clients do.
    people.does(ALICE, &Try::Create(session("hers", &json!({"requestedBy": ALICE})))).await?;
    Ok(people)
}

#[tokio::test]
async fn who_has_the_verbs_opens_changes_and_ends_own_sessions() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("own").await?;
    people.can(ALICE, &Try::Patch("DatabaseSession", "hers", json!({"spec": {"ttl": "2h"}}))).await?;
    people
        .can(ALICE, &Try::Patch("DatabaseSession", "hers", json!({"metadata": {"labels": {"a": "b"}}})))
        .await?;
    // Finalizers of others are not the operator's.
    let finalizer = json!({"metadata": {"finalizers": ["example.com/mine"]}});
    people.can(ALICE, &Try::Patch("DatabaseSession", "hers", finalizer)).await?;
    people.does(ALICE, &Try::EndSession("hers")).await
}

async fn uid_of_hers(people: &People) -> Result<String> {
    let api = kinds::api(&cluster::client().await?, "DatabaseSession", &people.namespace)?;
    api.get("hers").await?.metadata.uid.context("a uid")
}

#[tokio::test]
async fn who_decides_is_written_by_an_api_server_that_can_and_nobody_decides_for_others() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("decided").await?;
    people.may("dan", "approve", "provisioningroles", &["reader", "writer"]).await?;
    people.may(ALICE, "approve", "provisioningroles", &[]).await?;
    let uid = uid_of_hers(&people).await?;
    people
        .does("dan", &Try::Create(decision("dans", "dan", &uid, &json!({"roles": ["reader", "writer"]}))))
        .await?;
    people
        .cannot(
            "dan",
            &Try::Create(decision("more", "dan", &uid, &json!({"roles": ["writer", "root"]}))),
            "root",
        )
        .await?;
    // Who has a right to everything does not approve what they ask for either.
    people
        .cannot(ALICE, &Try::Create(decision("own", ALICE, &uid, &json!({}))), "somebody else has to decide")
        .await?;
    let mut plain = decision("plain", "dan", &uid, &json!({}));
    plain["spec"].as_object_mut().context("a spec")?.remove("decidedBy");
    let served = people.cluster.kubectl(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"]).await?;
    if served.contains("\"mutatingadmissionpolicies\"") {
        people.does("dan", &Try::Create(plain)).await?;
        let api = kinds::api(&people.client("dan").await?, "DatabaseSessionDecision", "decided")?;
        ensure!(api.get("plain").await?.data["spec"]["decidedBy"] == "dan");
    }
    // Even who may write everything of them changes none.
    let change = json!({"spec": {"decision": "Deny"}});
    let answer = people.send("dan", &Try::Patch("DatabaseSessionDecision", "dans", change), true).await?;
    ensure!(answer.is_err_and(|error| error.to_string().contains("is immutable")));
    Ok(())
}

#[tokio::test]
async fn who_asked_is_written_by_an_api_server_that_can() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("asked").await?;
    people.does(ALICE, &Try::Create(session("plain", &json!({})))).await?;
    let api = kinds::api(&people.client(ALICE).await?, "DatabaseSession", "asked")?;
    let asked = async || anyhow::Ok(api.get("plain").await?.data["spec"]["requestedBy"].clone());
    let served = people.cluster.kubectl(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"]).await?;
    if served.contains("\"mutatingadmissionpolicies\"") {
        ensure!(asked().await? == ALICE);
        // A whole object that leaves it out means no change of it.
        let mut object = serde_json::to_value(api.get("plain").await?)?;
        object["spec"].as_object_mut().context("a spec")?.remove("requestedBy");
        let object: DynamicObject = serde_json::from_value(object)?;
        api.replace("plain", &Default::default(), &object).await?;
        ensure!(asked().await? == ALICE);
        people.can(ALICE, &Try::EndSession("plain")).await?;
    } else {
        ensure!(asked().await?.is_null());
        people.cannot(ALICE, &Try::EndSession("plain"), "which somebody unknown asked for").await?;
    }
    let forged = json!({"spec": {"requestedBy": "bob"}});
    for name in ["plain", "hers"] {
        let answer = people.send(ALICE, &Try::Patch("DatabaseSession", name, forged.clone()), true).await?;
        ensure!(answer.is_err(), "{name}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn who_may_manage_ends_the_sessions_of_others_and_does_not_extend_them() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("managed").await?;
    people.may("oncall", "manage", "databasesessions", &[]).await?;
    people.can("oncall", &Try::EndSession("hers")).await?;
    people
        .can("oncall", &Try::Patch("DatabaseSession", "hers", json!({"metadata": {"labels": {"a": "b"}}})))
        .await?;
    let longer = Try::Patch("DatabaseSession", "hers", json!({"spec": {"ttl": "9h"}}));
    people
        .cannot("oncall", &longer, "kubectl auth can-i connect databaseusers.rolecall.dev/alice -n managed")
        .await
}

#[tokio::test]
async fn who_may_bind_a_role_hands_it_out_and_no_other() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = People::of("bound").await?;
    let names: Vec<String> = (0..25).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    people.may("erin", "bind", "provisioningroles", &names).await?;
    people.can("erin", &Try::Create(user("few", &names[..3]))).await?;
    people.can("erin", &Try::Create(user("many", &names[..24]))).await?;
    // Each place is looked at, wherever in the list the role is.
    for place in [0, 1, 2, 12, 23] {
        let mut roles = names[..24].to_vec();
        roles[place] = "another";
        people.cannot("erin", &Try::Create(user("other", &roles)), "may not hand out").await?;
    }
    people.cannot("erin", &Try::Create(user("most", &names)), "more than 24 ProvisioningRoles").await?;
    people.may("boss", "bind", "provisioningroles", &[]).await?;
    people.can("boss", &Try::Create(user("most", &names))).await?;

    // What somebody else gave stays when other fields change, or roles are taken away.
    people.does("boss", &Try::Create(user("given", &["another", "r0"]))).await?;
    let change = |spec: Value| Try::Patch("DatabaseUser", "given", json!({"spec": spec}));
    people.can("erin", &change(json!({"suspend": true}))).await?;
    people.can("erin", &change(json!({"roles": ["another", "r1"]}))).await?;
    people.can("erin", &change(json!({"roles": []}))).await?;
    // A role gives what the traits say.
    people.cannot("erin", &change(json!({"traits": {"team": ["blue"]}})), "may not hand out").await
}

#[tokio::test]
async fn the_operator_and_the_clusters_controllers_are_not_held_up() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("controllers").await?;
    people.may("dan", "approve", "provisioningroles", &["reader"]).await?;
    let uid = uid_of_hers(&people).await?;
    let mut dans = decision("dans", "dan", &uid, &json!({}));
    // It stays until the test lets it go.
    dans["metadata"]["finalizers"] = json!(["example.com/mine"]);
    people.does("dan", &Try::Create(dans)).await?;
    for name in ["namespace-controller", "generic-garbage-collector"] {
        let _ =
            people.cluster.kubectl(&["create", "serviceaccount", name, "--namespace", "kube-system"]).await;
        let controller = format!("system:serviceaccount:kube-system:{name}");
        people.can(&controller, &Try::EndSession("hers")).await?;
        people.can(&controller, &Try::TakeBack("dans")).await?;
    }
    people.can("dan", &Try::TakeBack("dans")).await?;
    people.cannot("bob", &Try::TakeBack("dans"), "may not delete the decision dans").await?;
    let marked = json!({"metadata": {"finalizers": ["rolecall.dev/account"], "annotations": {"rolecall.dev/username": "a"}}});
    people.does(OPERATOR, &Try::Patch("DatabaseSession", "hers", marked)).await?;
    people
        .can(OPERATOR, &Try::Patch("DatabaseSession", "hers", json!({"status": {"phase": "Ending"}})))
        .await?;
    people.can(OPERATOR, &Try::EndSession("hers")).await?;
    people.cannot("bob", &Try::EndSession("hers"), "may not change or end the session hers").await?;

    // The namespace goes as soon as the operator lets its sessions go.
    people.cluster.kubectl(&["delete", "namespace", "controllers", "--wait=false"]).await?;
    people.can("bob", &Try::EndSession("hers")).await?;
    people.can("bob", &Try::TakeBack("dans")).await?;
    let let_go = json!({"metadata": {"finalizers": null}});
    people.does("bob", &Try::Patch("DatabaseSessionDecision", "dans", let_go)).await?;
    let taken_off = json!({"metadata": {"finalizers": null}});
    people
        .cannot("bob", &Try::Patch("DatabaseSession", "hers", taken_off.clone()), "written by the operator")
        .await?;
    people.does(OPERATOR, &Try::Patch("DatabaseSession", "hers", taken_off)).await?;
    people.cluster.kubectl(&["wait", "--for=delete", "namespace/controllers", "--timeout=120s"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_gitops_tool_prunes_what_it_applied_and_with_edit_everything() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("gitops").await?;
    for (account, role) in [("tenant", None), ("platform", Some("rolecall-edit"))] {
        people.cluster.kubectl(&["create", "serviceaccount", account, "-n", "gitops"]).await?;
        let subject = format!("--serviceaccount=gitops:{account}");
        let role = role.map_or("--role=people".to_owned(), |role| format!("--clusterrole={role}"));
        people.cluster.kubectl(&["create", "rolebinding", account, &role, &subject, "-n", "gitops"]).await?;
    }
    let [tenant, platform] =
        ["tenant", "platform"].map(|name| format!("system:serviceaccount:gitops:{name}"));
    let mine = |who: &str| json!({"requestedBy": who});
    people.cannot(&tenant, &Try::Create(session("its", &mine(&tenant))), "connect").await?;
    people.may(&tenant, "connect", "databaseusers", &["alice"]).await?;
    people.may(&tenant, "connect", "databaseadmins", &[]).await?;
    people.does(&tenant, &Try::Create(session("its", &mine(&tenant)))).await?;
    people.can(&tenant, &Try::EndSession("its")).await?;
    people.cannot(&tenant, &Try::EndSession("hers"), "which alice@example.com asked for").await?;
    people.can(&platform, &Try::EndSession("hers")).await?;
    people.can(&platform, &Try::Create(session("theirs", &json!({})))).await?;
    people.can(&platform, &Try::Create(user("bob", &["reader"]))).await
}

#[tokio::test]
async fn a_collection_is_ended_as_far_as_each_of_it_may_be() -> Result<()> {
    let _policies = POLICIES.read().await;
    let people = people("collection").await?;
    let identity =
        Identity::Certificate { name: "bob".to_owned(), group: Some("people-of-collection".to_owned()) };
    let client = kube::Client::try_from(cluster::config_of(&identity).await?)?;
    let api: Api<DynamicObject> = kinds::api(&client, "DatabaseSession", "collection")?;
    people.cannot("bob", &Try::EndSession("hers"), "manage").await?;
    let refused = api.delete_collection(&Default::default(), &Default::default()).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("which alice@example.com asked for")));
    ensure!(api.get("hers").await?.metadata.deletion_timestamp.is_none());
    Ok(())
}
