//! The controller: which key is worked on when, by whom, and what happens when that fails.
//!
//! | module | holds |
//! |---|---|
//! | [`workqueue`], `fairness` | keys that wait: two priorities, timers, groups that take turns |
//! | [`workers`] | concurrency, timeouts, retries |
//! | [`failure`] | what is reported where a reconcile came to nothing |

pub mod failure;
mod fairness;
pub mod workers;
pub mod workqueue;
