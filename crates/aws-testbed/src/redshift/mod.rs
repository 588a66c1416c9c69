//! A simulator of Amazon Redshift (provisioned), on the wire. It is not Redshift: it knows the statements that Rolecall
//! can send and the views that it reads, and refuses everything else.
//!
//! What it enforces, each with a test in `tests/simulator`:
//! 1. The grammar, with the server's SQLSTATEs for what is not in it (42601, 42P01, 42883, 0A000).
//! 2. Names: 127 bytes, no `:` `/` `.` in those of roles, no role called like a user, quoted users keep their case and
//!    everything else is folded, backslashes escape in texts.
//! 3. stv_sessions pads and cuts login names to 50 bytes, with the prefix of the kind of login; pg_stat_activity is
//!    300 ms late.
//! 4. What the admin user sees, by its rights.
//! 5. CONNECTION LIMIT keeps new logins out, leaves those inside alone and does not concern superusers; NOLOGIN does
//!    not concern IAM; five wrong passwords lock a user.
//! 6. DROP USER looks into the current database alone and leaves its rights in others; DROP ROLE fails while granted.
//! 7. Lists of rights are those of the current database; there is no CONNECT; PUBLIC has its defaults.
//! 8. Two transactions that change the same user, role or object: the second waits for the first and fails with XX000
//!    when that commits. Its connection is of no use afterwards.
//! 9. Server version 8.0.2, passwords by codes 3, 5 and 13, 28000 and 42704 at login, temporary passwords that end.
//! 10. pg_terminate_backend is for one's own sessions and for superusers.
//! 11. A text of several statements is one transaction; 25P02 after an error.
//! 12. Only superusers give tables and schemas to others.
//!
//! ```no_run
//! # async fn example() -> rolecall_aws_testbed::redshift::Result<()> {
//! use rolecall_aws_testbed::redshift::{Admin, Redshift};
//!
//! let redshift = Redshift::start().await?;
//! let password = redshift.create_admin("teleport-admin", Admin::Superuser)?;
//! let client = redshift.connect("teleport-admin", &password, "dev").await?;
//! # drop(client);
//! # Ok(())
//! # }
//! ```

mod catalog;
mod change;
mod error;
mod faults;
mod login;
mod names;
mod read;
mod run;
mod server;
mod session;
mod settings;
mod setup;
mod shared;
mod sql;
mod state;
mod wire;

pub use catalog::Kind;
pub(crate) use names::is_reserved as is_reserved_word;
pub use server::{Error, Redshift, RedshiftBuilder, Result};
pub use settings::{Authentication, Unknowns};
pub use setup::{Admin, Issuer, Object, OpenSession};
