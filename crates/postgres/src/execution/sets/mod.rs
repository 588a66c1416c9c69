//! Permission sets: roles that give their objects to those who are members of them.
//!
//! | module | contains |
//! |---|---|
//! | `sync` | creating and updating sets until they have the desired privileges |
//! | `change` | granting and revoking, many objects at once, past those that the server refuses |
//! | `outcome` | what is missing or too much, in words |
//! | `role` | the role itself: creating it, recording its owner, removing what no set has |
//! | `foreign_grants` | what could not be removed of what no set should have |
//! | `retire` | dropping sets |

mod change;
mod foreign_grants;
mod outcome;
mod retire;
mod role;
mod sync;
