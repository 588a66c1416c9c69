//! The clock, the audit log and the database servers of a running operator.

use std::sync::Arc;

use jiff::Timestamp;
use rolecall_engine::{Engine, Error, kill_point};
use rolecall_mongodb::Mongodb;
use rolecall_postgres::Postgres;
use rolecall_redshift::Redshift;

use super::{Access, AuditLine, AuditLog, Clock, Engines};
use crate::log::AUDIT;

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The audit log as part of the log: see [`crate::log`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LogAudit;

impl AuditLog for LogAudit {
    fn write(&self, line: &AuditLine<'_>) {
        match line {
            AuditLine::Access(Access {
                session,
                namespace,
                uid,
                user,
                database,
                database_name,
                username,
                access,
                reason,
                db_roles,
                expires_at,
                why,
            }) => tracing::info!(
                target: AUDIT,
                %session,
                %namespace,
                uid,
                user,
                database,
                database_name,
                username,
                access,
                reason,
                db_roles,
                expires_at,
                why,
                "access"
            ),
            AuditLine::Returned { database_admin, namespace, username, action, cause } => tracing::info!(
                target: AUDIT,
                %database_admin,
                %namespace,
                %username,
                access = "returned",
                action,
                cause,
                "access"
            ),
            AuditLine::Failover { database_admin, namespace, change } => {
                tracing::info!(target: AUDIT, %database_admin, %namespace, %change, "failover");
            }
        }
        kill_point::reached("audit.written", "");
    }
}

/// Database servers as they are reached over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct DatabaseServers;

impl Engines for DatabaseServers {
    fn postgres(&self, config: rolecall_postgres::Config) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Postgres::new(config)?))
    }

    fn mongodb(&self, config: rolecall_mongodb::Config) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Mongodb::new(config)?))
    }

    fn redshift(&self, config: rolecall_redshift::Config) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Redshift::new(config)?))
    }
}
