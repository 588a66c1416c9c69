//! What the API server refuses and when it does not answer at all, in words that say what to do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use kube::core::Status;
use tokio::time::{sleep, timeout};
use tower::BoxError;

use crate::output;

/// How long an answer may take before it is said what is waited for.
const SHOWN_AFTER: Duration = Duration::from_secs(5);

/// How long an answer may take to begin. A watch begins at once.
const LONGEST: Duration = Duration::from_secs(60);

/// The API server does not answer at its address.
#[derive(Debug)]
struct Unreachable {
    url: String,
    source: BoxError,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the API server at {} does not answer", self.url)
    }
}

impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// The API server took a request, and has not answered it for this long.
#[derive(Debug)]
pub(crate) struct Silent(pub(crate) Duration);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the API server does not answer for {}", rolecall_policy::format_duration(self.0))
    }
}

impl std::error::Error for Silent {}

/// Waits for an API server to begin its answer: not for ever, and after a while not without a word.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    url: Arc<str>,
    quiet: Arc<AtomicBool>,
}

impl Patience {
    /// For the API server at this address.
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').into(), quiet: Arc::default() }
    }

    /// From now on somebody else says what is waited for.
    pub(super) fn keep_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Waits for the beginning of an answer.
    pub(super) async fn answer<T>(
        self,
        answer: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let tell = async {
            sleep(SHOWN_AFTER).await;
            if !self.quiet.load(Ordering::Relaxed) {
                output::say(format_args!(
                    "waiting for the API server at {}: it has not answered for {} (Ctrl-C gives up)",
                    self.url,
                    rolecall_policy::format_duration(SHOWN_AFTER)
                ));
            }
            std::future::pending().await
        };
        let answered = timeout(LONGEST, async {
            tokio::select! {
                answered = answer => answered,
                never = tell => never,
            }
        });
        match answered.await {
            // What goes wrong before a connection is tried, such as a login, is left as it is.
            Ok(Err(error)) if error.is::<kube::Error>() => Err(error),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Ok(answered) => answered,
            Err(_) => {
                let silent = format!("not for {}", rolecall_policy::format_duration(LONGEST));
                Err(self.unreachable(silent.into()))
            }
        }
    }

    fn unreachable(&self, source: BoxError) -> BoxError {
        Unreachable { url: self.url.to_string(), source }.into()
    }
}

/// An error without the struct that the API server wraps it in.
pub(crate) fn plain(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if is_not_served(&status) => {
            anyhow!(
                "the cluster does not have Rolecall's kinds; install them: rolecall-operator crds | kubectl apply -f -"
            )
        }
        kube::Error::Api(status) if lacks_a_right(&status) => anyhow!(
            "{}; reading is part of the ClusterRole view, opening and ending sessions of edit: kubectl create rolebinding \
             NAME --clusterrole=view --user=YOU -n NAMESPACE",
            status.message
        ),
        kube::Error::Api(status) => anyhow!("{}", status.message),
        kube::Error::Service(error) => match error.downcast::<Unreachable>() {
            Ok(unreachable) => anyhow::Error::new(*unreachable),
            Err(error) => anyhow::Error::from_boxed(error),
        },
        other => other.into(),
    }
}

/// Does the API server not serve the path? Where it does, a 404 names the object or the namespace that is missing.
fn is_not_served(status: &Status) -> bool {
    status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty())
}

/// Do Roles not allow the caller this, with an object of ours? An admission policy, which says what to do itself, gives
/// its message as a cause.
fn lacks_a_right(status: &Status) -> bool {
    let details = status.details.as_ref();
    status.code == 403
        && details
            .is_some_and(|details| details.group == rolecall_api::names::GROUP && details.causes.is_empty())
}

/// What helps where an error is not about what was asked, for the end of its message.
pub(crate) fn remedy(error: &anyhow::Error) -> &'static str {
    if error.chain().any(|cause| cause.is::<Unreachable>() || cause.is::<Silent>()) {
        "; kubectl cluster-info says whether it is there, --context chooses another one"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(status: serde_json::Value) -> String {
        let status: Status = serde_json::from_value(status).expect("it is one");
        plain(kube::Error::Api(status.boxed())).to_string()
    }

    #[test]
    fn a_path_that_is_not_served_is_told_from_an_object_that_is_missing_by_what_the_answer_is() {
        let kinds = "the cluster does not have Rolecall's kinds";
        // As a text, and as an object for kinds whose names were not accepted.
        assert!(said(json!({"code": 404, "message": "whatever it says"})).starts_with(kinds));
        let details = json!({"group": "rolecall.dev", "kind": "databaseusers"});
        assert!(said(json!({"code": 404, "message": "m", "details": details})).starts_with(kinds));
        let namespace = json!({"name": "shop", "kind": "namespaces"});
        assert_eq!(said(json!({"code": 404, "message": "no shop", "details": namespace})), "no shop");
        assert_eq!(said(json!({"code": 500, "message": "404 page not found"})), "404 page not found");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_waited_for_without_end() {
        let patience = Patience::new("https://api:6443/");
        let never = std::future::pending::<Result<(), BoxError>>();
        let error = patience.clone().answer(never).await.expect_err("it gives up");
        let error = plain(kube::Error::Service(error));
        assert_eq!(format!("{error:#}"), "the API server at https://api:6443 does not answer: not for 1m");
        assert!(remedy(&error).contains("kubectl cluster-info"));
        assert!(patience.answer(async { Ok::<_, BoxError>(1) }).await.is_ok_and(|answer| answer == 1));
        assert!(remedy(&anyhow::Error::new(Silent(LONGEST)).context("starting")).contains("--context"));
    }
}
