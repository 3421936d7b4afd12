//! How much happened in a world.

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps of servers.
    pub steps: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Those that were done.
    pub done: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// Crashes of servers.
    pub crashes: u64,
    /// Faults that began.
    pub faults: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.steps += other.steps;
        self.messages += other.messages;
        self.operations += other.operations;
        self.done += other.done;
        self.committed += other.committed;
        self.crashes += other.crashes;
        self.faults += other.faults;
    }
}
