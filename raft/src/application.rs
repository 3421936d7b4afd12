//! What an application brings: the types of its commands and responses, and its state machine.

use std::{fmt, io};

use actix_raft_core::types::Index;
use bytes::Bytes;

/// Why a command could not be read back from its bytes.
pub type DecodeError = Box<dyn std::error::Error + Send + Sync>;

/// Writes a state as it was when this was made; it runs later, on another thread.
pub type Snapshotting = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<()> + Send>;

/// The types with which an application speaks to its replicated state machine, and how its commands
/// are written in the log.
pub trait Application: Sized + 'static {
    /// A change of the state. Replicas apply the same commands in the same order.
    type Command: Send + 'static;
    /// What applying a command answers to the client that sent it.
    type Response: Send + 'static;
    /// Why the application refuses a command before it is logged; see
    /// [`Validator`](crate::validation::Validator). [`Infallible`](std::convert::Infallible) if it
    /// refuses none.
    type Rejection: fmt::Debug + fmt::Display + Send + 'static;

    /// The command as it is stored and sent to other nodes. Runs on the caller's thread.
    fn encode(command: Self::Command) -> Bytes;

    /// The command that these bytes are. Every node must read them alike, also one of an older or
    /// newer version.
    ///
    /// # Errors
    /// If the bytes are no command. They were agreed upon already, so the node can only stop.
    fn decode(bytes: Bytes) -> Result<Self::Command, DecodeError>;

    /// The response as it is kept for a client that may have missed it, in its
    /// [session](crate::sessions), and in snapshots: so it must be the same on every node. `None`,
    /// as it is unless implemented, if responses are not kept: then a client that sends a write
    /// again is told [`AppliedBefore`](crate::messages::ClientError::AppliedBefore).
    fn encode_response(response: &Self::Response) -> Option<Bytes> {
        let _ = response;
        None
    }

    /// The response that these bytes are.
    ///
    /// # Errors
    /// If they are none, such as when a later version wrote them; the client is then told
    /// [`AppliedBefore`](crate::messages::ClientError::AppliedBefore).
    fn decode_response(bytes: Bytes) -> Result<Self::Response, DecodeError> {
        let _ = bytes;
        Err("this application keeps no responses".into())
    }
}

/// A state machine, replicated by applying the same commands in the same order everywhere (§2).
///
/// It runs on a thread of its own, so it may take its time; but it must depend on nothing except
/// the commands: no clock, no randomness, no iteration order of a hash map.
///
/// ```
/// use std::convert::Infallible;
/// use std::io::{self, Read, Write};
///
/// use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
/// use actix_raft::messages::Index;
/// use bytes::Bytes;
///
/// /// A sum that any node may add to.
/// #[derive(Default)]
/// struct Sum(u64);
///
/// impl Application for Sum {
///     type Command = u64;
///     type Response = u64;
///     type Rejection = Infallible;
///
///     fn encode(addend: u64) -> Bytes {
///         Bytes::copy_from_slice(&addend.to_le_bytes())
///     }
///
///     fn decode(bytes: Bytes) -> Result<u64, DecodeError> {
///         Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
///     }
/// }
///
/// impl StateMachine for Sum {
///     fn apply(&mut self, _index: Index, addend: u64) -> u64 {
///         self.0 += addend;
///         self.0
///     }
///
///     fn snapshot(&self) -> Option<Snapshotting> {
///         let sum = self.0;
///         Some(Box::new(move |to| to.write_all(&sum.to_le_bytes())))
///     }
///
///     fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
///         let mut sum = [0; 8];
///         from.read_exact(&mut sum)?;
///         self.0 = u64::from_le_bytes(sum);
///         Ok(())
///     }
/// }
/// ```
pub trait StateMachine: Application + Send {
    /// Applies a committed command and says what the client that sent it is answered. `index` is
    /// the command's place in the log: it is the same on every node, and grows.
    fn apply(&mut self, index: Index, command: Self::Command) -> Self::Response;

    /// Called after a batch of entries, when everything up to `index` is applied (also entries
    /// that hold no command): a moment to publish what readers see.
    fn applied(&mut self, index: Index) {
        let _ = index;
    }

    /// The present state, to be written as a snapshot (§7); `None`, as it is unless implemented, if
    /// this state machine takes no snapshots: then the log is never purged, and a restart applies
    /// all of it again.
    ///
    /// What is returned stands for the state of this moment, whatever is applied before or while it
    /// is written: so it holds a copy, or better a clone of a persistent map. No command is applied
    /// before this method returns. The bytes should depend on the state alone: then two nodes'
    /// snapshots at the same index are equal, and a node that is being sent one can go on with
    /// another's.
    fn snapshot(&self) -> Option<Snapshotting> {
        None
    }

    /// Takes the state from a snapshot in place of its own, whatever that was;
    /// [`applied`](StateMachine::applied) follows. `from` ends where the bytes that were written
    /// end.
    ///
    /// # Errors
    /// If the bytes are no snapshot of this state machine. The node can't go on then, so it stops.
    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        let _ = from;
        Err(io::Error::new(io::ErrorKind::Unsupported, "this state machine restores no snapshots"))
    }
}
