//! Says which account differs from what the live sessions explain.
//!
//! It reads the API server and the catalogues, and tries logins. It knows of the operator what its documentation says,
//! and nothing of its code.

mod judge;
mod logins;
mod read;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

pub use judge::{Account, Class, Facts, Login, Session, Violation, judge};

use crate::world::World;
use logins::Logins;
use read::Reader;

const POLL: Duration = Duration::from_millis(150);
/// How often it is said what has not healed yet.
const TOLD: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug, Default)]
pub struct Checker {
    reader: Reader,
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
    /// Keeps the credentials of all sessions that give access now, to try them when they no longer should.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn remember_credentials(&mut self, world: &World) -> Result<()> {
        self.logins.remember(world).await
    }

    /// Waits until everything is as it should be, for so long at most, and says what is not.
    pub async fn heal(&mut self, world: &World, patience: Duration) -> Outcome {
        let begun = Instant::now();
        let mut told = begun;
        loop {
            let mut look = self.look(world).await.unwrap_or_else(|error| Look {
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
                eprintln!("      not yet: {}", all.join("; "));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn look(&mut self, world: &World) -> Result<Look> {
        let mut facts = self.reader.facts(world).await?;
        let read = Instant::now();
        let mut violations = judge(&facts);
        if violations.is_empty() {
            // Logins take the longest: only where all else is well.
            self.logins.remember(world).await?;
            facts.logins = self.logins.tried(world, &facts).await?;
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, live) = (self.after.as_secs_f64(), self.live);
        write!(f, "{after:>6.1} s {live:>3} live ")?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n      VIOLATION {violation}"))
    }
}
