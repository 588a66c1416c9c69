//! Does a server take the certificates that its users get?

use jiff::Timestamp;
use rolecall_api::reasons;
use rolecall_engine::{Finding, Preflight, Reason};
use rolecall_pki::credentials::throw_away;

use crate::servers::{Issuer, Server, ServerState};

/// The field that names the CA.
const FIELD: &str = "spec.userCredentials.x509.caSecretRef";

/// It comes after what the admin user lacks, and before warnings.
pub(super) fn add(preflight: &mut Preflight, finding: Option<Finding>) {
    let at = preflight.findings.partition_point(|known| known.reason != Reason::PublicConnect);
    preflight.findings.splice(at..at, finding);
}

/// Shows the server a certificate of the CA for users. Where it does not answer, the last answer counts.
pub(super) async fn finding(server: &Server, before: &ServerState, now: Timestamp) -> Option<Finding> {
    let Issuer::X509 { ca, .. } = &server.issuer else { return None };
    let checked = match throw_away(ca, now) {
        Ok(certificate) => server.engine.check_client_ca(&certificate).await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(found) => found.map(|found| Finding { message: format!("{FIELD}: {}", found.message), ..found }),
        Err(error) => {
            tracing::debug!(%error, "whether the server accepts users' certificates could not be checked");
            let is_same = before.server.as_ref().is_some_and(|old| old.fingerprint == server.fingerprint);
            let known = before.blocker.as_ref().filter(|_| is_same);
            known
                .filter(|blocker| blocker.reason == reasons::CLIENT_CA_NOT_TRUSTED)
                .map(|blocker| Finding::new(Reason::ClientCaNotTrusted, "", &blocker.message))
        }
    }
}
