//! Sessions of clients, by which a write that is sent again is applied once (diss. §6.3).
//!
//! ```text
//!   client                      leader, then any other                     state machine
//!     | session 7, number 3: "add 5" --->  log  ------------------------->  applied: 12
//!     |          (no answer)               (crash)                          7/3 -> 12 kept
//!     | session 7, number 3: "add 5" --->  log  ------------------------->  known: 12, not applied
//!     | <----------------------------------------------------------- 12 ----+
//! ```
//!
//! Without a session a write with an [unknown outcome](ClientError::OutcomeUnknown) may only be sent
//! again if it may be done twice. In a session it may always be sent again, through any node: the
//! replicated state machine knows by its number whether it was applied, and answers what it answered
//! then.
//!
//! A session is begun by [`Client::session`] or [`RegisterSession`]. It is over when it was not used
//! for the [`session_timeout`](crate::config::ConfigBuilder::session_timeout), or when there are
//! more than [`max_sessions`](crate::config::ConfigBuilder::max_sessions) and it was not used for
//! longest. A write in it is then refused with [`SessionError::Expired`], which tells nothing of
//! earlier attempts.
//!
//! Time is what leaders stamp writes with, and never goes back. If a leader's clock is ahead,
//! sessions may end early; if one was ahead, they end late. Nothing else depends on it.
//!
//! Answers are kept in the state machine's snapshots, in bytes: see
//! [`Application::encode_response`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Message;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::application::Application;
use crate::client::Client;
use crate::gate::Permit;
use crate::messages::{ClientError, ClientPayload, ClientResponse};

/// How many writes of one session may be unanswered at a time, and so how many answers are kept for
/// it. All nodes must agree on it.
pub const MAX_UNANSWERED: u64 = 1024;

/// A session: the index of the entry that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells a write from all others of all sessions, and what its client will not ask for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serial {
    /// The session.
    pub session: SessionId,
    /// The write's number in the session: the same in each attempt, and of no other write.
    pub number: u64,
    /// All writes with lower numbers are answered, or given up: they will not be sent again, so
    /// that their answers need not be kept. At most `number`, and at least `number` less
    /// [`MAX_UNANSWERED`].
    pub answered_below: u64,
}

/// Why a write was not applied in its session. An earlier attempt may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SessionError {
    /// The session is over: it was idle for too long, there were too many, or it never began. What
    /// became of earlier attempts is not known any more.
    #[error("session {session} is over")]
    Expired {
        /// The session.
        session: SessionId,
    },
    /// The client said that it would not ask for this write again, or has too many unanswered.
    #[error("write {} of session {} is discarded", serial.number, serial.session)]
    Discarded {
        /// The write.
        serial: Serial,
    },
}

/// Begins a session; answered when it is committed and applied. If the answer is lost, so is the
/// session, and ends by itself.
#[derive(Debug, Default)]
pub struct RegisterSession {
    pub(crate) permit: Option<Permit>,
}

impl Message for RegisterSession {
    type Result = Result<SessionId, ClientError>;
}

/// For how long [`Session::write`] tries again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits before it does.
const PAUSE: Duration = Duration::from_millis(20);

/// A client's side of a session: numbers its writes, and sends them again where that helps. Usable
/// from any thread; its writes may run at the same time, and are applied in any order then.
///
/// ```
/// # use actix::Actor;
/// # use actix_raft::client::Client;
/// # use actix_raft::raft::{Raft, RaftOptions};
/// # use actix_raft::testing::{Accumulator, MemoryStorage, Router};
/// # use actix_raft::messages::NodeId;
/// # async fn start() -> Result<Client<Accumulator>, Box<dyn std::error::Error>> {
/// #     let storage = MemoryStorage::new(Accumulator::default()).start();
/// #     let node = Raft::start(RaftOptions::new(NodeId(1), storage, Router::new().port().start()));
/// #     let node = node.await?;
/// #     node.initialize(vec![]).await?;
/// #     while !node.metrics().await.is_some_and(|metrics| metrics.is_leader()) {
/// #         tokio::task::yield_now().await;
/// #     }
/// #     Ok(node)
/// # }
/// # actix::System::new().block_on(async {
/// let node: Client<Accumulator> = start().await?;
/// let session = node.session().await?;
/// assert_eq!(session.write(5).await?, 5);
///
/// // By hand: the same write may be sent any number of times, through the clients of any nodes.
/// let write = session.number(10)?;
/// assert_eq!(write.send(&node).await?, 15);
/// assert_eq!(write.send(&node).await?, 15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Session<A: Application> {
    client: Client<A>,
    id: SessionId,
    numbers: Arc<Mutex<Numbers>>,
}

#[derive(Default)]
struct Numbers {
    next: u64,
    unanswered: BTreeSet<u64>,
}

/// A write that has its number in a session. It may be sent again and again while it is there.
pub struct NumberedWrite<A: Application> {
    command: Bytes,
    session: SessionId,
    number: u64,
    numbers: Arc<Mutex<Numbers>>,
    application: std::marker::PhantomData<fn() -> A>,
}

impl<A: Application> Session<A> {
    pub(crate) fn new(client: Client<A>, id: SessionId) -> Session<A> {
        Session { client, id, numbers: Arc::default() }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Gives a command its number.
    ///
    /// # Errors
    /// [`ClientError::Overloaded`] if [`MAX_UNANSWERED`] numbered writes are there.
    pub fn number(&self, command: A::Command) -> Result<NumberedWrite<A>, ClientError> {
        let mut numbers = lock(&self.numbers);
        let number = numbers.next;
        let first = numbers.unanswered.first().copied().unwrap_or(number);
        if number - first >= MAX_UNANSWERED {
            return Err(ClientError::Overloaded);
        }
        numbers.next += 1;
        numbers.unanswered.insert(number);
        drop(numbers);
        Ok(NumberedWrite {
            command: A::encode(command),
            session: self.id,
            number,
            numbers: Arc::clone(&self.numbers),
            application: std::marker::PhantomData,
        })
    }

    /// Sends a command and waits until it is applied. While the node with which the session was begun
    /// knows of no other leader, it tries again for a few seconds if the outcome is unknown, or there
    /// is no leader.
    ///
    /// # Errors
    /// As of [`Client::write`]. After [`ClientError::OutcomeUnknown`] the command may have been
    /// applied; to send it again by another node, [number](Session::number) it by hand.
    pub async fn write(
        &self,
        command: A::Command,
    ) -> Result<A::Response, ClientError<A::Rejection>> {
        let write = self.number(command).map_err(ClientError::for_write)?;
        let give_up = Instant::now() + PATIENCE;
        let mut unknown = None;
        loop {
            let result = write.send(&self.client).await;
            let again = match &result {
                Err(error @ ClientError::OutcomeUnknown { .. }) => {
                    unknown = Some(error.to_string());
                    true
                }
                Err(
                    ClientError::NotLeader { leader: None }
                    | ClientError::Transferring { .. }
                    | ClientError::Overloaded,
                ) => true,
                Err(ClientError::NotLeader { .. } | ClientError::Stopped { .. }) => false,
                // These say what became of the write, whatever an earlier attempt came to.
                Ok(_) | Err(_) => return result,
            };
            if !again || Instant::now() >= give_up {
                return match unknown {
                    Some(reason) => Err(ClientError::OutcomeUnknown { reason: reason.into() }),
                    None => result,
                };
            }
            sleep(PAUSE).await;
        }
    }
}

impl<A: Application> NumberedWrite<A> {
    /// What tells it from all others.
    #[must_use]
    pub fn serial(&self) -> Serial {
        let unanswered = lock(&self.numbers).unanswered.first().copied();
        let answered_below = unanswered.unwrap_or(self.number).min(self.number);
        Serial { session: self.session, number: self.number, answered_below }
    }

    /// Sends it through a node, once; waits until it is applied.
    ///
    /// # Errors
    /// As of [`Client::write`].
    pub async fn send(&self, client: &Client<A>) -> Result<A::Response, ClientError<A::Rejection>> {
        let payload = ClientPayload::of_bytes(Some(self.serial()), &self.command);
        match client.send(payload).await? {
            ClientResponse::Applied { response, .. } => Ok(response),
            ClientResponse::Committed { .. } => Err(ClientError::OutcomeUnknown {
                reason: "the node answered before it applied the command".into(),
            }),
        }
    }
}

impl<A: Application> Drop for NumberedWrite<A> {
    /// It will not be sent again.
    fn drop(&mut self) {
        lock(&self.numbers).unanswered.remove(&self.number);
    }
}

fn lock(numbers: &Mutex<Numbers>) -> MutexGuard<'_, Numbers> {
    // A panic elsewhere leaves the numbers whole.
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}
