//! Each invariant fails where something is broken on purpose.
//!
//! What is broken is what the operator is connected to: it then does, or says, what must never be.
//!
//! | invariant | what is broken |
//! |---|---|
//! | no login without a live session | the finalizer that the operator puts on a session goes at once |
//! | no login without a live session | the Secret that the operator writes goes at once |
//! | no login without a live session | the server does not carry out an end, and says that it has |
//! | Ended only after a read-back | an end is answered and was not read back |
//! | a deny reaches live sessions | nothing is heard of roles that change |
//! | nothing of others is touched | a plan changes somebody else's user, too |
//! | nothing wedges | the finalizer cannot be taken off a session, and nobody says so |
//! | no write without a difference | each status is written twice |
//! | a session that is over stays over | the operator hears of no session that it is over |
//! | whoever asks does not approve | the operator hears that somebody else decided |
//! | the audit log comes first | the line that an access is there is lost |
//! | the audit log comes first | the line that an access is about to be given is lost |
//! | the audit log says who approved | their names are left out of the lines |

use super::approvals::Decides;
use super::lifecycle::{History, each, run, standing};
use super::operation::Operation;
use super::oracle::Grants;
use super::store::When;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    FinalizersGo,
    SecretsGo,
    EndsAreLost,
    EndsAreNotReadBack,
    PolicyIsNotHeard,
    OthersAreChanged,
    FinalizersStay,
    WritesRepeat,
    AuditLinesAreLost,
    GrantsAreNotLogged,
    EndsAreForgotten,
    DecidersAreHidden,
    ApproversAreNotLogged,
}

#[test]
fn each_invariant_fails_where_something_is_broken() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let start = || (standing(0), 5);
    let delete = || (Operation::DeleteSession(0), 30);
    let timed = || {
        let ttl = Some(3);
        (
            Operation::CreateSession {
                session: 0,
                user: 0,
                admin: 0,
                database: Some("app"),
                ttl,
                keep: 1_000,
            },
            5,
        )
    };
    let crash = || (Operation::Crash { after: 0, when: When::Before }, 0);
    let deny = || (Operation::SetRole { role: 0, grants: Grants::DenyAll }, 20);
    let asks = || (Operation::SetRole { role: 0, grants: Grants::Approved }, 5);
    let other = || (Operation::Decide { session: 0, what: Decides::Approve }, 20);
    let own = || (Operation::Decide { session: 0, what: Decides::ApproveOwn }, 20);
    for (broken, steps, violated) in [
        (Break::FinalizersGo, vec![start()], "was enabled, and no session accounts for it"),
        (Break::SecretsGo, vec![start()], "was enabled, and no session accounts for it"),
        (Break::EndsAreLost, vec![start(), delete()], "can log in"),
        (Break::EndsAreNotReadBack, vec![start(), delete()], "is ended, and the server has not shown it"),
        (Break::PolicyIsNotHeard, vec![start(), deny()], "is Active, and policy does not allow it"),
        (Break::OthersAreChanged, vec![start()], "what belongs to others has changed"),
        (Break::FinalizersStay, vec![start(), (Operation::DeleteSession(0), 5)], "is being deleted"),
        (Break::WritesRepeat, vec![start()], "changes nothing, as the operator knew"),
        (Break::AuditLinesAreLost, vec![start()], "is Active, and the audit log says"),
        (Break::GrantsAreNotLogged, vec![start()], "was enabled, and the audit log does not say so"),
        (Break::EndsAreForgotten, vec![timed(), crash(), (standing(1), 30)], "goes from Ended to"),
        (Break::DecidersAreHidden, vec![asks(), start(), own()], "nobody else has approved it"),
        (
            Break::ApproversAreNotLogged,
            vec![asks(), start(), other()],
            "the audit log does not say who approved",
        ),
    ] {
        // What names the account of a session that admission marks is its Secret.
        let admission = broken == Break::SecretsGo;
        let history =
            |broken| History { seed: 1, passwords: admission, admission, steps: each(steps.clone()), broken };
        run(&history(None)).unwrap();
        let fails = run(&history(Some(broken))).unwrap_err().to_string();
        assert!(fails.contains(violated), "{broken:?}: {fails}");
    }
}
