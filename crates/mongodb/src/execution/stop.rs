//! Stopping what the user who is logged in runs, which everybody may do with their own.

use mongodb::bson::{Bson, doc};
use rolecall_engine::{Error, Stop};

use crate::Mongodb;
use crate::reads::activity::Own;
use crate::transport::request::Request;

impl Mongodb {
    /// False: this user runs no such operation. Users cannot close connections, not even their own: to terminate is to end
    /// the session as well, with its transaction and its cursors.
    pub(crate) async fn stop_own(&self, id: &str, how: Stop) -> Result<bool, Error> {
        let running = self.running_of_user().await?;
        let Some(own) = running.into_iter().find(|own| own.running.id == id) else { return Ok(false) };
        let kill = doc! { "killOp": 1, "op": own.opid.clone() };
        self.send_to(&own, Request::new(format!("killing the operation {id}"), "admin", kill)).await?;
        if how == Stop::Terminate
            && let Some(session) = &own.session
        {
            let sessions = vec![Bson::Document(doc! { "id": session.clone() })];
            let end = doc! { "killSessions": sessions };
            self.send_to(
                &own,
                Request::new(format!("ending the session of the operation {id}"), "admin", end),
            )
            .await?;
        }
        Ok(true)
    }

    async fn send_to(&self, own: &Own, request: Request) -> Result<(), Error> {
        match &own.member {
            Some(member) => self.server.run_on(member, &request).await.map(drop),
            None => self.server.run(&request).await.map(drop),
        }
    }
}
