//! Logins with an IAM token before a real PostgreSQL.
