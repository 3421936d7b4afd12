//! What an application brings: the types of its commands and responses, and its state machine.

use actix_raft_core::types::Index;
use bytes::Bytes;

/// Why a command could not be read back from its bytes.
pub type DecodeError = Box<dyn std::error::Error + Send + Sync>;

/// The types with which an application speaks to its replicated state machine, and how its commands
/// are written in the log.
pub trait Application: Sized + 'static {
    /// A change of the state. Replicas apply the same commands in the same order.
    type Command: Send + 'static;
    /// What applying a command answers to the client that sent it.
    type Response: Send + 'static;

    /// The command as it is stored and sent to other nodes. Runs on the caller's thread.
    fn encode(command: Self::Command) -> Bytes;

    /// The command that these bytes are. Every node must read them alike, also one of an older or
    /// newer version.
    ///
    /// # Errors
    /// If the bytes are no command. They were agreed upon already, so the node can only stop.
    fn decode(bytes: Bytes) -> Result<Self::Command, DecodeError>;
}

/// A state machine, replicated by applying the same commands in the same order everywhere (§2).
///
/// It runs on a thread of its own, so it may take its time; but it must depend on nothing except
/// the commands: no clock, no randomness, no iteration order of a hash map.
///
/// ```
/// use actix_raft::application::{Application, DecodeError, StateMachine};
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
}
