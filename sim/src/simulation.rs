//! Many worlds, one for each seed: running them, and making a failure small.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::coverage::Coverage;
use crate::laws::Broken;
use crate::plan::{Edits, Plan};
use crate::profile::Profile;
use crate::quiet::quietly;
use crate::shrink;
use crate::workload::Workload;
use crate::world::{Counts, Trace, World};

/// How many lines of a failure's trace are shown.
const LAST_LINES: usize = 60;

/// Worlds of one kind: an application, a profile, a number of servers.
///
/// ```
/// use actix_raft_sim::key_value::KeyValue;
/// use actix_raft_sim::simulation::Simulation;
///
/// let summary = Simulation::new(KeyValue::default).run(1..=3)?;
/// assert_eq!(summary.seeds, 3);
/// assert!(summary.counts.done > 0);
/// # Ok::<(), Box<actix_raft_sim::simulation::Failure>>(())
/// ```
#[derive(Clone)]
pub struct Simulation<F> {
    workload: F,
    profile: Profile,
    nodes: Option<usize>,
    edits: Edits,
    threads: usize,
    /// The bug that is planted in each world's thread.
    #[cfg(feature = "mutants")]
    mutant: Option<actix_raft_core::mutants::Mutant>,
}

/// One world that ended well.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// A number that is the same whenever this seed is run by the same program.
    pub digest: u64,
    /// Which situations came up.
    pub coverage: Coverage,
    /// How much happened.
    pub counts: Counts,
    /// How long it was simulated.
    pub elapsed: Duration,
}

/// Many worlds that ended well.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many.
    pub seeds: u64,
    /// Of all digests, in the order of seeds.
    pub digest: u64,
    /// Which situations came up, in all.
    pub coverage: Coverage,
    /// How much happened, in all.
    pub counts: Counts,
    /// How long they were simulated, in all.
    pub elapsed: Duration,
}

/// A world in which a law was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What it was run with.
    pub profile: Profile,
    /// How many servers were asked for.
    pub nodes: Option<usize>,
    /// What was left out of its plan, so that it is small.
    pub edits: Edits,
    /// The law, and what happened.
    pub broken: Broken,
    /// When, in the world's time.
    pub at: Duration,
    /// The faults that are left in its plan.
    pub faults: Vec<String>,
    /// The last lines of its trace.
    pub trace: Vec<String>,
    /// The servers as the law was broken.
    pub status: Vec<String>,
}

impl<W: Workload, F: Fn() -> W + Sync> Simulation<F> {
    /// Worlds in which clients use this workload: made anew for each.
    pub fn new(workload: F) -> Simulation<F> {
        let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
        Simulation {
            workload,
            profile: Profile::Default,
            nodes: None,
            edits: Edits::default(),
            threads,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// Worlds of this kind of trouble; [`Profile::Default`] otherwise.
    #[must_use]
    pub fn profile(self, profile: Profile) -> Simulation<F> {
        Simulation { profile, ..self }
    }

    /// Clusters of so many servers, 1 to 7; as each seed draws it otherwise.
    #[must_use]
    pub fn nodes(self, nodes: Option<usize>) -> Simulation<F> {
        Simulation { nodes: nodes.map(|nodes| nodes.clamp(1, 7)), ..self }
    }

    /// Worlds of which something is left out.
    #[must_use]
    pub fn edits(self, edits: Edits) -> Simulation<F> {
        Simulation { edits, ..self }
    }

    /// Runs so many worlds at a time; as many as there are processors otherwise.
    #[must_use]
    pub fn threads(self, threads: usize) -> Simulation<F> {
        Simulation { threads: threads.max(1), ..self }
    }

    /// Runs these seeds.
    ///
    /// # Errors
    /// The first seed that breaks a law, made as small as it can be made.
    pub fn run(&self, seeds: impl IntoIterator<Item = u64>) -> Result<Summary, Box<Failure>> {
        self.run_with(seeds, |_| {})
    }

    /// Runs these seeds, and calls `done` after each that ends well, in order.
    ///
    /// # Errors
    /// As [`run`](Simulation::run).
    pub fn run_with(
        &self,
        seeds: impl IntoIterator<Item = u64>,
        mut done: impl FnMut(&Run),
    ) -> Result<Summary, Box<Failure>> {
        let mut summary = Summary::default();
        let ended = self.each(seeds, |run| {
            summary.add(&run);
            done(&run);
        });
        match ended {
            Ok(()) => Ok(summary),
            Err(failure) => Err(Box::new(self.shrunk(*failure))),
        }
    }

    /// Worlds in which this bug is planted.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn mutant(self, mutant: Option<actix_raft_core::mutants::Mutant>) -> Simulation<F> {
        Simulation { mutant, ..self }
    }

    /// The first of these seeds that breaks a law, as it is.
    #[must_use]
    pub fn first_failure(&self, seeds: impl IntoIterator<Item = u64>) -> Option<Box<Failure>> {
        self.each(seeds, |_| {}).err()
    }

    /// Runs these seeds on all threads, until one fails.
    fn each(
        &self,
        seeds: impl IntoIterator<Item = u64>,
        mut done: impl FnMut(Run),
    ) -> Result<(), Box<Failure>> {
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (sender, results) = mpsc::channel();
        let work = || {
            let sender = sender.clone();
            let (seeds, next, stop) = (&seeds, &next, &stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(seed) = seeds.get(place) else { return };
                    // Whoever hung up has a failure already.
                    let _ = sender.send((place, self.one(*seed, &self.edits, None)));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.threads.min(seeds.len()) {
                scope.spawn(work());
            }
            // Told in order, whoever is done first.
            let mut waiting: VecDeque<Option<Result<Run, Box<Failure>>>> = VecDeque::new();
            let mut told = 0;
            while told < seeds.len()
                && let Ok((place, result)) = results.recv()
            {
                let behind = place - told;
                if waiting.len() <= behind {
                    waiting.resize_with(behind + 1, || None);
                }
                waiting[behind] = Some(result);
                while let Some(result) = waiting.pop_front_if(|result| result.is_some()).flatten() {
                    told += 1;
                    match result {
                        Ok(run) => done(run),
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            return Err(failure);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Runs one seed, on this thread.
    ///
    /// # Errors
    /// If it breaks a law.
    pub fn one(&self, seed: u64, edits: &Edits, trace: Option<Trace>) -> Result<Run, Box<Failure>> {
        #[cfg(feature = "mutants")]
        actix_raft_core::mutants::plant(self.mutant);
        let plan = Plan::draw(seed, self.profile, self.nodes).edited(edits);
        let faults = plan.faults.iter().map(ToString::to_string).collect();
        let mut world = World::new(plan, (self.workload)());
        if let Some(trace) = trace {
            world.set_trace(trace);
        }
        let ended = quietly(|| world.run())
            .unwrap_or_else(|said| Err(Broken { law: "a server never panics", what: said }));
        match ended {
            Ok(()) => Ok(Run {
                seed,
                digest: world.digest(),
                coverage: world.coverage().clone(),
                counts: world.counts(),
                elapsed: world.elapsed(),
            }),
            Err(broken) => Err(Box::new(Failure {
                seed,
                profile: self.profile,
                nodes: self.nodes,
                edits: edits.clone(),
                broken,
                at: world.elapsed(),
                faults,
                trace: Vec::new(),
                // What panicked may not be asked again.
                status: quietly(|| world.status()).unwrap_or_default(),
            })),
        }
    }

    /// A failure with the least that still leads to one, and its last lines.
    fn shrunk(&self, failure: Failure) -> Failure {
        let smallest = shrink::smallest(failure, &mut |seed, edits| {
            self.one(seed, edits, None).err().map(|failure| *failure)
        });
        let lines = std::rc::Rc::new(std::cell::RefCell::new(VecDeque::new()));
        let kept = std::rc::Rc::clone(&lines);
        let trace: Trace = Box::new(move |line| {
            let mut kept = kept.borrow_mut();
            if kept.len() == LAST_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        });
        match self.one(smallest.seed, &smallest.edits, Some(trace)) {
            Err(again) => Failure { trace: lines.take().into(), ..*again },
            Ok(_) => Failure {
                trace: vec![
                    "it ran well when it was run again: it depends on more than its seed".into(),
                ],
                ..smallest
            },
        }
    }
}

impl Summary {
    fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.digest = (self.digest ^ run.digest).wrapping_mul(0x0100_0000_01b3);
        self.coverage += &run.coverage;
        self.counts += run.counts;
        self.elapsed += run.elapsed;
    }
}

impl Failure {
    /// The options of the command line that run it again.
    #[must_use]
    pub fn replay(&self) -> String {
        let mut line = format!("run --seed {}", self.seed);
        if self.profile != Profile::Default {
            line += &format!(" --profile {}", self.profile);
        }
        if let Some(nodes) = self.nodes {
            line += &format!(" --nodes {nodes}");
        }
        if let Some(keep) = &self.edits.keep {
            let keep: Vec<String> = keep.iter().map(ToString::to_string).collect();
            line += &format!(
                " --keep {}",
                if keep.is_empty() { "none".into() } else { keep.join(",") }
            );
        }
        if !self.edits.calm.is_empty() {
            let calm: Vec<String> = self.edits.calm.iter().map(ToString::to_string).collect();
            line += &format!(" --calm {}", calm.join(","));
        }
        if let Some(until) = self.edits.until {
            line += &format!(" --until-ms {}", until.as_millis());
        }
        line
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { law, what } = &self.broken;
        writeln!(f, "seed {} breaks a law after {:.6} s", self.seed, self.at.as_secs_f64())?;
        writeln!(f, "  law:  {law}\n  what: {what}")?;
        writeln!(f, "  servers:")?;
        self.status.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        writeln!(f, "  faults that are left ({}):", self.faults.len())?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "    {fault}"))?;
        writeln!(f, "  the last events:")?;
        self.trace.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        write!(f, "  replay: {}", self.replay())
    }
}

impl std::error::Error for Failure {}
