//! The call that a user makes with its own AWS credentials, as the AWS CLI does.

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::AwsFront;
use crate::sigv4::{Keys, Request, authorization};

impl AwsFront {
    /// What `aws redshift get-cluster-credentials` answers with these keys: the login name and the password.
    ///
    /// # Errors
    /// When the call is refused, with the answer.
    pub async fn get_cluster_credentials(
        &self,
        keys: &Keys,
        db_user: &str,
        cluster: &str,
    ) -> std::io::Result<(String, String)> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = format!(
            "Action=GetClusterCredentials&Version=2012-12-01&ClusterIdentifier={}&DbUser={}",
            encoded(cluster),
            encoded(db_user)
        );
        let host = self.shared.address.to_string();
        let mut headers = vec![
            ("host".to_owned(), host.clone()),
            ("x-amz-date".to_owned(), Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()),
        ];
        let mut signed = vec!["host", "x-amz-date"];
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token".to_owned(), token.clone()));
            signed.push("x-amz-security-token");
        }
        let request =
            Request { method: "POST", path: "/", query: "", headers: &headers, body: form.as_bytes() };
        let header = authorization(&request, keys, "redshift", &self.shared.region, &signed)
            .map_err(std::io::Error::other)?;
        headers.push(("authorization".to_owned(), header));
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = form.len();
        let text =
            format!("POST / HTTP/1.1\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n{form}");
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match (element(&answer, "DbUser"), element(&answer, "DbPassword")) {
            (Some(user), Some(password)) => Ok((user, password)),
            _ => Err(std::io::Error::other(answer)),
        }
    }
}

/// The text of an element.
fn element(answer: &str, name: &str) -> Option<String> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}
