//! Logins of the admin user, and what the wire says.

use std::time::Duration;

use async_trait::async_trait;
use rolecall_engine::{Class, Engine as _, Error, Login, LoginSource, Reason};
use rolecall_redshift::{Auth, Redshift};

use super::{ADMIN, Cluster, config, ended, owner};

/// Five wrong passwords lock a user out: an admin user who is locked out ends nothing any more.
#[tokio::test]
async fn a_wrong_password_does_not_lock_the_admin_user_out() {
    let cluster = Cluster::start().await;
    let mut config = config(&cluster.simulator, Auth::Password("Wrong1234".into()));
    config.max_connections = 10;
    let wrong = Redshift::new(config).unwrap();
    let query = ended(false).query();
    // Long enough for all to be on their way, if they do not wait for each other.
    cluster.simulator.freeze();
    let thawed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.simulator.thaw();
    };
    let errors = futures::future::join_all((0..10).map(|_| wrong.observe(&query)));
    for error in futures::join!(errors, thawed).0 {
        assert_eq!(error.unwrap_err().reason, Reason::LoginFailed);
    }
    let entered = cluster.simulator.connect(ADMIN, &cluster.password, "dev").await;
    assert!(entered.is_ok(), "{:?}", entered.err());
}

#[derive(Debug)]
struct SlowLender {
    password: String,
    takes: Duration,
}

#[async_trait]
impl LoginSource for SlowLender {
    async fn login(&self) -> Result<Login, Error> {
        tokio::time::sleep(self.takes).await;
        Ok(Login { username: format!("IAM:{ADMIN}"), secret: self.password.clone().into() })
    }

    fn refused(&self) {}
}

#[tokio::test]
async fn a_server_has_its_whole_time_however_long_aws_takes() {
    let cluster = Cluster::start().await;
    let login = format!("IAM:{ADMIN}");
    let (password, _) = cluster.simulator.issue_password(&login, jiff::SignedDuration::from_mins(15));
    let connect_timeout = Duration::from_secs(2);
    let lender = SlowLender { password, takes: connect_timeout + Duration::from_millis(500) };
    let mut config = config(&cluster.simulator, Auth::Lent(std::sync::Arc::new(lender)));
    config.connect_timeout = connect_timeout;
    Redshift::new(config).unwrap().observe(&ended(false).query()).await.unwrap();
}

/// Whatever is read after an answer that is missing would be taken for that of another statement.
#[tokio::test]
async fn an_answer_that_is_missing_is_no_answer_at_all() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(super::UID), 1).await;
    cluster.simulator.leave_unanswered("select svv_user_info", 1);
    let error = cluster.engine.observe(&ended(false).query()).await.unwrap_err();
    assert_eq!(error.class, Class::Unreachable, "{error}");
    assert!(!cluster.plan(&ended(false)).await.is_nothing());
}
