//! The controller: which key is worked on when, by whom, and what happens when that fails.
//!
//! | module | contents |
//! |---|---|
//! | [`workqueue`], `fairness` | keys that wait: two priorities, timers, groups that take turns |
//! | [`workers`], `failures` | concurrency, timeouts, retries |
//! | `wall_clock` | timers follow the wall clock |
//! | [`failure`] | what is reported when a reconcile failed |

pub mod failure;
mod failures;
mod fairness;
mod wall_clock;
pub mod workers;
pub mod workqueue;
