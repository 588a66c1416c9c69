//! Dropping sets that nobody needs any more.

use mongodb::bson::doc;
use rolecall_engine::dialect::mongodb::RoleName;
use rolecall_engine::{Applied, Class, Error};

use crate::Mongodb;
use crate::transport::code::{self, ROLE_NOT_FOUND};

impl Mongodb {
    pub(crate) async fn retire_set(&self, set: &str, owner_uid: &str) -> Result<Applied, Error> {
        let kept = |why: String| Applied { kept_because: Some(why), ..Applied::default() };
        let dropped = || Applied { dropped: true, ..Applied::default() };
        let name = RoleName::parse(set).ok().filter(|name| rolecall_engine::plan::is_set(&name.role));
        let Some(name) = name else {
            return Ok(kept(format!("{set:?} is not the name of a permission set")));
        };
        let Some(found) = self.read_set(&name).await? else { return Ok(dropped()) };
        if found.record.is_none_or(|record| record.uid != owner_uid) {
            return Ok(kept(format!("{set:?} does not carry our record")));
        }
        if let Some(members) = self.members_of_sets().await?.get(set) {
            return Ok(kept(format!("{set:?} has {members} members")));
        }
        let what = format!("dropping the permission set {set:?}");
        let request = self.change().request(what, &name.database, doc! { "dropRole": &name.role });
        match self.run_for_sets(&name.database, request).await {
            Err(error) if error.code == code::text(ROLE_NOT_FOUND) => Ok(dropped()),
            Err(error) if error.class == Class::Refused => Ok(kept(error.to_string())),
            result => result.map(|_| dropped()),
        }
    }
}
