//! Showing a node's metrics to whoever watches it.

use std::sync::Arc;

use actix::{AsyncContext, Context, Recipient};
use actix_raft_core::status::PeerStatus;
use actix_raft_core::types::Time;
use tracing::info;

use crate::admin::{Explanation, Stopped};
use crate::application::Application;
use crate::messages::Index;
use crate::metrics::{PeerMetrics, RaftMetrics, RaftState};
use crate::raft::{Raft, State};

/// What was shown, and to whom.
pub(crate) struct Reporting {
    watcher: Option<Recipient<RaftMetrics>>,
    reported: Option<RaftMetrics>,
    is_due: bool,
}

impl Reporting {
    pub(crate) fn new(watcher: Option<Recipient<RaftMetrics>>) -> Reporting {
        Reporting { watcher, reported: None, is_due: false }
    }
}

impl<A: Application> Raft<A> {
    pub(crate) fn current_metrics(&self) -> RaftMetrics {
        let core = match &self.state {
            State::Running(core) => core,
            State::Stopped { last, .. } => return (**last).clone(),
        };
        let (status, now) = (core.status(), self.now());
        let membership = core.membership();
        let last_log = status.last_log.index;
        let peers = core.peers().into_iter().map(|peer| peer_metrics(&peer, last_log, now));
        RaftMetrics {
            id: self.id,
            state: RaftState::Running(status.role),
            current_term: status.current_term,
            voted_for: status.voted_for,
            leader: status.leader,
            commit_index: status.commit_index,
            last_applied: status.last_applied,
            last_log_index: status.last_log.index,
            last_durable_index: status.last_durable,
            membership: membership.map(|(_, membership)| Arc::clone(membership)),
            membership_index: membership.map_or(Index::ZERO, |(index, _)| *index),
            snapshot: status.snapshot,
            purged: status.purged,
            trusted: status.trusted,
            transferring_to: status.transferring_to,
            disk_is_full: status.disk_is_full,
            peers: peers.collect(),
        }
    }

    /// Why there is no leader, or a write waits.
    pub(crate) fn explain(&self) -> Result<Explanation, Stopped> {
        let core = match &self.state {
            State::Running(core) => core,
            State::Stopped { reason, .. } => return Err(Stopped { reason: reason.clone() }),
        };
        let (last_log, now) = (core.status().last_log.index, self.now());
        let explanation = core.explain();
        let lagging = explanation.lagging.iter().map(|peer| peer_metrics(peer, last_log, now));
        Ok(Explanation {
            votes: explanation.votes,
            not_standing: explanation.not_standing,
            lagging: lagging.collect(),
            disk_busy_for: explanation.disk_busy_for,
        })
    }

    pub(crate) fn report_metrics(&mut self, ctx: &mut Context<Self>) {
        if let State::Stopped { .. } = self.state {
            return;
        }
        let metrics = self.current_metrics();
        let Reporting { reported, is_due, .. } = &mut self.reporting;
        if reported.as_ref().is_none_or(|before| metrics.has_news(before)) {
            self.report(metrics);
        } else if !*is_due && !reported.as_ref().is_some_and(|before| metrics.is_like(before)) {
            *is_due = true;
            ctx.run_later(self.config.metrics_rate, |raft, _| {
                raft.reporting.is_due = false;
                raft.report(raft.current_metrics());
            });
        }
    }

    pub(crate) fn report(&mut self, metrics: RaftMetrics) {
        let Reporting { watcher, reported, .. } = &mut self.reporting;
        let role = |metrics: &RaftMetrics| (metrics.state.clone(), metrics.leader);
        if reported.as_ref().map(role) != Some(role(&metrics)) {
            let RaftMetrics { id, state, current_term, leader, .. } = &metrics;
            let leader = leader.map_or("none".to_string(), |leader| leader.to_string());
            match state {
                RaftState::Running(role) => {
                    info!("node {id} is {role} in term {current_term}, leader: {leader}");
                }
                RaftState::Stopped { reason } => info!("node {id} has stopped: {reason}"),
            }
        }
        if let Some(watcher) = watcher {
            watcher.do_send(metrics.clone());
        }
        *reported = Some(metrics);
    }
}

fn peer_metrics(peer: &PeerStatus, last_log: Index, now: Time) -> PeerMetrics {
    PeerMetrics {
        id: peer.id,
        match_index: peer.match_index,
        next_index: peer.next_index,
        lag: last_log.0.saturating_sub(peer.match_index.0),
        in_flight_bytes: peer.in_flight_bytes,
        pace: peer.pace,
        since_contact: now.since(peer.last_contact),
        counts: peer.counts,
        disk_is_full: peer.disk_is_full,
    }
}
