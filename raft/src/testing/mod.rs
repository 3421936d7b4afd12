//! A cluster in one process, for tests and examples: storage in memory, a network that can be cut,
//! and a state machine. And entries to try a storage with.

mod accumulator;
mod memory;
pub mod payloads;
mod router;

pub use accumulator::Accumulator;
pub use memory::MemoryStorage;
pub use router::{Router, RouterPort};
