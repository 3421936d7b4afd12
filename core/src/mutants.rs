//! Bugs that were planted on purpose, for the simulator to find.
//!
//! Each is one that a real implementation had. Without the cargo feature `mutants` none can be
//! switched on and their code is compiled to nothing; with it, [`plant`] switches one on for the
//! current thread.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// A leader commits entries of earlier terms by counting replicas (Figure 8).
    CommitsOldTerms,
}

impl Mutant {
    /// All of them.
    pub const ALL: &[Mutant] = &[Mutant::CommitsOldTerms];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mutant::CommitsOldTerms => "commits-old-terms",
        }
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants this bug, and no other, in whatever runs on this thread from now on.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this bug is planted.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Whether this bug is planted: never, without the feature.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is_planted(_: Mutant) -> bool {
    false
}
