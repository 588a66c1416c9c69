//! Each rule refuses what it is for, and nothing else would: where it is taken out, the API server lets it through.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::people::{OPERATOR, People, Try, decision, session, user};
use super::{ALICE, POLICIES, people};

/// A rule: its policy, its place in there (the last one where there is none), and what it refuses to whom, saying what.
struct Case {
    policy: &'static str,
    place: Option<usize>,
    who: &'static str,
    tries: Try,
    says: &'static str,
}

fn cases(uid: &str) -> Vec<Case> {
    let case = |policy, place, who, tries, says| Case { policy, place: Some(place), who, tries, says };
    let hers = |patch: Value| Try::Patch("DatabaseSession", "hers", patch);
    let twenty_five: Vec<String> = (0..25).map(|number| format!("r{number}")).collect();
    let twenty_five: Vec<&str> = twenty_five.iter().map(String::as_str).collect();
    let mut sixteen = twenty_five[..15].to_vec();
    sixteen.push("another");
    vec![
        case(
            "session-access",
            0,
            "bob",
            Try::Create(session("his", &json!({}))),
            "kubectl auth can-i connect databaseusers.rolecall.dev/alice",
        ),
        case(
            "session-access",
            0,
            "bob",
            hers(json!({"spec": {"ttl": "9h"}})),
            "connect databaseusers.rolecall.dev/alice",
        ),
        case(
            "session-access",
            1,
            "bob",
            Try::Create(session("his", &json!({"user": "bob"}))),
            "kubectl auth can-i connect databaseadmins.rolecall.dev/orders",
        ),
        case(
            "session-access",
            2,
            ALICE,
            Try::Create(session("other", &json!({"requestedBy": "bob"}))),
            "says who asks for the session, which is alice@example.com, and not bob",
        ),
        case("session-owner", 0, "carol", Try::EndSession("hers"), "which alice@example.com asked for"),
        case(
            "session-owner",
            0,
            "carol",
            hers(json!({"metadata": {"labels": {"a": "b"}}})),
            "kubectl auth can-i manage databasesessions.rolecall.dev/hers",
        ),
        case(
            "operator-fields",
            0,
            ALICE,
            hers(json!({"metadata": {"finalizers": null}})),
            "a finalizer rolecall.dev/",
        ),
        case(
            "operator-fields",
            1,
            ALICE,
            hers(json!({"metadata": {"annotations": {"rolecall.dev/username": "bob"}}})),
            "the annotation rolecall.dev/username",
        ),
        case(
            "operator-fields",
            2,
            ALICE,
            hers(json!({"status": {"phase": "Ended"}})),
            "the status of databasesessions/hers",
        ),
        case(
            "user-roles",
            0,
            "bob",
            Try::Create(user("bob", &["reader"])),
            "kubectl auth can-i bind provisioningroles.rolecall.dev/reader",
        ),
        Case {
            policy: "user-roles",
            place: None,
            who: "erin",
            tries: Try::Create(user("most", &twenty_five)),
            says: "more than 24",
        },
        case(
            "decision-maker",
            0,
            "dan",
            Try::Create(decision("other", "carol", uid, &json!({}))),
            "says who decides, which is dan, and not carol",
        ),
        case(
            "decision-maker",
            1,
            "dan",
            Try::Create(decision("other", "dan", uid, &json!({"requestedBy": "dan"}))),
            "somebody else has to decide",
        ),
        case(
            "decision-maker",
            2,
            "dan",
            Try::Create(decision("other", "dan", uid, &json!({"groups": ["system:masters"]}))),
            "dan is not in every group",
        ),
        case(
            "decision-maker",
            3,
            "dan",
            Try::Create(without_owner(decision("other", "dan", uid, &json!({})))),
            "metadata.ownerReferences has to be the session",
        ),
        case(
            "decision-maker",
            4,
            "carol",
            Try::Create(decision("other", "carol", uid, &json!({}))),
            "kubectl auth can-i approve provisioningroles.rolecall.dev/reader -n needed",
        ),
        Case {
            policy: "decision-maker",
            place: None,
            who: "frank",
            tries: Try::Create(decision("other", "frank", uid, &json!({"roles": sixteen}))),
            says: "may not decide on behalf of",
        },
        case("decision-owner", 0, "carol", Try::TakeBack("dans"), "which is that of dan"),
    ]
}

fn without_owner(mut decision: Value) -> Value {
    decision["metadata"]["ownerReferences"] = Value::Null;
    decision
}

#[tokio::test]
async fn each_rule_refuses_what_nothing_else_would() -> Result<()> {
    let _policies = POLICIES.write().await;
    let people = people("needed").await?;
    // bob may manage, and connect as himself; erin may bind many roles one by one.
    people.may("bob", "manage", "databasesessions", &[]).await?;
    people.may("bob", "connect", "databaseusers", &["bob"]).await?;
    let names: Vec<String> = (0..25).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    people.may("erin", "bind", "provisioningroles", &names).await?;
    let finalizers = json!({"metadata": {"finalizers": ["rolecall.dev/account"]}});
    people.does(OPERATOR, &Try::Patch("DatabaseSession", "hers", finalizers)).await?;

    // dan may decide on behalf of the role, and frank on behalf of many roles one by one.
    people.may("dan", "approve", "provisioningroles", &["reader"]).await?;
    people.may("frank", "approve", "provisioningroles", &names[..15]).await?;
    let api = crate::kinds::api(&people.client(ALICE).await?, "DatabaseSession", "needed")?;
    let uid = api.get("hers").await?.metadata.uid.context("a uid")?;
    people.does("dan", &Try::Create(decision("dans", "dan", &uid, &json!({})))).await?;

    let cases = cases(&uid);
    assert_complete(&people, &cases).await?;
    for case in &cases {
        people.cannot(case.who, &case.tries, case.says).await?;
    }
    for case in &cases {
        let (path, rule) = rule(&people, case).await?;
        patch(&people, case.policy, &path, &json!({"expression": "true"})).await?;
        // Two rules are in the way of who may not connect at all.
        let second = Case { place: Some(1), tries: case.tries.clone(), ..*case };
        let both = case.policy == "session-access" && case.place == Some(0);
        let other = match both {
            true => Some(self::rule(&people, &second).await?),
            false => None,
        };
        if let Some((path, _)) = &other {
            patch(&people, case.policy, path, &json!({"expression": "true"})).await?;
        }
        let taken_out = people.can(case.who, &case.tries).await;
        for (path, rule) in [Some((path, rule)), other].into_iter().flatten() {
            patch(&people, case.policy, &path, &rule).await?;
        }
        taken_out.with_context(|| format!("without the rule {:?} of {}", case.place, case.policy))?;
        people.cannot(case.who, &case.tries, case.says).await?;
    }
    Ok(())
}

/// Every rule of every policy has a case. Of those that look up one part of a list each, the first and the last have.
async fn assert_complete(people: &People, cases: &[Case]) -> Result<()> {
    let text = people.cluster.kubectl(&["get", "validatingadmissionpolicies", "--output=json"]).await?;
    let policies: Value = serde_json::from_str(&text)?;
    for policy in policies["items"].as_array().context("policies")? {
        let name = policy["metadata"]["name"].as_str().context("a name")?;
        let Some(name) = name.strip_prefix("rolecall-") else { continue };
        let rules = policy["spec"]["validations"].as_array().context("rules")?;
        let part = |rule: &Value| {
            let message = rule["messageExpression"].as_str().unwrap_or_default();
            message.contains("one of the ProvisioningRoles")
        };
        let mut parts = (0..rules.len()).filter(|place| part(&rules[*place]));
        let first = parts.next();
        for place in (0..rules.len()).filter(|place| first == Some(*place) || !part(&rules[*place])) {
            let is_last = place + 1 == rules.len();
            let has_case = cases.iter().any(|case| {
                case.policy == name && (case.place == Some(place) || is_last && case.place.is_none())
            });
            anyhow::ensure!(has_case, "no case for the rule {place} of {name}: {:#}", rules[place]);
        }
    }
    Ok(())
}

/// Where a rule is in its policy, and the rule.
async fn rule(people: &People, case: &Case) -> Result<(String, Value)> {
    let name = format!("rolecall-{}", case.policy);
    let text = people.cluster.kubectl(&["get", "validatingadmissionpolicy", &name, "--output=json"]).await?;
    let policy: Value = serde_json::from_str(&text)?;
    let rules = policy["spec"]["validations"].as_array().context("rules")?;
    let place = case.place.unwrap_or(rules.len() - 1);
    Ok((format!("/spec/validations/{place}"), rules[place].clone()))
}

async fn patch(people: &People, policy: &str, path: &str, rule: &Value) -> Result<()> {
    let name = format!("rolecall-{policy}");
    let patch = json!([{"op": "replace", "path": path, "value": rule}]).to_string();
    let patch = ["patch", "validatingadmissionpolicy", &name, "--type=json", "--patch", &patch];
    people.cluster.kubectl(&patch).await.map(drop).map_err(Into::into)
}
