//! Waiting until nobody is in any more.
//!
//! A user that is closed keeps its sessions, and a password that AWS lent works on for up to an hour: only the
//! connection limit keeps it out. So the account is closed first, and its sessions are ended until none is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rolecall_engine::{AccountName, Class, Error, Reason};

use crate::Redshift;
use crate::reads::sessions;
use crate::statements::user;
use crate::transport::server::TargetDatabase;
use crate::transport::sqlstate;

/// How long one call waits. The next call goes on where this one stopped.
const TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Redshift {
    /// Ends the sessions of a closed account until none is left, and none has come late. Were there any?
    pub(crate) async fn drain(&self, run_in: &TargetDatabase, account: &AccountName) -> Result<bool, Error> {
        let begun = Instant::now();
        let mut were_any = false;
        loop {
            were_any |= self.end_sessions(run_in, account, None, begun).await?;
            let left = self.sessions_later(run_in).await?;
            if sessions::of(&left, account).next().is_none() {
                return Ok(were_any);
            }
        }
    }

    /// Ends the sessions that there are now. Others may come.
    pub(crate) async fn disconnect(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
    ) -> Result<(), Error> {
        let now = self.sessions(run_in).await?;
        let processes = sessions::of(&now, account).map(|session| session.process).collect();
        self.end_sessions(run_in, account, Some(processes), Instant::now()).await.map(drop)
    }

    /// `only`: none but these. Were there any?
    async fn end_sessions(
        &self,
        run_in: &TargetDatabase,
        account: &AccountName,
        only: Option<BTreeSet<i64>>,
        begun: Instant,
    ) -> Result<bool, Error> {
        let mut pause = FIRST_PAUSE;
        let mut were_any = false;
        let mut refused = None;
        // What may not be ended is not tried again, and does not keep the others from being ended.
        let mut denied: BTreeMap<i64, Error> = BTreeMap::new();
        loop {
            let all = self.sessions(run_in).await?;
            let is_meant = |process: &i64| only.as_ref().is_none_or(|only| only.contains(process));
            let left: Vec<i64> =
                sessions::of(&all, account).map(|session| session.process).filter(is_meant).collect();
            if left.is_empty() {
                return Ok(were_any);
            }
            were_any = true;
            let is_over = begun.elapsed() > TIMEOUT;
            if is_over || left.iter().all(|process| denied.contains_key(process)) {
                let error = left.iter().find_map(|process| denied.remove(process));
                return Err(error.unwrap_or_else(|| still_there(account, &left, refused)));
            }
            for process in left {
                if denied.contains_key(&process) {
                    continue;
                }
                // It says whether the signal was sent, which does not matter: the next reading shows what it did.
                match self.server.run(run_in, &user::terminate(account, process)).await {
                    Err(error) if error.class == Class::Unreachable => return Err(error),
                    Err(error) if error.code == sqlstate::INSUFFICIENT_PRIVILEGE => {
                        denied.insert(process, error);
                    }
                    Err(error) => refused = Some(error),
                    Ok(_) => {}
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn still_there(account: &AccountName, processes: &[i64], refused: Option<Error>) -> Error {
    let numbers: Vec<String> = processes.iter().take(5).map(i64::to_string).collect();
    let said = refused.map(|error| format!("; {error}")).unwrap_or_default();
    Error {
        class: Class::Transient,
        reason: Reason::ServerRefused,
        attempted: format!("ending the sessions of {:?}", account.as_str()),
        code: String::new(),
        detail: format!("{} are still there, processes {}{said}", processes.len(), numbers.join(", ")),
        remedy: format!("as a superuser run SELECT pg_terminate_backend({})", numbers[0]),
    }
}
