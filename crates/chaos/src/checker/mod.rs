//! Says which account differs from what the live sessions explain.
//!
//! It reads the API server and the catalogues, and tries logins. It knows of the operator what its documentation says,
//! and nothing of its code.

mod catalogues;
mod judge;
mod logins;
mod read;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

pub use catalogues::Catalogues;
pub use judge::{Account, Class, Facts, Login, Other, Session, Violation, judge};

use crate::lane::Lane;
use crate::world::World;
use logins::Logins;

/// The first look comes at once; then they come less and less often.
const POLL: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(600));
/// How often it is said what has not healed yet.
const TOLD: Duration = Duration::from_secs(15);

/// Of one lane. See the module.
#[derive(Debug)]
pub struct Checker {
    catalogues: Arc<Catalogues>,
    logins: Logins,
    /// What was reported already.
    known: BTreeSet<(Class, String)>,
}

/// What became of a fault.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// When everything was as it should be, or was given up.
    pub after: Duration,
    /// Sessions that gave access then.
    pub live: usize,
    /// What was still wrong, and had not been reported before.
    pub violations: Vec<Violation>,
}

impl Checker {
    /// One that shares looks at the catalogues with those of other lanes; there are so many lanes.
    pub fn new(catalogues: Arc<Catalogues>, lanes: usize) -> Self {
        Self { catalogues, logins: Logins::of(lanes), known: BTreeSet::new() }
    }

    /// Keeps the credentials of all sessions that give access now, to try them when they no longer should.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn remember_credentials(&mut self, lane: &Lane) -> Result<()> {
        self.logins.remember(lane).await
    }

    /// Forgets the passwords of sessions that vanished while no operator ran. Sessions of one account share a password,
    /// and nobody is left who could know that one of several has gone: it works until another of them ends.
    pub fn forget_passwords(&mut self, sessions: &[String]) {
        self.logins.forget_passwords(sessions);
    }

    /// Waits until everything is as it should be, for so long at most, and says what is not.
    pub async fn heal(&mut self, world: &World, lane: &Lane, patience: Duration) -> Outcome {
        let begun = Instant::now();
        let (mut told, mut poll) = (begun, POLL.0);
        loop {
            let mut look = self.look(world, lane).await.unwrap_or_else(|error| Look {
                read: Instant::now(),
                live: 0,
                violations: vec![Violation::new(Class::Unreadable, "a look", format!("{error:#}"))],
            });
            look.violations.retain(|violation| !self.known.contains(&violation.key()));
            let Look { read, live, violations } = look;
            if violations.is_empty() || begun.elapsed() > patience {
                // What cannot be read says nothing of anything: it is never old news.
                let seen = violations.iter().filter(|violation| violation.class != Class::Unreadable);
                self.known.extend(seen.map(Violation::key));
                return Outcome { after: read - begun, live, violations };
            }
            if told.elapsed() > TOLD {
                told = Instant::now();
                let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
                eprintln!("      not yet in {}: {}", lane.objects.namespace(), all.join("; "));
            }
            tokio::time::sleep(poll).await;
            poll = (poll * 5 / 4).min(POLL.1);
        }
    }

    async fn look(&mut self, world: &World, lane: &Lane) -> Result<Look> {
        let (mut facts, whole) = read::facts(world, lane, &self.catalogues).await?;
        let read = Instant::now();
        let mut violations = if whole { judge(&facts) } else { judge::unsettled(&facts) };
        if violations.is_empty() {
            // Logins take the longest: only where all else is well.
            self.logins.remember(lane).await?;
            facts.logins = self.logins.tried(world, &facts).await;
            violations = judge(&facts);
        }
        let live = facts.sessions.iter().filter(|session| session.is_live(facts.now)).count();
        Ok(Look { read, live, violations })
    }
}

/// What was seen at one time.
struct Look {
    /// When everything but the logins had been read.
    read: Instant,
    /// The sessions that give access.
    live: usize,
    violations: Vec<Violation>,
}

impl Outcome {
    /// What became of a fault that happened to all lanes.
    pub fn of_all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().fold(Self::default(), |mut all, one| {
            all.after = all.after.max(one.after);
            all.live += one.live;
            all.violations.extend(one.violations);
            all
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, live) = (self.after.as_secs_f64(), self.live);
        write!(f, "{after:>6.1} s {live:>3} live ")?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n      VIOLATION {violation}"))
    }
}
