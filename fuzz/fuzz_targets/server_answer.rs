//! What a server answers on the wire, notifications among it: anything at all, once somebody has logged in.
#![no_main]

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rolecall_engine::Engine;
use rolecall_pki::tls::{Tls, TlsMode};
use rolecall_postgres::{Auth, Config, Postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// AuthenticationOk, the version, and ReadyForQuery.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\017.0\0Z\0\0\0\x05I";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static PORT: LazyLock<u16> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client));
            }
        });
        port
    })
});

/// Lets a client in, answers its first question with what is to be tried, and hangs up at the second.
async fn serve(mut client: TcpStream) {
    let mut asked = [0; 4096];
    let Ok(1..) = client.read(&mut asked).await else { return };
    let _ = client.write_all(WELCOME).await;
    let Ok(1..) = client.read(&mut asked).await else { return };
    let answer = ANSWER.lock().unwrap().clone();
    let _ = client.write_all(&answer).await;
    let _ = client.shutdown().await;
}

fuzz_target!(|answer: &[u8]| {
    *ANSWER.lock().unwrap() = answer.to_vec();
    let port = *PORT;
    RUNTIME.block_on(async {
        let mut config = Config::new("127.0.0.1", port, "admin", Auth::Password("secret".into()));
        config.tls = Tls { mode: TlsMode::Disable, ..Tls::default() };
        config.connect_timeout = Duration::from_millis(200);
        let engine = Postgres::new(config).unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(500), engine.inventory()).await;
        assert!(!matches!(asked, Ok(Ok(_))), "no answer was whole");
        engine.close().await;
    });
});
