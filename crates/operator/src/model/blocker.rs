//! Why something cannot be done now.

use rolecall_api::reasons;
use rolecall_engine::Class;
use rolecall_resolve::Blocked;

/// What is in the way of an object, as its Ready condition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The reason of the Ready condition.
    pub reason: String,
    /// For people: what, on which object, and what to do.
    pub message: String,
    /// Only a person can fix it; otherwise it may go away by itself.
    pub stalled: bool,
    /// An object that is merely not there yet: it is waited for before it is reported as something only a person can
    /// fix.
    pub awaited: bool,
}

impl Blocker {
    /// Something that only a person can fix.
    pub fn stalled(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), stalled: true, awaited: false }
    }

    /// An object that is not there yet, or not any more.
    pub fn awaited(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { awaited: true, ..Self::stalled(reason, message) }
    }

    /// Something that may go away by itself.
    pub fn passing(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { stalled: false, ..Self::stalled(reason, message) }
    }

    /// What the API server answered to something that was attempted.
    pub fn of_api(attempted: &str, error: &kube::Error) -> Self {
        let (answer, stalled) = match error {
            // Too early, in conflict, too often: the others of these codes say no, and will say no again.
            kube::Error::Api(status) => (
                status.message.clone(),
                (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 425 | 429),
            ),
            error => (error.to_string(), false),
        };
        let message = format!("{attempted} failed: the API server answered: {answer}");
        Self { stalled, ..Self::stalled(reasons::API_REFUSED, message) }
    }
}

impl From<&Blocked> for Blocker {
    fn from(blocked: &Blocked) -> Self {
        let objects = [reasons::USER_NOT_FOUND, reasons::DATABASE_NOT_FOUND, reasons::ROLE_NOT_FOUND];
        let awaited = objects.contains(&blocked.reason);
        // An installation that goes on, or a new one, is all that it takes.
        let stalled = blocked.reason != reasons::UNINSTALLED;
        Self { awaited, stalled, ..Self::stalled(blocked.reason, blocked.message.clone()) }
    }
}

impl From<&rolecall_engine::Refusal> for Blocker {
    fn from(refusal: &rolecall_engine::Refusal) -> Self {
        Self::stalled(refusal.reason.as_str(), refusal.message.clone())
    }
}

impl From<&rolecall_engine::Error> for Blocker {
    fn from(error: &rolecall_engine::Error) -> Self {
        match error.class {
            Class::Unreachable | Class::Transient => Self::passing(error.reason.as_str(), error.to_string()),
            Class::Invalid | Class::Refused => Self::stalled(error.reason.as_str(), error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_refuses_needs_a_person_and_what_it_cannot_do_now_does_not() {
        let answer = |code: u16| {
            let status = kube::core::Status {
                code,
                message: "exceeded quota".into(),
                ..kube::core::Status::default()
            };
            Blocker::of_api("writing the Secret", &kube::Error::Api(Box::new(status)))
        };
        for code in [400, 403, 404, 413, 422] {
            assert!(answer(code).stalled, "{code}");
        }
        for code in [408, 409, 425, 429, 500, 503, 504] {
            assert!(!answer(code).stalled, "{code}");
        }
        let message = answer(403).message;
        assert!(message.contains("writing the Secret") && message.contains("exceeded quota"), "{message}");
    }
}
