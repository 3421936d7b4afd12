//! A cluster in one process, for tests and examples: storage in memory, a network that can be cut,
//! and a state machine.

mod accumulator;
mod memory;
mod router;

pub use accumulator::Accumulator;
pub use memory::MemoryStorage;
pub use router::{Router, RouterPort};
