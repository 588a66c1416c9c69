//! How far this machine's clock is ahead of the API server's, by the `Date` of its answers.
//!
//! No deadline depends on it but those of objects that were there before this operator was: of them only the API server's
//! clock says how old they are. But people should know, as certificates are read by yet other clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, header};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use tower::{Layer, Service};

/// From here on it is logged.
const LOGGED: SignedDuration = SignedDuration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub struct ClockSkew {
    /// In milliseconds.
    ahead: AtomicI64,
    logged: AtomicBool,
}

impl ClockSkew {
    /// By how much this machine's clock is ahead, at least; nothing where no difference was noticed.
    pub fn ahead(&self) -> SignedDuration {
        SignedDuration::from_millis(self.ahead.load(Ordering::Relaxed))
    }

    /// Records an answer to a request that was sent then.
    fn answered(&self, sent: Timestamp, received: Timestamp, headers: &HeaderMap) {
        let Some(date) = headers.get(header::DATE).and_then(|date| read(date.as_bytes())) else { return };
        let ahead = narrowed(self.ahead(), sent, received, date);
        self.ahead.store(i64::try_from(ahead.as_millis()).unwrap_or_default(), Ordering::Relaxed);
        let differs = ahead.abs() >= LOGGED;
        if differs != self.logged.swap(differs, Ordering::Relaxed) {
            let seconds = ahead.as_secs();
            if differs {
                tracing::warn!(
                    seconds,
                    "this machine's clock is ahead of the API server's (behind it, where negative): set both by the same time service"
                );
            } else {
                tracing::info!(seconds, "this machine's clock and the API server's agree again");
            }
        }
    }
}

/// HTTP's dates are those of mail, always in GMT.
fn read(date: &[u8]) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date).ok()
}

/// The estimate after this answer. Somewhere between the two moments the other clock showed that date, with a fraction
/// of a second that it does not have: an answer that took long says little, and changes nothing where it fits what was
/// known.
fn narrowed(known: SignedDuration, sent: Timestamp, received: Timestamp, date: Timestamp) -> SignedDuration {
    let least = sent.duration_since(date) - SignedDuration::from_secs(1);
    let most = received.duration_since(date).max(least);
    // Where no difference can be measured, they agree.
    let zero = SignedDuration::ZERO;
    if least <= zero && zero <= most && known.abs() < SignedDuration::from_secs(2) {
        return zero;
    }
    known.clamp(least, most)
}

/// Reads the dates of a client's answers.
#[derive(Clone, Debug)]
pub struct Measure(Arc<ClockSkew>);

impl Measure {
    /// For this one.
    pub fn new(skew: &Arc<ClockSkew>) -> Self {
        Self(Arc::clone(skew))
    }
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner, skew: Arc::clone(&self.0) }
    }
}

/// A client whose answers are read.
#[derive(Clone, Debug)]
pub struct Measured<S> {
    inner: S,
    skew: Arc<ClockSkew>,
}

impl<S, A, B> Service<Request<A>> for Measured<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (sent, skew) = (Timestamp::now(), Arc::clone(&self.skew));
        let note = move |answer: &Result<S::Response, S::Error>| {
            if let Ok(answer) = answer {
                skew.answered(sent, Timestamp::now(), answer.headers());
            }
        };
        self.inner.call(request).inspect(note).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn after(known: i64, sent: i64, received: i64, date: i64) -> i64 {
        let known = SignedDuration::from_millis(known);
        narrowed(known, at(sent), at(received), at(date)).as_millis() as i64
    }

    #[test]
    fn a_date_of_http_is_read() {
        assert_eq!(read(b"Mon, 30 Nov 2026 03:27:18 GMT"), Some("2026-11-30T03:27:18Z".parse().unwrap()));
        assert_eq!(read(b"yesterday"), None);
    }

    #[test]
    fn clocks_that_differ_by_less_than_can_be_measured_agree() {
        assert_eq!(after(0, 1_500, 1_600, 1_000), 0);
        assert_eq!(after(0, 1_999, 2_003, 1_000), 0);
        assert_eq!(after(0, 2_000, 2_003, 2_000), 0);
        assert_eq!(after(900, 1_500, 1_600, 1_000), 0);
    }

    #[test]
    fn a_clock_that_is_ahead_or_behind_is_noticed() {
        assert_eq!(after(0, 62_500, 62_600, 0), 61_500, "at least");
        assert_eq!(after(0, 0, 100, 62_000), -61_900);
        assert_eq!(after(61_500, 500, 600, 0), 600, "somebody has set it");
    }

    #[test]
    fn an_answer_that_took_long_says_little() {
        assert_eq!(after(0, 0, 30_000, 25_000), 0);
        assert_eq!(after(61_500, 62_000, 92_000, 0), 61_500);
    }

    #[tokio::test]
    async fn the_dates_of_a_clients_answers_are_read() {
        let skew = Arc::new(ClockSkew::default());
        let answer = tower::service_fn(|_: Request<()>| async {
            let long_ago = Timestamp::now() - SignedDuration::from_secs(120);
            let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&long_ago);
            Response::builder().header(header::DATE, date.unwrap_or_default()).body(())
        });
        let mut client = Measure::new(&skew).layer(answer);
        client.call(Request::new(())).await.unwrap();
        assert!((118..=121).contains(&skew.ahead().as_secs()), "{:?}", skew.ahead());
    }
}
