//! Bugs that were planted on purpose, for the simulator to find.
//!
//! Each is one that a real implementation had, or breaks a rule of the paper that is easily
//! forgotten. Without the cargo feature `mutants` none can be switched on and their code is compiled
//! to nothing; with it, `plant` switches one on for the current thread.

macro_rules! mutants {
    ($($variant:ident, $name:literal, $story:literal, $origin:literal;)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant {
            $(#[doc = concat!($story, " (", $origin, ").")] $variant,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$variant),*];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$variant => $name),* }
            }

            /// What is wrong, in one sentence.
            #[must_use]
            pub fn story(self) -> &'static str {
                match self { $(Mutant::$variant => $story),* }
            }

            /// Whose bug it was, or the rule that it breaks.
            #[must_use]
            pub fn origin(self) -> &'static str {
                match self { $(Mutant::$variant => $origin),* }
            }
        }
    };
}

// Elections.
mutants! {
    TermNotSaved, "term-not-saved",
        "A term that was learned from others is never stored", "seaweedfs/raft 9";
    VoteNotSaved, "vote-not-saved",
        "The term is stored without the vote", "seaweedfs/raft 9, raft.tla PR 5";
    TermAndVoteSavedApart, "term-and-vote-saved-apart",
        "Term and vote are stored one after the other, and the answer follows the first",
        "hashicorp 661";
    VoteAnsweredBeforeSave, "vote-answered-before-save",
        "A vote leaves before it is on disk", "a break of Figure 2";
    CandidacyBeforeSave, "candidacy-before-save",
        "A candidate asks for votes and counts its own before that one is on disk",
        "a break of Figure 2";
    VoteForgottenOnStepDown, "vote-forgotten-on-step-down",
        "A server that becomes a follower in its own term forgets its vote", "hazelcast 16643";
    VoteForgottenByPreCandidate, "vote-forgotten-by-pre-candidate",
        "A server that asks for pre-votes forgets its vote", "canonical 98d8f51, akka-raft 56";
    TwoVotesInATerm, "two-votes-in-a-term",
        "A server that voted for one candidate votes for the next one too", "a break of §5.2";
    VoteWithoutLogCheck, "vote-without-log-check",
        "A vote is given whatever the candidate's log lacks", "a break of §5.4.1";
    VoteByIndexOnly, "vote-by-index-only",
        "The longer log counts as the more up-to-date one, whatever its last term",
        "a break of §5.4.1";
    VotesCountedTwice, "votes-counted-twice",
        "A candidate counts messages, not voters", "a break of §5.2";
    StaleVotesCount, "stale-votes-count",
        "A vote for an earlier candidacy counts for this one", "a break of §5.2";
    PreVotesCountAsVotes, "pre-votes-count-as-votes",
        "A late pre-vote counts as a vote", "a break of diss. §9.6";
    ElectedByHalf, "elected-by-half",
        "Half of the voters elect a leader, which is no majority of an even number",
        "a break of §5.2";
    CandidateIgnoresLeader, "candidate-ignores-leader",
        "A candidate ignores the leader of its own term", "a break of §5.2";
    LeaderIgnoresHigherTerm, "leader-ignores-higher-term",
        "A leader ignores a higher term in a follower's answer", "a break of §5.1";
    LeaderWithoutQuorum, "leader-without-quorum",
        "A leader that hears nobody stays in office", "as in hashicorp 503";
    VoteWhileLed, "vote-while-led",
        "A server that hears a leader votes all the same", "LogCabin 56, Cloudflare 2020-11-02";
    PreVoteRaisesTerm, "pre-vote-raises-term",
        "A server enters the term that a pre-vote asks about",
        "canonical c1722d1, b243b7e, b59843b";

    // Replication.
    AppendDeletesMatching, "append-deletes-matching",
        "A follower deletes what follows prev_log although it matches", "openraft 9540c904";
    HeartbeatSkipsCheck, "heartbeat-skips-check",
        "A follower does not compare prev_log if there are no entries", "openraft 6202138f";
    PrevTermNotChecked, "prev-term-not-checked",
        "A follower checks that it has an entry at prev_log, but not of which term",
        "etcd raft PR 31";
    AckNamesLogEnd, "ack-names-log-end",
        "A follower acknowledges all of its log and not what this leader sent", "CCF";
    AckBeforeSave, "ack-before-save",
        "A follower acknowledges entries that are not on its disk", "etcd 12589, 8144";
    OverwrittenSaveCounts, "overwritten-save-counts",
        "A finished save counts for the entries that overwrote what it holds", "etcd 1690";
    AckOutlivesTerm, "ack-outlives-term",
        "A follower acknowledges to a new leader what it stored for the old one",
        "canonical 35479fc";
    StaleAcksCount, "stale-acks-count",
        "A leader counts acknowledgements of an earlier term", "raft.tla 18, openraft 584";
    RollsBackOnNewTerm, "rolls-back-on-new-term",
        "A server that enters a term drops what it does not know to be committed", "CCF 5674";
    LeaderOverwritesLog, "leader-overwrites-log",
        "A new leader drops what it does not know to be committed", "a break of Figure 3";
    TermsNotCut, "terms-not-cut",
        "What is known of entries' terms is not rolled back when they are truncated",
        "as in canonical baa8f52";
    BatchSkipsLargeEntry, "batch-skips-large-entry",
        "A batch goes on with smaller entries after one that did not fit", "as in LogCabin 160";
    WindowLeaks, "window-leaks",
        "Acknowledged bytes are taken to be on their way for ever", "etcd raft PR 54";
    WindowNotLimited, "window-not-limited",
        "A leader sends however much is unanswered", "etcd 14633";
    QuotaLeaks, "quota-leaks",
        "Committed bytes still count against the limit on uncommitted ones", "a break of the API";

    // Commitment and the state machine.
    CommitsOldTerms, "commits-old-terms",
        "A leader commits entries of earlier terms by counting replicas",
        "LogCabin 44 (2013), canonical 524f735";
    CommitsByTooFew, "commits-by-too-few",
        "One server less than a majority commits an entry", "a break of §5.3";
    CommitsByNonVoters, "commits-by-non-voters",
        "Servers that have no vote count when an entry is committed", "openraft d882e743";
    LeaderCountsBeforeSave, "leader-counts-before-save",
        "A leader counts its own entries before they are on its disk", "etcd 12589";
    CommitNotCapped, "commit-not-capped",
        "A follower commits beyond what it has verified to be the leader's", "raft.tla 19";
    HeartbeatHidesCommit, "heartbeat-hides-commit",
        "Followers learn of commits only together with new entries", "etcd 3170";
    NoBlankEntry, "no-blank-entry",
        "A new leader waits for a client before it commits anything", "a break of §8";
    AppliesUncommitted, "applies-uncommitted",
        "Entries are applied as soon as they are on disk", "a break of §5.3";
    AppliesBeforeSave, "applies-before-save",
        "Committed entries are applied before they are on this server's disk", "etcd 14370";
    SkipsEntryAfterRestart, "skips-entry-after-restart",
        "The first entry after a restart is not applied", "etcd 13766";
    AppliesTwiceAfterRestart, "applies-twice-after-restart",
        "The last applied entry is applied again after a restart", "etcd 13766";

    // Changes of members.
    ElectedByUnion, "elected-by-union",
        "While joint, a majority of all voters together elects a leader", "CCF 3948";
    CommitsByNewVoters, "commits-by-new-voters",
        "While joint, a majority of the new voters alone commits an entry", "a break of §6";
    JointSkipped, "joint-skipped",
        "The new configuration follows the old one without a joint one between them",
        "a break of §6";
    ChangeBeforeOwnCommit, "change-before-own-commit",
        "A new leader takes the configuration that it finds in its log for committed",
        "raft-dev 2015; copycat 23, braft 182, sorock 60";
    SecondChangeAccepted, "second-change-accepted",
        "A change begins while another is under way", "a break of §6";
    ChangeForgottenByNextLeader, "change-forgotten-by-next-leader",
        "A new leader does not go on with the change that it finds half done",
        "as in openraft t99_new_leader_auto_commit_uniform_config";
    PromotedUnready, "promoted-unready",
        "A new voter gets its vote before it has caught up", "a break of §6";
    ConfigurationNotRolledBack, "configuration-not-rolled-back",
        "A configuration stays in force when its entry is truncated", "canonical baa8f52";
    RemovedLeaderCounts, "removed-leader-counts",
        "A leader that is being removed counts itself in the new majority", "a break of §6";
    RemovedLeaderFallsSilent, "removed-leader-falls-silent",
        "A leader that is being removed sends no more entries", "canonical 7b500ab";
    RemovedServerStands, "removed-server-stands",
        "A server that knows that it was removed stands for election", "LogCabin 56";
    // Snapshots.
    MadeUpPrevTerm, "made-up-prev-term",
        "A leader asks about a purged entry with a term of 0, and followers let that pass",
        "etcd raft PR 31";
    InstallKeepsConflict, "install-keeps-conflict",
        "A snapshot leaves the log in place that conflicts with its last included entry",
        "hashicorp 697, 704 (Antithesis 2026)";
    InstallKeepsMembership, "install-keeps-membership",
        "A snapshot leaves the configuration in force that the discarded log had",
        "openraft 1808 (2026)";
    AppliesWhileInstalling, "applies-while-installing",
        "Entries are applied while a snapshot takes the state machine's place",
        "canonical 2edd2c6";
    CandidateWhileInstalling, "candidate-while-installing",
        "A server that installs a snapshot stands for election", "canonical 4fbd3c0, 634cb11";
    SnapshotNeverEnds, "snapshot-never-ends",
        "A follower that has installed its snapshot is sent no entries",
        "as in etcd's snapshot_succeed_via_app_resp";
    StaleSnapshotInstalled, "stale-snapshot-installed",
        "A snapshot is installed over a state that is ahead of it", "a break of §7";
    PurgesBeyondSnapshot, "purges-beyond-snapshot",
        "Applied entries are purged that no snapshot includes", "a break of §7";
    BaseNotSaved, "base-not-saved",
        "That the log begins after a snapshot is not stored", "as in etcd 13766";
    SkipsEntryAfterInstall, "skips-entry-after-install",
        "The first entry after an installed snapshot is not applied", "as in etcd 13766";

    // Clients.
    ReadWithoutRound, "read-without-round",
        "A leader serves reads without asking whether it still leads",
        "etcd 741 (Jepsen 2014), d-engine 381";
    ReadByTooFew, "read-by-too-few",
        "One server less than a majority confirms a read", "openraft d60f1e85";
    ReadByEarlierRound, "read-by-earlier-round",
        "A read is confirmed by a round that began before it arrived",
        "etcd 20418, 21375 (Antithesis 2025)";
    ReadBeforeOwnCommit, "read-before-own-commit",
        "A leader serves reads before an entry of its own term is committed",
        "etcd 7331, tikv 6340 and 9239, redisraft 22";
    ReadBeforeApplied, "read-before-applied",
        "A read is served before its read index is applied", "a break of diss. §6.4";
    ReadsForgotten, "reads-forgotten",
        "A leader that steps down leaves its reads without an answer", "atomix 466";
    LossNotAnnounced, "loss-not-announced",
        "Who waits for a proposal is not told that the leader stepped down",
        "openraft 43dd8b6f";
    QuestionWithoutRound, "question-without-round",
        "A leader answers another server's question without asking whether it still leads",
        "as in etcd 741";
    QuestionAnsweredByAnyone, "question-answered-by-anyone",
        "A server that does not lead answers another's question", "as in etcd 741";
    AnswerServedBeforeApplied, "answer-served-before-applied",
        "A follower serves a read as soon as the leader has answered", "a break of diss. §6.4";
    LeaseFromReceipt, "lease-from-receipt",
        "A lease is counted from when followers' answers arrive", "yugabyte 16";
    LeaseTooLong, "lease-too-long",
        "A lease is longer than followers wait with a vote", "jraft 34";
    LeaseOutlivesPause, "lease-outlives-pause",
        "A lease is judged by the time at which the leader last did something",
        "tikv 964, etcd 20418 (Antithesis 2025)";
    LeaseDuringTransfer, "lease-during-transfer",
        "A lease goes on while leadership is handed over, and after", "openraft 1749";
    LeaseForgottenByRestart, "lease-forgotten-by-restart",
        "A restarted server votes although a leader may rely on it that it doesn't",
        "a break of diss. §6.4.1";
    LeaseForgottenByTerm, "lease-forgotten-by-term",
        "A server that learns of a later term votes although a leader may rely on it that it doesn't",
        "a break of diss. §6.4.1";

    // Handing over.
    TransferNeverCleared, "transfer-never-cleared",
        "A leader whose transfer failed goes on to refuse proposals", "hashicorp 696";
    TransferAsksPreVote, "transfer-asks-pre-vote",
        "A server that is handed leadership asks for pre-votes first, which all refuse",
        "dragonboat 223, canonical 203";
    TimeoutNowTooEarly, "timeout-now-too-early",
        "A server is handed leadership before it has all entries", "a break of diss. §3.10";
    ProposalsDuringTransfer, "proposals-during-transfer",
        "A leader accepts proposals while it hands over", "a break of diss. §3.10";

    // Lost disks and disk trouble.
    WipedServerVotes, "wiped-server-votes",
        "A server that lost its disk votes and counts like any other", "dragonboat, curvine 1551";
    NewDiskCountsAtOnce, "new-disk-counts-at-once",
        "A leader counts the answers of a follower whose disk is new before others have an entry \
         of after that", "as in viewstamped replication's recovery (DISC 2017)";
    LostDiskCounts, "lost-disk-counts",
        "A late answer of a follower's lost disk counts", "openraft 584";
    MatchOutlivesDisk, "match-outlives-disk",
        "A follower with a new disk is taken to have what it had on the old one", "openraft 584";
    TrustNotSaved, "trust-not-saved",
        "A server that has become trusted does not save it", "a break of liveness";
    HungLeaderStays, "hung-leader-stays",
        "A leader whose disk hangs leads for ever", "hashicorp 503";
    FullFollowerAcknowledges, "full-follower-acknowledges",
        "A follower acknowledges what its full disk did not take", "canonical noSpace";

    // Storage.
    SyncSkipped, "sync-skipped",
        "A save is acknowledged when it is written and not synced", "NATS 2.12.1 (Jepsen 2025)";
    DirectoryNotSynced, "directory-not-synced",
        "A new segment's name is not made durable", "etcd 6368";
    FailedSyncRetried, "failed-sync-retried",
        "A sync that failed is tried again, and its success believed", "fsyncgate 2018";
    ChecksumIgnored, "checksum-ignored",
        "Frames are believed whatever their checksum says", "NATS 2.12.1 (Jepsen 2025)";
    DamageCut, "damage-cut",
        "Damage to what was acknowledged is taken for a torn tail and cut", "PAR, FAST 2018";
    TornTailLeft, "torn-tail-left",
        "A torn tail is written over and never cut", "as in etcd 6378";
    FoundNotSynced, "found-not-synced",
        "What a restart finds in the system's memory is taken to be on disk", "as in etcd 14140";
    BatchDropsVote, "batch-drops-vote",
        "Of several saves in one write, only the last one's term and vote are stored",
        "a break of Figure 2";
    ReadsOverwritten, "reads-overwritten",
        "An entry that was overwritten is read back", "as in canonical baa8f52";
    OldTailFound, "old-tail-found",
        "A restart finds the entries that were overwritten, not those that did it",
        "as in canonical baa8f52";
    SnapshotNameNotSynced, "snapshot-name-not-synced",
        "A new snapshot's name is not made durable before it is relied on", "etcd 6368";
    SnapshotNotVerified, "snapshot-not-verified",
        "A snapshot that was received is installed whatever arrived",
        "as in NATS 2.12.1 (Jepsen 2025)";
    PartialSnapshotMixed, "partial-snapshot-mixed",
        "The pieces of a snapshot are put behind those of another one", "a break of §7";
    PurgeTooFar, "purge-too-far",
        "A purge removes a segment that holds entries that are still needed", "a break of §7";
    InstallNotFinished, "install-not-finished",
        "A restart leaves the log as it was, though a crash came after a snapshot was installed",
        "curvine 1551";
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants this bug, and no other, in whatever runs on this thread from now on.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this bug is planted.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Whether this bug is planted: never, without the feature.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is_planted(_: Mutant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_variant_in_kebab_case() {
        for mutant in Mutant::ALL {
            let variant = format!("{mutant:?}");
            let words = variant.chars().enumerate().map(|(place, letter)| {
                let hyphen = if place > 0 && letter.is_uppercase() { "-" } else { "" };
                format!("{hyphen}{}", letter.to_lowercase())
            });
            assert_eq!(mutant.name(), words.collect::<String>());
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn one_is_planted_at_a_time_and_on_one_thread_only() {
        plant(Some(Mutant::VoteNotSaved));
        plant(Some(Mutant::QuotaLeaks));
        let planted = || Mutant::ALL.iter().filter(|mutant| is_planted(**mutant)).count();
        assert!(is_planted(Mutant::QuotaLeaks));
        assert_eq!((planted(), std::thread::spawn(planted).join().unwrap()), (1, 0));
        plant(None);
        assert_eq!(planted(), 0);
    }
}
