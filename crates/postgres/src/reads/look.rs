//! Preflight and inventory in one message: what is asked of a server in which nothing happens.

use rolecall_engine::{Error, Inventory, Needs, Preflight};

use crate::Postgres;
use crate::reads::observe::parse_value;
use crate::reads::preflight::{Facts, facts_message};
use crate::reads::{history, inventory};

impl Postgres {
    /// What the server is, what its admin user lacks, and its accounts.
    pub(crate) async fn look_at_server(
        &self,
        wanted: &Needs,
    ) -> Result<(Preflight, Result<Inventory, Error>), Error> {
        if self.identity.is_known() {
            match self.look_at_once(wanted).await {
                Ok(Some((preflight, inventory))) => return Ok((preflight, Ok(inventory))),
                Ok(None) => {}
                // Asked one by one, it shows what is in the way, or that nothing is any more.
                Err(error) => tracing::debug!(%error, "the server is asked one by one"),
            }
        }
        let preflight = self.check_server(wanted).await?;
        Ok((preflight, self.list_accounts().await))
    }

    /// `None`: there is something to do about what was found.
    async fn look_at_once(&self, wanted: &Needs) -> Result<Option<(Preflight, Inventory)>, Error> {
        let place = self.preflight_place(wanted);
        let version = self.server.version(&place).await?;
        let facts = facts_message(wanted, version.dialect, self.server.config().read_only);
        let (here, accounts) = (history::whole(), inventory::message(version.dialect));
        let mut message = facts.clone();
        message.append(here.clone());
        message.append(accounts.clone());
        let (values, pooler) = self.server.ask_with_pooler(&place, message).await?;
        let [facts_value, here_value, accounts_value] = values.as_slice() else { return Ok(None) };
        let mut facts: Facts = parse_value(facts_value.as_deref(), || facts.attempted(0).to_owned())?;
        let history = history::here_by(here_value.as_deref(), &here)?.history;
        let inventory = inventory::inventory(accounts_value.as_deref(), &accounts)?;
        let creates_marker = !facts.marker && !self.server.config().read_only;
        let Some(system) = self.identity.of_run(&history.run).filter(|_| !facts.read_only && !creates_marker)
        else {
            return Ok(None);
        };
        facts.system = system;
        self.reader_since.note_writer();
        Ok(Some((self.judge(wanted, facts, Vec::new(), &version, history, pooler), inventory)))
    }
}
