//! The simulator's command line.

use actix_raft_sim::key_value::KeyValue;
use actix_raft_sim::simulation::Simulation;

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let t = std::time::Instant::now();
    let s = Simulation::new(KeyValue::default).threads(1);
    let mut last = std::time::Instant::now();
    match s.run_with(args[0]..args[1], |run| {
        let d = last.elapsed();
        last = std::time::Instant::now();
        if d.as_millis() > 700 {
            println!("{} {:?} {:?}", run.seed, d, run.counts);
        }
    }) {
        Ok(summary) => {
            println!("{:?} {:?} {:?}", summary.counts, summary.elapsed, t.elapsed());
            for s in actix_raft_sim::coverage::Situation::ALL {
                println!("{:8} {}", summary.coverage.count(*s), s);
            }
        }
        Err(f) => println!("{f}\n{:?}", t.elapsed()),
    }
}
