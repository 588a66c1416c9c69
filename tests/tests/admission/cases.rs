//! The cases: one file per kind beside this one.

use anyhow::Result;
use rolecall_tests::objects::merged;
use serde::Deserialize;
use serde_json::Value;

/// The cases of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// The kind.
    pub(crate) kind: String,
    /// A valid object, without `apiVersion` and `kind`.
    base: Value,
    /// What is done to it.
    pub(crate) cases: Vec<Case>,
}

/// Manifests that keep and that break one rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The field of the rule; `[]` for the entries of a list and the values of a map.
    pub(crate) at: String,
    /// What the refusal says, so that no other rule of the field can be meant.
    pub(crate) says: String,
    /// The object as it is before a change; absent where it is created.
    before: Option<Value>,
    accepted: Vec<Value>,
    refused: Vec<Value>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) case: &'a Case,
    pub(crate) kind: &'a str,
    /// The stored object, where the request changes one.
    pub(crate) before: Option<Value>,
    pub(crate) object: Value,
    pub(crate) valid: bool,
}

/// All cases.
pub(crate) fn all() -> Result<Vec<Cases>> {
    let texts = [
        include_str!("cases/database_admin.yaml"),
        include_str!("cases/database_session.yaml"),
        include_str!("cases/database_session_decision.yaml"),
        include_str!("cases/database_user.yaml"),
        include_str!("cases/db_object_import_rule.yaml"),
        include_str!("cases/provisioning_role.yaml"),
    ];
    texts.iter().map(|text| Ok(serde_saphyr::from_str(text)?)).collect()
}

impl Cases {
    /// The requests of these cases, each with its own object name.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        let base = merged(
            &self.base,
            &serde_json::json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": self.kind}),
        );
        self.cases.iter().flat_map(move |case| {
            let before = case.before.as_ref().map(|before| merged(&base, before));
            let from = before.as_ref().unwrap_or(&base).clone();
            let request = move |patch, valid| Request {
                case,
                kind: &self.kind,
                before: before.clone(),
                object: merged(&from, patch),
                valid,
            };
            let accepted = case.accepted.iter().map(|patch| (patch, true));
            accepted.chain(case.refused.iter().map(|patch| (patch, false))).map(move |(p, v)| request(p, v))
        })
    }
}
