//! Objects that are gone without a teardown, as after the loss of a cluster.

use anyhow::Result;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, ProvisioningRole};
use serde_json::json;

use crate::base_env::BaseEnv;
use crate::objects::Kind;

impl BaseEnv {
    /// Removes every object by force: nothing on the server is touched, even if an operator runs.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn lose_objects(&self) -> Result<()> {
        // An operator that still runs must not see an object without those that it depends on.
        self.lose::<DatabaseSession>().await?;
        self.lose::<DatabaseAdmin>().await?;
        self.lose::<DatabaseUser>().await?;
        self.lose::<ProvisioningRole>().await
    }

    /// Removes every object of a kind by force.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn lose<K: Kind>(&self) -> Result<()> {
        for object in self.list::<K>().await? {
            let name = object.name_any();
            self.patch::<K>(&name, json!({"metadata": {"finalizers": null}})).await?;
            self.delete_and_wait::<K>(&name).await?;
        }
        Ok(())
    }
}
