//! Making a failure small: leaving out of its plan whatever it does not need.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::plan::{Ambient, Edits};
use crate::simulation::Failure;

/// How many smaller plans are tried.
const TRIES: usize = 150;

/// The smallest failure that is found. `run` runs a seed with edits, and says how it fails.
pub(crate) fn smallest(
    failure: Failure,
    run: &mut dyn FnMut(u64, &Edits) -> Option<Failure>,
) -> Failure {
    let mut search = Search { best: failure, run, tries: TRIES };
    search.shorten();
    search.leave_out_faults();
    search.calm_down();
    search.shorten();
    search.leave_out_faults();
    search.best
}

struct Search<'a> {
    best: Failure,
    run: &'a mut dyn FnMut(u64, &Edits) -> Option<Failure>,
    tries: usize,
}

impl Search<'_> {
    /// Keeps these edits if the same law is still broken.
    fn attempt(&mut self, edits: Edits) -> bool {
        if self.tries == 0 || edits == self.best.edits {
            return false;
        }
        self.tries -= 1;
        match (self.run)(self.best.seed, &edits) {
            Some(failure) if failure.broken.law == self.best.broken.law => {
                self.best = failure;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Ends the faults soon after the failure, or sooner.
    fn shorten(&mut self) {
        let after = self.best.at + Duration::from_millis(1);
        self.attempt(Edits { until: Some(after), ..self.best.edits.clone() });
        for _ in 0..4 {
            let Some(until) = self.best.edits.until else { return };
            let sooner = Edits { until: Some(until.mul_f64(0.6)), ..self.best.edits.clone() };
            if !self.attempt(sooner) {
                return;
            }
        }
    }

    /// Leaves out half of the faults, then quarters, then single ones.
    fn leave_out_faults(&mut self) {
        let all = (0..1000).collect();
        let mut kept: Vec<usize> = self.best.edits.keep.clone().unwrap_or(all);
        if self.attempt(Edits { keep: Some(Vec::new()), ..self.best.edits.clone() }) {
            return;
        }
        let mut size = kept.len().div_ceil(2);
        while size > 0 && self.tries > 0 {
            let mut start = 0;
            while start < kept.len() {
                let end = (start + size).min(kept.len());
                let rest = [&kept[..start], &kept[end..]].concat();
                if self.attempt(Edits { keep: Some(rest.clone()), ..self.best.edits.clone() }) {
                    kept = rest;
                } else {
                    start = end;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2).min(kept.len()) };
        }
    }

    fn calm_down(&mut self) {
        for ambient in Ambient::ALL {
            let mut calm: BTreeSet<Ambient> = self.best.edits.calm.clone();
            if calm.insert(ambient) {
                self.attempt(Edits { calm, ..self.best.edits.clone() });
            }
        }
    }
}
