//! Copies files to and from KMON.
//!
//! - **T1** Each copy has its own thread, which reads or writes the file. The command loop only
//!   puts what KMON sends into the copy's mailbox, which has room for all that KMON may send.
//! - **T2** `Done` or `Failed` is a stream's last report.
//! - **T3** A copy ends with the incarnation of KMON that requested it, with the region, and with
//!   the daemon. What was received stays under a temporary name
//!   ([`Partial`](kmon_protocol::file::Partial)).
//! - **T4** Data wait for room in the ring and are never dropped.
//!
//! | module     | one purpose                                             |
//! |------------|---------------------------------------------------------|
//! | `table`    | the copies in progress                                  |
//! | `task`     | carries out one request                                 |
//! | `put`      | receives a file                                         |
//! | `get`      | sends a file                                            |
//! | `list`     | sends the list of a directory                           |
//! | `sending`  | sends data as far as KMON has room for them             |
//! | `mailbox`  | what KMON has sent for one copy                         |

mod get;
mod list;
mod mailbox;
mod put;
mod sending;
mod table;
mod task;

pub(crate) use table::Transfers;
