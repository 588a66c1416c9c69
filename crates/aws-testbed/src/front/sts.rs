//! STS: temporary keys for a token of a cluster's service account (IRSA).

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::FrontState;
use super::reply::{Fields, Refusal};

/// Keys for a web identity token. This call is not signed: the token is what counts.
///
/// # Errors
/// For a token that is not trusted, or not for this role.
pub(super) fn assume_role(
    state: &mut FrontState,
    parameters: &BTreeMap<String, String>,
) -> Result<Fields, Refusal> {
    let parameter = |name: &str| {
        let missing = || Refusal::new(400, "MissingParameter", format!("the parameter {name} is missing"));
        parameters.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let (role, token) = (parameter("RoleArn")?, parameter("WebIdentityToken")?);
    parameter("RoleSessionName")?;
    match state.web_identities.get(token) {
        None => return Err(Refusal::new(400, "InvalidIdentityToken", "the token is not trusted")),
        Some(trusted) if trusted != role => {
            let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
            return Err(Refusal::new(403, "AccessDenied", message));
        }
        Some(_) => {}
    }
    let role = role.clone();
    let (keys, expires) = state.issue_keys(SignedDuration::from_hours(1));
    Ok(vec![
        ("SubjectFromWebIdentityToken", "system:serviceaccount:rolecall:rolecall".to_owned()),
        ("AssumedRoleUser/AssumedRoleId", "AROATEST:rolecall".to_owned()),
        ("AssumedRoleUser/Arn", role),
        ("Credentials/AccessKeyId", keys.access_key_id),
        ("Credentials/SecretAccessKey", keys.secret),
        ("Credentials/SessionToken", keys.session_token.unwrap_or_default()),
        ("Credentials/Expiration", expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ])
}

/// Who signed a call.
pub(super) fn identity(key: &str) -> Fields {
    vec![
        ("Arn", format!("arn:aws:iam::123456789012:user/{key}")),
        ("UserId", key.to_owned()),
        ("Account", "123456789012".to_owned()),
    ]
}
