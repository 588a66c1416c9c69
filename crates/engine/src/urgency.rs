//! What must not wait behind other work.

tokio::task_local! {
    static URGENT: ();
}

/// Runs something that ends accesses. Of the connections to a server one is kept for such work, so that it does not
/// queue behind starts and readings that take long.
pub async fn urgent<F: Future>(work: F) -> F::Output {
    URGENT.scope((), work).await
}

/// Is this such work?
pub fn is_urgent() -> bool {
    URGENT.try_with(|()| ()).is_ok()
}
