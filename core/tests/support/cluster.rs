//! A cluster for tests that tell a story step by step: nothing moves by itself.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use actix_raft_core::admin::{
    ChangeAnswer, ChangeError, Changed, MemberChange, PurgeError, RequestId, SnapshotError,
};
use actix_raft_core::config::Config;
use actix_raft_core::effect::{Effect, ProposeError};
use actix_raft_core::event::{Consistency, Event, ProposalId, ReadId};
use actix_raft_core::membership::Membership;
use actix_raft_core::message::{Message, MessageBody};
use actix_raft_core::status::{RoleName, Status};
use actix_raft_core::types::{GroupId, Index, LogPosition, NodeId, Time};

use crate::support::disk::{Disk, Image};
use crate::support::server::Server;
use crate::support::words::{HEARTBEAT, T, voters};

/// Servers 1, 2, 3, ... and the network between them.
pub struct Cluster {
    pub now: Time,
    pub servers: Vec<Server>,
    /// Messages under way, the oldest first.
    pub network: VecDeque<Message>,
    cuts: BTreeSet<(u64, u64)>,
    ids: u64,
}

/// The configuration of a test's server.
pub fn config(id: u64) -> Config {
    Config { election_timeout: T, heartbeat_interval: HEARTBEAT, seed: id, ..Config::default() }
}

impl Cluster {
    /// Servers that were all told of the cluster and have empty logs.
    pub fn new(count: u64) -> Cluster {
        Cluster::with(count, |_| {})
    }

    pub fn with(count: u64, tweak: impl Fn(&mut Config)) -> Cluster {
        let image = Image::of(&voters(1..=count), 0, &[]);
        Cluster::from_images(vec![image; count as usize], tweak)
    }

    /// A cluster whose servers have logs of these terms, and the term that each of them is in.
    pub fn of_logs(logs: &[(u64, &[u64])]) -> Cluster {
        Cluster::of_logs_with(logs, |_| {})
    }

    pub fn of_logs_with(logs: &[(u64, &[u64])], tweak: impl Fn(&mut Config)) -> Cluster {
        let membership = voters(1..=logs.len() as u64);
        let images = logs.iter().map(|(term, terms)| Image::of(&membership, *term, terms));
        Cluster::from_images(images.collect(), tweak)
    }

    pub fn from_images(images: Vec<Image>, tweak: impl Fn(&mut Config)) -> Cluster {
        let start = |(id, image)| {
            let mut config = config(id);
            tweak(&mut config);
            Server::start(NodeId(id), config, image, Time(0))
        };
        Cluster {
            now: Time(0),
            servers: (1..).zip(images).map(start).collect(),
            network: VecDeque::new(),
            cuts: BTreeSet::new(),
            ids: 0,
        }
    }

    /// Adds a server that was told of no cluster. Returns its id.
    pub fn add_pristine(&mut self) -> u64 {
        self.add_pristine_with(|_| {})
    }

    pub fn add_pristine_with(&mut self, tweak: impl Fn(&mut Config)) -> u64 {
        let id = self.servers.len() as u64 + 1;
        let mut config = config(id);
        tweak(&mut config);
        self.servers.push(Server::start(NodeId(id), config, Image::default(), self.now));
        id
    }

    pub fn server(&mut self, id: u64) -> &mut Server {
        &mut self.servers[id as usize - 1]
    }

    pub fn status(&self, id: u64) -> Status {
        self.servers[id as usize - 1].status()
    }

    pub fn role(&self, id: u64) -> RoleName {
        self.status(id).role
    }

    pub fn term(&self, id: u64) -> u64 {
        self.status(id).current_term.0
    }

    pub fn commit(&self, id: u64) -> u64 {
        self.status(id).commit_index.0
    }

    pub fn deadline(&self, id: u64) -> Option<Time> {
        self.servers[id as usize - 1].deadline()
    }

    /// The terms of the log that the server has in mind.
    pub fn log(&self, id: u64) -> Vec<u64> {
        self.servers[id as usize - 1].disk.live.terms()
    }

    /// The commands that the server applied.
    pub fn applied(&self, id: u64) -> usize {
        self.servers[id as usize - 1].applied.len()
    }

    /// What the server said to its own side since this was asked last.
    pub fn said(&mut self, id: u64) -> Vec<Effect> {
        std::mem::take(&mut self.server(id).said)
    }

    pub fn step(&mut self, id: u64, events: Vec<Event>) {
        let now = self.now;
        let server = self.server(id);
        server.step(now, events);
        let sent = std::mem::take(&mut server.outbox);
        let cuts = &self.cuts;
        self.network.extend(sent.into_iter().filter(|m| !cuts.contains(&(m.from.0, m.to.0))));
    }

    /// A message comes from nowhere.
    pub fn hear(&mut self, to: u64, from: u64, body: MessageBody) {
        self.step(to, vec![receive(to, from, body)]);
    }

    /// Takes all messages off the network, with their receivers.
    pub fn sent(&mut self) -> Vec<(u64, MessageBody)> {
        self.network.drain(..).map(|message| (message.to.0, message.body)).collect()
    }

    /// Takes the messages to this server off the network.
    pub fn sent_to(&mut self, id: u64) -> Vec<MessageBody> {
        self.take(|message| message.to.0 == id).into_iter().map(|message| message.body).collect()
    }

    /// Takes messages off the network: to hold them, or to lose them.
    pub fn take(&mut self, which: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (taken, left) = self.network.drain(..).partition(|message| which(message));
        self.network = left;
        Vec::from_iter::<VecDeque<Message>>(taken)
    }

    /// Brings a message that was held.
    pub fn bring(&mut self, message: Message) {
        if self.server(message.to.0).is_up() && !self.is_cut(&message) {
            self.step(message.to.0, vec![Event::Receive(message)]);
        }
    }

    fn is_cut(&self, message: &Message) -> bool {
        self.cuts.contains(&(message.from.0, message.to.0))
    }

    /// Delivers the oldest message.
    pub fn deliver_one(&mut self) -> bool {
        let message = self.network.pop_front();
        let any = message.is_some();
        message.into_iter().for_each(|message| self.bring(message));
        any
    }

    /// Delivers what is under way, but not the answers.
    pub fn deliver_round(&mut self) {
        let messages = std::mem::take(&mut self.network);
        messages.into_iter().for_each(|message| self.bring(message));
    }

    /// Delivers messages and their answers until nobody says anything more.
    pub fn settle(&mut self) {
        let mut left = 100_000;
        while self.deliver_one() {
            left -= 1;
            assert!(left > 0, "the servers talk for ever");
        }
    }

    /// From now on, nothing goes from the one to the other.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cuts.insert((from, to));
        self.network.retain(|message| (message.from.0, message.to.0) != (from, to));
    }

    pub fn isolate(&mut self, id: u64) {
        for other in (1..=self.servers.len() as u64).filter(|other| *other != id) {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    pub fn crash(&mut self, id: u64) {
        self.server(id).crash();
    }

    /// The server loses its disk, and comes back on a new one.
    pub fn wipe(&mut self, id: u64, disk: u64) {
        self.crash(id);
        self.server(id).disk = Disk::new(Image::empty(disk));
        self.restart(id);
    }

    /// Servers with one entry, on disks that they are trusted on; those ids are ten times those of the servers.
    pub fn on_disks(count: u64) -> Cluster {
        Cluster::on_disks_with(count, |_| {})
    }

    pub fn on_disks_with(count: u64, tweak: impl Fn(&mut Config)) -> Cluster {
        let membership = voters(1..=count);
        let image = |id| Image::of(&membership, 1, &[1]).on_disk(10 * id, true);
        Cluster::from_images((1..=count).map(image).collect(), tweak)
    }

    pub fn restart(&mut self, id: u64) {
        let now = self.now;
        self.server(id).restart(now);
    }

    /// Time passes, and nobody notices.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// The server's patience ends now.
    pub fn timeout(&mut self, id: u64) {
        let deadline = self.deadline(id).expect("the server waits for something");
        self.now = self.now.max(deadline);
        self.step(id, vec![Event::Timeout]);
    }

    /// Time passes; messages arrive at once, and everybody's patience ends when it does.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        loop {
            let due = self.servers.iter().filter_map(|s| s.deadline().map(|at| (at, s.id.0)));
            match due.min().filter(|(at, _)| *at <= until) {
                Some((_, id)) => self.timeout(id),
                None => break,
            }
            self.settle();
        }
        self.now = until;
    }

    /// Makes this server the leader, as far as the others let it.
    pub fn elect(&mut self, id: u64) {
        // The others have heard nothing for long enough to vote.
        self.wait(2 * T);
        self.timeout(id);
        self.settle();
        assert_eq!(self.role(id), RoleName::Leader, "server {id} is elected");
    }

    /// The leader's heartbeat is due.
    pub fn heartbeat(&mut self, id: u64) {
        assert_eq!(self.role(id), RoleName::Leader);
        self.wait(HEARTBEAT);
        self.step(id, vec![Event::Timeout]);
    }

    pub fn propose(&mut self, id: u64, command: &str) -> Result<Index, ProposeError> {
        self.propose_all(id, vec![command.to_string()])
    }

    pub fn propose_all(&mut self, to: u64, commands: Vec<String>) -> Result<Index, ProposeError> {
        self.ids += 1;
        let id = ProposalId(self.ids);
        let commands = commands.into_iter().map(Into::into).collect();
        self.step(to, vec![Event::Propose { id, commands }]);
        let answer = |effect: &Effect| match effect {
            Effect::Proposed { id: answered, result } if *answered == id => Some(*result),
            _ => None,
        };
        self.server(to).said.iter().find_map(answer).expect("a proposal is answered at once")
    }

    pub fn read(&mut self, at: u64) -> ReadId {
        self.ids += 1;
        let id = ReadId(self.ids);
        self.step(at, vec![Event::Read { id, consistency: Consistency::Linearizable }]);
        id
    }

    pub fn is_ready(&mut self, at: u64, id: ReadId) -> bool {
        self.server(at).said.contains(&Effect::ReadReady { id })
    }

    pub fn is_refused(&mut self, at: u64, id: ReadId) -> bool {
        let refused =
            |effect: &Effect| matches!(effect, Effect::ReadRefused { id: this, .. } if *this == id);
        self.server(at).said.iter().any(refused)
    }

    /// An operator asks for a snapshot.
    pub fn trigger_snapshot(&mut self, at: u64) -> RequestId {
        self.ids += 1;
        let id = RequestId(self.ids);
        self.step(at, vec![Event::TriggerSnapshot { id }]);
        id
    }

    /// What became of it, if it was answered.
    pub fn snapshot_taken(
        &mut self,
        at: u64,
        id: RequestId,
    ) -> Option<Result<LogPosition, SnapshotError>> {
        let mut answers = self.server(at).said.iter().filter_map(|effect| match effect {
            Effect::SnapshotTaken { id: this, result } if *this == id => Some(*result),
            _ => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "a request is answered once");
        answer
    }

    /// An operator wants entries gone.
    pub fn purge(&mut self, at: u64, until: Option<u64>) -> RequestId {
        self.ids += 1;
        let (id, until) = (RequestId(self.ids), until.map(Index));
        self.step(at, vec![Event::PurgeLog { id, until }]);
        id
    }

    pub fn purged(&mut self, at: u64, id: RequestId) -> Option<Result<LogPosition, PurgeError>> {
        let mut answers = self.server(at).said.iter().filter_map(|effect| match effect {
            Effect::LogPurged { id: this, result } if *this == id => Some(*result),
            _ => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "a request is answered once");
        answer
    }

    /// Proposes so many commands, one after the other, and lets them be committed and applied.
    pub fn write(&mut self, leader: u64, count: usize) {
        for n in 0..count {
            self.propose(leader, &format!("{n}")).expect("it leads");
            self.settle();
        }
    }

    /// Asks for a change of the members, to be answered when the final configuration is committed.
    pub fn change(&mut self, at: u64, changes: &[MemberChange]) -> RequestId {
        self.change_if(at, changes, None, ChangeAnswer::Final)
    }

    pub fn change_if(
        &mut self,
        at: u64,
        changes: &[MemberChange],
        expected: Option<u64>,
        answer: ChangeAnswer,
    ) -> RequestId {
        self.ids += 1;
        let (id, changes) = (RequestId(self.ids), changes.to_vec());
        let expected = expected.map(Index);
        self.step(at, vec![Event::ChangeMembers { id, changes, expected, answer }]);
        id
    }

    /// What became of a change, if it was answered.
    pub fn changed(&mut self, at: u64, id: RequestId) -> Option<Result<Changed, ChangeError>> {
        let mut answers = self.server(at).said.iter().filter_map(|effect| match effect {
            Effect::MembersChanged { id: this, result } if *this == id => Some(result.clone()),
            _ => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "a request is answered once");
        answer
    }

    /// The configuration in force at a server, and the index from which it holds.
    pub fn membership(&self, id: u64) -> (u64, Membership) {
        let (index, members) = self.servers[id as usize - 1].membership().expect("it has one");
        (index.0, Membership::clone(&members))
    }

    pub fn initialize(&mut self, id: u64, membership: &Membership) {
        self.step(id, vec![Event::Initialize { membership: membership.clone() }]);
    }

    /// The servers that think they lead.
    pub fn leaders(&self) -> Vec<u64> {
        let up = self.servers.iter().filter(|server| server.is_up());
        up.map(Server::status).filter(|s| s.role == RoleName::Leader).map(|s| s.id.0).collect()
    }
}

pub fn receive(to: u64, from: u64, body: MessageBody) -> Event {
    let (from, to) = (NodeId(from), NodeId(to));
    Event::Receive(Message { group: GroupId(0), from, to, body })
}
