//! Stopping what the user who is logged in runs, which everybody may do with their own.

use rolecall_engine::{Error, Stop};

use crate::Redshift;
use crate::statements::Statement;
use crate::transport::rows::text;

impl Redshift {
    /// False: this user has no such session.
    pub(crate) async fn stop_own(&self, id: &str, how: Stop) -> Result<bool, Error> {
        let running = self.running_of_user().await?;
        let Some(process) = running.iter().find(|one| one.id == id).and_then(|one| one.id.parse().ok())
        else {
            return Ok(false);
        };
        let rows = self.server.run(&self.server.target_database(None), &statement(process, how)).await?;
        Ok(rows.first().is_some_and(|row| text(row, 0) == "1"))
    }
}

fn statement(process: i64, how: Stop) -> Statement {
    match how {
        Stop::Cancel => Statement::new(
            format!("cancelling what runs in the process {process}"),
            format!("SELECT pg_cancel_backend({process})"),
        ),
        Stop::Terminate => Statement::new(
            format!("ending the process {process}"),
            format!("SELECT pg_terminate_backend({process})"),
        ),
    }
}
