//! The sentences of the Raft paper, each as a test: §5.1 to §5.4, §6, §7, §8, and what the dissertation
//! adds about pre-votes, check-quorum, reads, leases and handing over.
//!
//! A test's name is the behaviour; its comment names the section and the number in our list of
//! behaviours ("B 4").

#[path = "../support/mod.rs"]
mod support;

mod catching_up;
mod commitment;
mod compaction;
mod disk_chaos;
mod disk_trouble;
mod election;
mod explain;
mod flow;
mod follower_reads;
mod formation;
mod hostile;
mod installing;
mod joint;
mod leadership;
mod leases;
mod lost_disk;
mod membership;
mod membership_chaos;
mod membership_disks;
mod membership_hostile;
mod membership_snapshots;
mod pre_vote;
mod priorities;
mod reads;
mod reads_chaos;
mod removal;
mod replication;
mod restart;
mod sending;
mod terms;
mod trace;
mod transfer;
mod votes;
