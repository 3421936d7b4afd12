//! What is seen of the cluster from outside: its leader, who is behind, whether states agree.

use std::time::Duration;

use crate::client::endpoint::Endpoint;
use crate::client::probe::{NodeStatus, Probe, StateDigest};

use super::limits::Limits;

/// A server on this machine that does not answer so fast is not there.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long idle servers may take to have applied the same.
const AGREEING: Duration = Duration::from_secs(30);

/// A leader and its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) id: u64,
    pub(super) term: u64,
    pub(super) commit_index: u64,
}

/// All servers' states at one log index.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SameState {
    Equal(StateDigest),
    Differ(Vec<StateDigest>),
    /// There was no moment at which all servers had applied the same.
    NeverAtOneIndex,
}

/// The leader of the latest term after this one, among those that answer.
pub(super) fn leader_after(term: u64, endpoints: &[Endpoint]) -> Option<Leader> {
    latest_leader(&statuses(endpoints)).filter(|leader| leader.term > term)
}

/// The leader, once there is one and all servers are ready.
pub(super) fn formed(endpoints: &[Endpoint]) -> Option<Leader> {
    let probe = Probe::new(PATIENCE);
    let ready = endpoints.iter().all(|endpoint| probe.is_ready(endpoint));
    if ready { leader_after(0, endpoints) } else { None }
}

/// Whether a server has applied what the leader had committed a moment before.
pub(super) fn has_caught_up(id: u64, endpoints: &[Endpoint]) -> bool {
    let Some(leader) = leader_after(0, endpoints) else { return false };
    let own = statuses(endpoints).into_iter().find(|status| status.id == id);
    own.is_some_and(|status| status.leader.is_some() && status.last_applied >= leader.commit_index)
}

/// Waits until all servers have applied the same, and compares.
pub(super) fn same_state(endpoints: &[Endpoint], limits: &Limits) -> anyhow::Result<SameState> {
    let compared = limits.wait("equal indexes", AGREEING, || {
        let statuses = statuses(endpoints);
        Ok((statuses.len() == endpoints.len()).then(|| compare(&statuses)).flatten())
    });
    match compared {
        Ok(state) => Ok(state),
        Err(_) => limits.check().map(|()| SameState::NeverAtOneIndex),
    }
}

/// The statuses of those that answer.
fn statuses(endpoints: &[Endpoint]) -> Vec<NodeStatus> {
    let probe = Probe::new(PATIENCE);
    let answers = endpoints.iter().map(|endpoint| probe.status(endpoint));
    answers.filter_map(|answer| NodeStatus::of(&answer.ok()?).ok()).collect()
}

fn latest_leader(statuses: &[NodeStatus]) -> Option<Leader> {
    // A deposed leader may not know it yet.
    let latest =
        statuses.iter().filter(|status| status.leads()).max_by_key(|status| status.term)?;
    let NodeStatus { id, term, commit_index, .. } = *latest;
    Some(Leader { id, term, commit_index })
}

fn compare(statuses: &[NodeStatus]) -> Option<SameState> {
    let first = &statuses.first()?.state_digest;
    let at_one_index = statuses.iter().all(|status| {
        let index = status.state_digest.index;
        index == first.index && index == status.last_log_index
    });
    if !at_one_index {
        return None;
    }
    let equal = statuses.iter().all(|status| status.state_digest == *first);
    Some(match equal {
        true => SameState::Equal(first.clone()),
        false => {
            SameState::Differ(statuses.iter().map(|status| status.state_digest.clone()).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(id: u64, role: &str, term: u64, index: u64, digest: &str) -> NodeStatus {
        NodeStatus {
            id,
            role: role.to_string(),
            term,
            leader: None,
            commit_index: index,
            last_applied: index,
            last_log_index: index,
            state_digest: StateDigest { index, digest: digest.to_string() },
            trusted: true,
            disk_is_full: false,
        }
    }

    #[test]
    fn of_two_leaders_the_one_of_the_later_term_leads() {
        let of = |statuses: &[NodeStatus]| latest_leader(statuses).map(|it| (it.id, it.term));
        let (old, new) = (status(1, "leader", 3, 9, ""), status(2, "leader", 4, 9, ""));
        assert_eq!(of(&[old.clone(), new.clone()]), Some((2, 4)));
        assert_eq!(of(&[new, old]), Some((2, 4)));
        assert_eq!(of(&[status(3, "follower", 5, 9, "")]), None);
    }

    #[test]
    fn states_are_compared_only_at_one_index() {
        let (a, b) = (status(1, "leader", 1, 9, "aa"), status(2, "follower", 1, 9, "aa"));
        let digest = |digest: &str| StateDigest { index: 9, digest: digest.to_string() };
        assert_eq!(compare(&[a.clone(), b.clone()]), Some(SameState::Equal(digest("aa"))));
        assert_eq!(compare(&[a.clone(), status(2, "follower", 1, 8, "aa")]), None);
        let mut behind = b;
        behind.last_log_index = 10;
        assert_eq!(compare(&[a.clone(), behind]), None);
        let differ = compare(&[a, status(2, "follower", 1, 9, "bb")]);
        assert_eq!(differ, Some(SameState::Differ(vec![digest("aa"), digest("bb")])));
    }

    #[test]
    fn one_that_does_not_answer_is_none() {
        let nowhere = [crate::client::fake::Fake::nowhere()];
        assert_eq!(formed(&nowhere), None);
        assert!(!has_caught_up(1, &nowhere));
    }
}
