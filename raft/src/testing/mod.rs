//! A cluster in one process, for tests and examples: storage in memory, and a network that can be
//! cut.

mod memory;
mod router;

pub use memory::MemoryStorage;
pub use router::{Router, RouterPort};
