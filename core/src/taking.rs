//! When a server takes snapshots of its own state (§7): by its policy, on demand, or because a
//! follower needs one and there is none.
//!
//! ```text
//!             due, asked for, or needed                      SnapshotBuilt
//!   nothing ----------------------------> a build under way ---------------> the log is purged
//! ```

use core::time::Duration;

use crate::admin::RequestId;
use crate::snapshot::SnapshotPolicy;
use crate::stored::Base;
use crate::types::{Index, Time};

/// A server that sends its snapshot to a follower waits so many times longer with the next, which
/// would take that one's place.
const PATIENCE_WHILE_SENDING: u64 = 4;

/// After the storage took no snapshot, it is not asked for a follower's sake for so many election
/// timeouts.
const TIMEOUTS_UNTIL_NEXT_TRY: u32 = 10;

/// What a server remembers of its snapshots, taken and to be taken.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Taking {
    building: Option<Building>,
    /// Who asked for one since the build under way began.
    asked: Vec<RequestId>,
    /// What the last one included, or would have, and since when.
    since: Index,
    since_time: Time,
    /// The weight of the entries handed to the state machine since.
    bytes: u64,
    /// Whether a follower needs a snapshot and there is none.
    needed: bool,
    /// Not again before, for a follower's sake.
    not_before: Time,
}

/// A build under way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Building {
    pub(crate) base: Base,
    /// Who waits for it.
    pub(crate) asked: Vec<RequestId>,
}

impl Taking {
    /// A server that starts: its latest snapshot, if any, includes what is up to `since`.
    pub(crate) fn new(since: Index, now: Time) -> Taking {
        Taking {
            building: None,
            asked: Vec::new(),
            since,
            since_time: now,
            bytes: 0,
            needed: false,
            not_before: now,
        }
    }

    pub(crate) fn is_building(&self) -> bool {
        self.building.is_some()
    }

    /// An operator waits for a snapshot of what is applied now: for the build under way if that is
    /// one, else for the next.
    pub(crate) fn ask(&mut self, id: RequestId, applied: Index) {
        match &mut self.building {
            Some(build) if build.base.last_included.index == applied => build.asked.push(id),
            _ => self.asked.push(id),
        }
    }

    /// Takes away whoever waits for a next build.
    pub(crate) fn take_asked(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.asked)
    }

    /// A follower needs a snapshot, and there is none.
    pub(crate) fn need(&mut self) {
        self.needed = true;
    }

    /// Entries of this weight were handed to the state machine.
    pub(crate) fn handed(&mut self, weight: usize) {
        self.bytes = self.bytes.saturating_add(weight as u64);
    }

    /// The last entry that one batch for the state machine may reach. With a policy by entries all
    /// servers take their snapshots at its multiples, so that they have the same, and one that
    /// receives a snapshot from a leader can go on with the next leader where that one stopped.
    pub(crate) fn batch_end(policy: &SnapshotPolicy, first: Index) -> Index {
        let next_multiple = |n: u64| first.0.div_ceil(n.max(1)).saturating_mul(n.max(1));
        Index(policy.entries.map_or(u64::MAX, next_multiple))
    }

    /// Whether the state machine, which is idle and has applied what is up to here, should be
    /// asked for a snapshot now.
    pub(crate) fn is_due(
        &self,
        policy: &SnapshotPolicy,
        applied: Index,
        now: Time,
        is_sending: bool,
    ) -> bool {
        let entries = applied.0.saturating_sub(self.since.0);
        if entries == 0 {
            return !self.asked.is_empty() || (self.needed && now >= self.not_before);
        }
        let patience = if is_sending { PATIENCE_WHILE_SENDING } else { 1 };
        let by_entries = |n: u64| {
            let at_multiple = applied.0.is_multiple_of(n.max(1));
            at_multiple && (!is_sending || entries >= n.saturating_mul(patience))
        };
        !self.asked.is_empty()
            || (self.needed && now >= self.not_before)
            || policy.entries.is_some_and(by_entries)
            || policy.bytes.is_some_and(|n| self.bytes >= n.saturating_mul(patience))
            || self.time_due(policy, is_sending).is_some_and(|due| now >= due)
    }

    /// When a snapshot is due by time, if the state machine is idle until then.
    pub(crate) fn deadline(
        &self,
        policy: &SnapshotPolicy,
        applied: Index,
        is_sending: bool,
    ) -> Option<Time> {
        let is_open = self.building.is_none() && applied > self.since;
        self.time_due(policy, is_sending).filter(|_| is_open)
    }

    fn time_due(&self, policy: &SnapshotPolicy, is_sending: bool) -> Option<Time> {
        let patience = if is_sending { PATIENCE_WHILE_SENDING as u32 } else { 1 };
        policy.interval.map(|interval| self.since_time + interval.saturating_mul(patience))
    }

    /// A build begins, for all who asked so far.
    pub(crate) fn begin(&mut self, base: Base, now: Time) {
        self.start_over(base.last_included.index, now);
        let asked = self.take_asked();
        self.building = Some(Building { base, asked });
    }

    /// The build ended.
    pub(crate) fn end(&mut self) -> Option<Building> {
        self.building.take()
    }

    /// The storage took no snapshot. By its policy, this server asks again when as much was
    /// applied again.
    pub(crate) fn refused(&mut self, now: Time, election_timeout: Duration) {
        self.not_before = now + election_timeout * TIMEOUTS_UNTIL_NEXT_TRY;
    }

    /// There is a snapshot of what is up to here, or will be.
    pub(crate) fn start_over(&mut self, included: Index, now: Time) {
        self.since = included;
        self.since_time = now;
        self.bytes = 0;
        self.needed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogPosition;

    const NEVER: SnapshotPolicy = SnapshotPolicy { entries: None, bytes: None, interval: None };

    fn due(taking: &Taking, policy: &SnapshotPolicy, applied: u64, now: u64) -> bool {
        taking.is_due(policy, Index(applied), Time(now), false)
    }

    #[test]
    fn by_entries_a_snapshot_is_due_at_multiples_and_batches_end_there() {
        let policy = SnapshotPolicy { entries: Some(10), ..NEVER };
        let taking = Taking::new(Index(7), Time(0));
        let due_at: Vec<u64> = (7..=31).filter(|n| due(&taking, &policy, *n, 0)).collect();
        assert_eq!(due_at, [10, 20, 30]);
        let end = |first| Taking::batch_end(&policy, Index(first)).0;
        assert_eq!([end(1), end(9), end(10), end(11), end(20)], [10, 10, 10, 20, 20]);
        assert_eq!(Taking::batch_end(&NEVER, Index(5)), Index(u64::MAX));
    }

    #[test]
    fn by_bytes_and_by_time_it_is_due_when_they_have_passed_and_something_was_applied() {
        let mut taking = Taking::new(Index(7), Time(0));
        let bytes = SnapshotPolicy { bytes: Some(100), ..NEVER };
        taking.handed(99);
        assert!(!due(&taking, &bytes, 8, 0));
        taking.handed(1);
        assert!(due(&taking, &bytes, 8, 0));
        let time = SnapshotPolicy { interval: Some(Duration::from_nanos(50)), ..NEVER };
        assert!(!due(&taking, &time, 7, 60) && !due(&taking, &time, 8, 49));
        assert!(due(&taking, &time, 8, 50));
        assert_eq!(taking.deadline(&time, Index(7), false), None);
        assert_eq!(taking.deadline(&time, Index(8), false), Some(Time(50)));
        let base = Base { last_included: LogPosition::new(1, 8), membership: None };
        taking.begin(base, Time(60));
        assert_eq!(taking.deadline(&time, Index(9), false), None, "one is being built");
        taking.end();
        assert_eq!(taking.deadline(&time, Index(9), false), Some(Time(110)));
        assert!(!due(&taking, &bytes, 9, 60), "bytes are counted anew");
    }

    #[test]
    fn while_one_is_sent_the_next_waits_longer() {
        let policy = SnapshotPolicy { entries: Some(10), bytes: Some(100), ..NEVER };
        let mut taking = Taking::new(Index(0), Time(0));
        taking.handed(100);
        assert!(due(&taking, &policy, 9, 0));
        let due_at: Vec<u64> =
            (1..=50).filter(|n| taking.is_due(&policy, Index(*n), Time(0), true)).collect();
        assert_eq!(due_at, [40, 50]);
        taking.handed(300);
        assert!(taking.is_due(&policy, Index(9), Time(0), true));
    }

    #[test]
    fn a_snapshot_that_is_needed_is_not_asked_of_the_storage_again_and_again() {
        let mut taking = Taking::new(Index(3), Time(0));
        assert!(!due(&taking, &NEVER, 3, 0));
        taking.need();
        assert!(due(&taking, &NEVER, 3, 0));
        taking.begin(Base::default(), Time(0));
        taking.end();
        taking.refused(Time(0), Duration::from_nanos(5));
        taking.need();
        assert!(!due(&taking, &NEVER, 3, 49));
        assert!(due(&taking, &NEVER, 3, 50));
    }
}
