//! Every rule, against the real API server.

use anyhow::{Result, bail};
use futures::{StreamExt, stream};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::cases::{self, Request};
use crate::kinds;

/// Requests under way at once.
const CONCURRENCY: usize = 8;

#[test]
fn every_rule_has_a_manifest_that_keeps_it_and_one_that_breaks_it() -> Result<()> {
    let cases = cases::all()?;
    let requests: Vec<Request<'_>> = cases.iter().flat_map(|cases| cases.requests()).collect();
    let mut missing = Vec::new();
    let mut rules = 0;
    for crd in rolecall_api::crds() {
        let kind = &crd.spec.names.kind;
        let schema = serde_json::to_value(&crd.spec.versions[0].schema)?;
        for (at, message) in rules_of(&schema["openAPIV3Schema"], "") {
            rules += 1;
            let mut covering = requests
                .iter()
                .filter(|r| r.kind == kind.as_str() && r.case.at == at && message.contains(&r.case.says));
            if !(covering.clone().any(|r| r.valid) && covering.any(|r| !r.valid)) {
                missing.push(format!("{kind} {at}: {message}"));
            }
        }
    }
    assert!(rules > 0, "the definitions have no rules");
    assert!(missing.is_empty(), "rules without a case:\n{}", missing.join("\n"));
    println!("{rules} rules, {} manifests", requests.len());
    Ok(())
}

#[tokio::test]
async fn the_api_server_admits_what_keeps_the_rules_and_says_what_is_wrong_with_the_rest() -> Result<()> {
    let client = crate::client().await?;
    let cases = cases::all()?;
    let requests = cases.iter().flat_map(|cases| cases.requests()).enumerate();
    let wrong: Vec<String> = stream::iter(requests)
        .map(|(number, request)| check(&client, number, request))
        .buffer_unordered(CONCURRENCY)
        .filter_map(|result| async { result.err().map(|error| format!("{error:#}")) })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Where each rule of a schema reports, and what it says.
fn rules_of(schema: &Value, at: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let field = rule["fieldPath"].as_str().unwrap_or_default();
        let message = rule["message"].as_str().unwrap_or_default();
        found.push((format!("{at}{field}").trim_start_matches('.').to_owned(), message.to_owned()));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(rules_of(field, &format!("{at}.{name}")));
    }
    for entries in ["items", "additionalProperties"] {
        if schema[entries].is_object() {
            found.extend(rules_of(&schema[entries], &format!("{at}[]")));
        }
    }
    found
}

/// Sends a request as a dry run and compares the answer.
async fn check(client: &Client, number: usize, request: Request<'_>) -> Result<()> {
    let Request { case, kind, mut before, mut object, valid } = request;
    let api = kinds::api(client, kind, "default")?;
    if kind == "DatabaseSessionDecision" {
        let (session, me) = (session(client, number).await?, whoami(client).await?);
        before.iter_mut().chain([&mut object]).for_each(|decision| decide(decision, &session, &me));
    }
    let answer = match before {
        None => create(&api, &object, true).await,
        Some(mut before) => {
            before["metadata"]["name"] = format!("case-{number}").into();
            let stored = create(&api, &before, false).await?;
            replace(&api, stored, &object).await
        }
    };
    let complaints = match answer {
        Ok(_) => Vec::new(),
        Err(error) => complaints(error)?,
    };
    let here = |(at, message): &(String, String)| *at == case.at && message.contains(&case.says);
    match (valid, complaints.as_slice()) {
        (true, []) => Ok(()),
        (false, [one]) if here(one) => Ok(()),
        (true, _) => bail!("{kind} should be admitted: {object}\n    {complaints:?}"),
        (false, _) => bail!(
            "{kind} should be refused at {} with {:?} and nothing else: {object}\n    {complaints:?}",
            case.at,
            case.says
        ),
    }
}

/// A session for a decision, which is deleted without one.
async fn session(client: &Client, number: usize) -> Result<DynamicObject> {
    let session = json!({
        "apiVersion": "rolecall.dev/v1alpha1",
        "kind": "DatabaseSession",
        "metadata": {"name": format!("case-{number}")},
        "spec": {"user": "alice", "database": "orders"},
    });
    Ok(create(&kinds::api(client, "DatabaseSession", "default")?, &session, false).await?)
}

async fn whoami(client: &Client) -> Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    Ok(user.unwrap_or_default())
}

/// Makes a decision one about this session, by whoever sends it.
fn decide(decision: &mut Value, session: &DynamicObject, me: &str) {
    let (name, uid) = (session.name_any(), session.uid().unwrap_or_default());
    decision["spec"]["sessionRef"] = json!({"name": name, "uid": uid});
    decision["spec"]["decidedBy"] = me.into();
    decision["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseSession", "name": name, "uid": uid,
    }]);
}

async fn create(api: &Api<DynamicObject>, object: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
    let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams { dry_run, ..PostParams::default() }, &object).await
}

/// Puts `wanted` in place of a stored object, as a dry run.
async fn replace(
    api: &Api<DynamicObject>,
    stored: DynamicObject,
    wanted: &Value,
) -> kube::Result<DynamicObject> {
    let mut object: DynamicObject =
        serde_json::from_value(wanted.clone()).map_err(kube::Error::SerdeError)?;
    object.metadata.name = Some(stored.name_any());
    object.metadata.resource_version = stored.resource_version();
    api.replace(&stored.name_any(), &PostParams { dry_run: true, ..PostParams::default() }, &object).await
}

/// The fields that a refusal names, entries of lists and maps without their index, and what it says about
/// each.
fn complaints(error: kube::Error) -> Result<Vec<(String, String)>> {
    let kube::Error::Api(status) = error else { return Err(error.into()) };
    let causes = status.details.into_iter().flat_map(|details| details.causes);
    Ok(causes
        .filter(|cause| cause.field != "<nil>")
        .map(|cause| (without_indices(&cause.field), cause.message))
        .collect())
}

fn without_indices(field: &str) -> String {
    let mut parts = field.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |path, part| path + "[]" + part.split_once(']').map_or("", |(_, rest)| rest))
}
