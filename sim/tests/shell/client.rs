//! A host with clients: each asks one thing after another, and notes what it is told.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_raft::messages::{Consistency, NodeId};
use actix_raft::sessions::{Serial, SessionId};
use actix_raft::tcp::RequestError;
use actix_raft_core::message::Message;
use actix_raft_net::inbound::{Inbound, Responder};
use actix_raft_net::transport::{BindError, Transport};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::node::{rpc_addr, transport_config};
use crate::record::{Outcome, Phase, Record, Request};
use crate::sockets::{Links, Simulated};
use crate::store::Put;
use crate::wire::{Answer, Ask, decode_answer, encode_ask};

/// Clients that share a host, and so its connections.
const CLIENTS: u32 = 2;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often a write in a session is sent.
const ATTEMPTS: u32 = 5;
/// So few registers that clients meet at each of them.
const KEYS: u64 = 3;

#[derive(Clone)]
pub struct Office {
    pub number: u32,
    /// All nodes, members or not.
    pub nodes: Vec<NodeId>,
    pub seed: u64,
    pub record: Record,
    pub links: Links,
}

impl Office {
    pub fn name(&self) -> String {
        format!("clients-{}", self.number)
    }

    /// The host's end of all its connections.
    pub async fn transport(&self) -> Result<Transport, BindError> {
        let (links, host) = (self.links.clone(), self.name());
        let sockets = Arc::new(Simulated { host, links, record: self.record.clone() });
        let config = transport_config(NodeId(100 + u64::from(self.number)));
        Transport::bind_on(sockets, "0.0.0.0:7000", config, Arc::new(Deaf)).await
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
    let transport = office.transport().await?;
    let office = Rc::new(office);
    let clients = (0..CLIENTS).map(|client| {
        let number = office.number * CLIENTS + client;
        let dice = Dice::new(office.seed, 100 + u64::from(number));
        let leader = office.nodes[0];
        let (office, transport) = (Rc::clone(&office), transport.clone());
        let (session, puts) = (None, 0);
        actix::spawn(Client { number, leader, session, puts, dice, transport, office }.run())
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
    session_is_over: bool,
    words: String,
}

impl Told {
    fn nothing(outcome: Outcome, words: String) -> Told {
        Told { outcome, leader: None, session_is_over: false, words }
    }
}

struct Client {
    number: u32,
    /// Whom it takes for the leader.
    leader: NodeId,
    session: Option<SessionId>,
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
            if self.session.is_none() && self.dice.percent(30) {
                self.begin_session().await;
                continue;
            }
            let request = self.choose();
            let operation = self.office.record.call(self.number, request);
            let outcome = self.pursue(request).await;
            self.office.record.returned(operation, outcome);
        }
    }

    fn anyone(&mut self) -> NodeId {
        let nodes = &self.office.nodes;
        nodes[self.dice.below(nodes.len() as u64) as usize]
    }

    fn choose(&mut self) -> Request {
        let key = self.dice.below(KEYS) as u8;
        if self.dice.percent(50) {
            let by_lease = self.dice.percent(30);
            let consistency = if by_lease { Consistency::Lease } else { Consistency::Linearizable };
            return Request::Get(key, consistency);
        }
        self.puts += 1;
        let put = Put { key, value: (u64::from(self.number) + 1) * 1_000_000 + self.puts };
        match self.session.filter(|_| self.dice.percent(60)) {
            Some(session) => {
                // What it has given up it will not send again.
                let number = self.puts;
                Request::Write(put, Serial { session, number, answered_below: number })
            }
            None if self.dice.percent(25) => Request::Commit(put),
            None => Request::Put(put),
        }
    }

    async fn begin_session(&mut self) {
        let (to, body) = (self.leader, encode_ask(&Ask::Begin));
        let address = rpc_addr(to);
        let answer = self.transport.request(to, &address, body);
        let answer = match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => decode_answer(&answer),
            Ok(Err(_)) | Err(_) => Answer::Unknown,
        };
        self.office.record.note(format_args!("c{} Begin at n{to}: {answer:?}", self.number));
        match answer {
            Answer::Begun(session) => self.session = Some(session),
            Answer::NotLeader(Some(leader)) => self.leader = leader,
            _ => self.leader = self.anyone(),
        }
    }

    /// Asks until the outcome is known, if that may be asked again.
    async fn pursue(&mut self, request: Request) -> Outcome {
        let attempts = if let Request::Write(..) = request { ATTEMPTS } else { 1 };
        let mut unknown = false;
        for _ in 0..attempts {
            // Every node serves reads.
            let reads = matches!(request, Request::Get(..));
            let to = if reads && self.dice.percent(60) { self.anyone() } else { self.leader };
            let told = self.ask(to, request).await;
            let (client, words) = (self.number, &told.words);
            self.office.record.note(format_args!("c{client} {request:?} at n{to}: {words}"));
            match told.outcome {
                Outcome::Refused => {}
                Outcome::Unknown => unknown = true,
                Outcome::Done { .. } | Outcome::Committed | Outcome::Read { .. } => {
                    self.office.record.lock().counts.again += u64::from(unknown);
                    return told.outcome;
                }
            }
            if to == self.leader {
                self.leader = told.leader.unwrap_or_else(|| self.anyone());
            }
            if told.session_is_over {
                self.session = None;
                break;
            }
        }
        if unknown { Outcome::Unknown } else { Outcome::Refused }
    }

    async fn ask(&self, to: NodeId, request: Request) -> Told {
        let (address, body) = (rpc_addr(to), encode_ask(&Ask::Client(request)));
        let answer = self.transport.request(to, &address, body);
        let answer = match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => decode_answer(&answer),
            Ok(Err(error)) => return self.unanswered(&error),
            Err(_) => {
                self.office.record.lock().counts.unanswered += 1;
                let words = "no answer".to_string();
                return Told::nothing(Outcome::Unknown, words);
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
        let session_is_over = answer == Answer::SessionOver;
        Told { outcome, leader, session_is_over, words: format!("{answer:?}") }
    }

    fn outcome(&self, request: Request, answer: Answer) -> Outcome {
        match (request, answer) {
            (Request::Put(put) | Request::Write(put, _), Answer::Done(replaced))
                if put.value == replaced.value =>
            {
                Outcome::Done { previous: replaced.previous }
            }
            (Request::Commit(_), Answer::Committed) => Outcome::Committed,
            (Request::Get(..), Answer::Read(value)) => Outcome::Read { value },
            (_, Answer::NotLeader(_) | Answer::Refused)
            | (Request::Write(..), Answer::SessionOver) => Outcome::Refused,
            (Request::Put(_) | Request::Commit(_) | Request::Write(..), Answer::Unknown) => {
                Outcome::Unknown
            }
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
        Told::nothing(outcome, error.to_string())
    }
}
