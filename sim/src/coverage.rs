//! Which situations came up, and how often: a simulation in which the interesting ones never happen
//! proves nothing.

use std::fmt;
use std::ops::AddAssign;

macro_rules! situations {
    ($($name:ident: $words:literal,)*) => {
        /// Something that can happen in a world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Situation {
            $(#[doc = $words] $name,)*
        }

        impl Situation {
            /// All of them.
            pub const ALL: &[Situation] = &[$(Situation::$name,)*];

            /// What happens, in words.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Situation::$name => $words,)* }
            }
        }
    };
}

situations! {
    LeaderElected: "a leader is elected",
    ElectionLost: "a candidate is outvoted, or its election ends without a winner",
    CandidateYields: "a candidate hears the leader of its term and follows",
    PreVoteRefused: "a pre-vote is refused",
    VoteRefused: "a vote is refused",
    HigherTermSeen: "a leader hears of a later term and steps down",
    QuorumLost: "a leader hears no majority and steps down",
    StaleTermHeard: "a message of an earlier term arrives",
    DuplicateHeard: "a message arrives once more",
    ConflictFound: "a follower finds that its log conflicts with the leader's",
    SuffixTruncated: "a conflicting suffix is truncated",
    OldTermCommitted: "a newer leader commits entries of older terms",
    CommitLearntLate: "a follower learns of a commit by a heartbeat",
    FollowerReadFromDisk: "a leader reads old entries from its disk for a follower",
    AppliedFromDisk: "entries to apply are read from the disk",
    ProposalRefused: "a proposal is refused: not the leader",
    Overloaded: "a proposal is refused: overloaded",
    OutcomeUnknown: "a write ends with an unknown outcome",
    UnknownButDone: "a write of unknown outcome turns out to be done",
    UnknownAndLost: "a write of unknown outcome turns out to be lost",
    ReadServed: "a read is served",
    FollowerRead: "a server that does not lead serves a read",
    LeaseRead: "a leader serves a read by its lease",
    ReadRefused: "a read is refused: not the leader",
    ReadLostLeader: "a read is under way when its leader loses office",
    ReadAfterElection: "a read arrives before its leader has committed an entry of its term",
    ReadOfDeposed: "a deposed leader that knows no better is asked to read",
    PartitionBegan: "a partition begins",
    LeaderCutOff: "a leader is cut off from a majority",
    CrashedByPower: "a server loses power",
    CrashedByKill: "a server's process is killed",
    CrashedAll: "all servers lose power at once",
    CrashedInSave: "a server crashes while it writes to its disk",
    SaveLost: "a save in progress is lost in a crash",
    SaveKept: "a save in progress survives a crash that came before its answer",
    TornTailCut: "a torn tail is cut when a log is opened",
    Restarted: "a server restarts",
    LeaderCrashed: "a leader crashes",
    Paused: "a server stands still",
    LeaderPaused: "a leader stands still, and another is elected",
    DiskStalled: "a disk stalls",
    DiskFailed: "a write or sync fails, and the server stops",
    OpeningFailed: "a write or sync fails while a log is opened",
    DiskFull: "a disk is full, and the server stops",
    BitFlipFound: "a flipped bit is found, and the log is not opened or read",
    FrameRefused: "a frame damaged on its way is refused",
    SegmentBegun: "a log goes on in a new segment",
    ClockJumped: "a clock jumps",
    CrashedInOpening: "a server loses power while it opens its log",
    ReadCameLate: "what was read of a log comes late",
    ForgeryHeard: "a message that no correct server says is reported",
    FormedAgain: "someone forms a cluster where there is one, or on a server without a vote",
    LinkReported: "a link is reported broken",
    CatchUpBegan: "new voters are added without a vote, to catch up first",
    JointBegan: "a joint configuration begins",
    SeveralVotersChanged: "several voters change at once",
    LeaderRemoved: "a leader takes its own vote away",
    JointLeft: "a joint configuration is left",
    ChangeGivenUp: "a change of the members is given up, since a new voter is not heard",
    MemberMoved: "a member moves to another address",
    MembersChanged: "an operator is told that the members have changed",
    ChangeUnknown: "an operator is told that the outcome of a change is unknown",
    ChangeTakenBack: "a change is taken back while new voters catch up",
    AnotherChangeRefused: "a change is refused: another is under way",
    ChangeRefused: "a change is refused for another reason",
    Transferred: "leadership is handed over",
    TransferTimedOut: "a transfer comes to nothing in time",
    TransferRefused: "a transfer is refused",
    ElectionTriggered: "a server stands since it was told to",
    Configured: "a server is given other settings while it runs",
    SnapshotBuilt: "a snapshot is taken",
    LogPurged: "a log is purged",
    SnapshotOffered: "a leader asks how much a follower has of a snapshot",
    SnapshotInstalled: "a snapshot is installed",
    InstallAnswered: "a follower says that it has all that a snapshot includes",
    ConflictingLogDropped: "a snapshot takes the place of a log that conflicts with it",
    CrashedInSnapshot: "a server crashes while its disk works for a snapshot",
    SnapshotKept: "a snapshot in progress survives a crash that came before its answer",
    SnapshotLost: "a snapshot in progress is lost in a crash",
    SnapshotFailed: "a write for a snapshot fails, and the server stops",
    InstallFinished: "a restart finishes the installation of a snapshot",
    DamagedSnapshotRefused: "a snapshot that was damaged where it is received is not installed",
    Restored: "a server starts from its snapshot",
    TakenBack: "a follower that loses its disk in good times is taken back",
    DiskLost: "a server loses its disk",
    ConfigurationTruncated: "a configuration that was in force is truncated",
}

/// The counts of a run, or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage(vec![0; Situation::ALL.len()])
    }
}

impl Coverage {
    /// How often this happened.
    #[must_use]
    pub fn count(&self, situation: Situation) -> u64 {
        self.0[situation as usize]
    }

    /// What never happened.
    pub fn missing(&self) -> impl Iterator<Item = Situation> + '_ {
        Situation::ALL.iter().copied().filter(|situation| self.count(*situation) == 0)
    }

    pub(crate) fn note(&mut self, situation: Situation) {
        self.0[situation as usize] += 1;
    }
}

impl AddAssign<&Coverage> for Coverage {
    fn add_assign(&mut self, other: &Coverage) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
