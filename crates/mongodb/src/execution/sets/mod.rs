//! Permission sets: custom roles that give their collections to the users who have them.
//!
//! A set is the role `rolecall:<hash>` of its logical database. Its list of privileges is replaced as a whole, so that
//! one `updateRole` corrects every difference, and removes what somebody added by hand.
//!
//! Roles carry no comment and no custom data. The record of a set is kept in the name of a collection, on which it
//! has a privilege that is of no use: see `statements::marker`.
//!
//! | module | contains |
//! |---|---|
//! | `sync` | creating and updating sets until they have the desired privileges |
//! | `retire` | dropping sets |

mod retire;
mod sync;
