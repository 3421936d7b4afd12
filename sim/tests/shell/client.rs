//! A host with clients: each asks one thing after another, and notes what it is told.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_raft::messages::NodeId;
use actix_raft::tcp::RequestError;
use actix_raft_core::message::Message;
use actix_raft_net::inbound::{Inbound, Responder};
use actix_raft_net::transport::Transport;
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::node::{rpc_addr, transport_config};
use crate::record::{Outcome, Phase, Record, Request};
use crate::sockets::{Links, Simulated};
use crate::store::Put;
use crate::wire::{Answer, decode_answer, encode_request};

/// Clients that share a host, and so its connections.
const CLIENTS: u32 = 2;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// So few registers that clients meet at each of them.
const KEYS: u64 = 3;

#[derive(Clone)]
pub struct Office {
    pub number: u32,
    pub members: Vec<NodeId>,
    pub seed: u64,
    pub record: Record,
    pub links: Links,
}

impl Office {
    pub fn name(&self) -> String {
        format!("clients-{}", self.number)
    }
}

/// Nobody calls a client.
struct Deaf;

impl Inbound for Deaf {
    fn messages(&self, _: Vec<Message>) {}
    fn request(&self, _: NodeId, _: Bytes, _: Responder) {}
    fn unreachable(&self, _: NodeId) {}
}

/// Runs the clients of a host until the run is over.
pub async fn run(office: Office) -> turmoil::Result {
    let (links, host) = (office.links.clone(), office.name());
    let sockets = Arc::new(Simulated { host, links, record: office.record.clone() });
    let config = transport_config(NodeId(100 + u64::from(office.number)));
    let transport = Transport::bind_on(sockets, "0.0.0.0:7000", config, Arc::new(Deaf)).await?;
    let office = Rc::new(office);
    let clients = (0..CLIENTS).map(|client| {
        let number = office.number * CLIENTS + client;
        let dice = Dice::new(office.seed, 100 + u64::from(number));
        let leader = office.members[0];
        let office = Rc::clone(&office);
        let client = Client { number, leader, puts: 0, dice, transport: transport.clone(), office };
        actix::spawn(client.run())
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.await?;
    }
    Ok(())
}

/// What a client learnt of its request.
struct Told {
    outcome: Outcome,
    /// Where to go next.
    leader: Option<NodeId>,
    words: String,
}

struct Client {
    number: u32,
    /// Whom it takes for the leader.
    leader: NodeId,
    puts: u64,
    dice: Dice,
    transport: Transport,
    office: Rc<Office>,
}

impl Client {
    async fn run(mut self) {
        while self.office.record.phase() != Phase::Over {
            let pause = self.dice.millis(1..60);
            sleep(pause).await;
            let request = self.choose();
            let operation = self.office.record.call(self.number, request);
            let told = self.ask(request).await;
            self.office.record.returned(operation, told.outcome);
            let (client, leader, words) = (self.number, self.leader, &told.words);
            self.office.record.note(format_args!("c{client} {request:?} at n{leader}: {words}"));
            if matches!(told.outcome, Outcome::Refused | Outcome::Unknown) {
                self.leader = told.leader.unwrap_or_else(|| self.anyone());
            }
        }
    }

    fn anyone(&mut self) -> NodeId {
        let members = &self.office.members;
        members[self.dice.below(members.len() as u64) as usize]
    }

    fn choose(&mut self) -> Request {
        let key = self.dice.below(KEYS) as u8;
        if self.dice.percent(50) {
            return Request::Get(key);
        }
        self.puts += 1;
        let put = Put { key, value: (u64::from(self.number) + 1) * 1_000_000 + self.puts };
        if self.dice.percent(25) { Request::Commit(put) } else { Request::Put(put) }
    }

    async fn ask(&self, request: Request) -> Told {
        let (to, body) = (self.leader, encode_request(request));
        let address = rpc_addr(to);
        let answer = self.transport.request(to, &address, body);
        let answer = match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => decode_answer(&answer),
            Ok(Err(error)) => return self.unanswered(&error),
            Err(_) => {
                self.office.record.lock().counts.unanswered += 1;
                let words = "no answer".to_string();
                return Told { outcome: Outcome::Unknown, leader: None, words };
            }
        };
        let outcome = self.outcome(request, answer);
        let mut recorded = self.office.record.lock();
        match outcome {
            Outcome::Done { .. } | Outcome::Committed => recorded.counts.done += 1,
            Outcome::Read { .. } => recorded.counts.read += 1,
            Outcome::Refused => recorded.counts.refused += 1,
            Outcome::Unknown => recorded.counts.unknown += 1,
        }
        let leader = match answer {
            Answer::NotLeader(leader) => leader,
            _ => None,
        };
        Told { outcome, leader, words: format!("{answer:?}") }
    }

    fn outcome(&self, request: Request, answer: Answer) -> Outcome {
        match (request, answer) {
            (Request::Put(put), Answer::Done(replaced)) if put.value == replaced.value => {
                Outcome::Done { previous: replaced.previous }
            }
            (Request::Commit(_), Answer::Committed) => Outcome::Committed,
            (Request::Get(_), Answer::Read(value)) => Outcome::Read { value },
            (_, Answer::NotLeader(_) | Answer::Refused) => Outcome::Refused,
            (Request::Put(_) | Request::Commit(_), Answer::Unknown) => Outcome::Unknown,
            (request, answer) => {
                self.office.record.fail(format!("{request:?} was answered by {answer:?}"));
                Outcome::Unknown
            }
        }
    }

    fn unanswered(&self, error: &RequestError) -> Told {
        let mut recorded = self.office.record.lock();
        let outcome = match error {
            RequestError::Unknown { .. } => {
                recorded.counts.unanswered += 1;
                Outcome::Unknown
            }
            RequestError::NotSent { .. }
            | RequestError::TooLarge { .. }
            | RequestError::Overloaded { .. }
            | RequestError::Refused { .. } => {
                recorded.counts.refused += 1;
                Outcome::Refused
            }
        };
        Told { outcome, leader: None, words: error.to_string() }
    }
}
