//! Runs the golden scripts: each must still give the trace that was reviewed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use actix_raft_sim::script::{Outcome, Script, run};

fn scripts(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
}

#[test]
fn every_script_gives_the_trace_that_was_reviewed() {
    let mut paths = Vec::new();
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut paths);
    paths.sort();
    assert!(!paths.is_empty());
    let mut failed = Vec::new();
    for path in &paths {
        // A difference panics; the others are to be seen as well.
        let ran =
            catch_unwind(AssertUnwindSafe(|| goldenscript::run(&mut Script::default(), path)));
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(format!("{}: {error}", path.display())),
            Err(_) => failed.push(format!("{}: see above", path.display())),
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), paths.len(), failed.join("\n"));
}

/// Runs this text as a script.
fn ran(text: &str) -> std::io::Result<Outcome> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script.txt");
    std::fs::write(&path, text).unwrap();
    let ran = run(&path);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the file stays as it is");
    ran
}

#[test]
fn a_trace_that_differs_is_shown_and_not_written() {
    let outcome = ran("cluster nodes=1\n---\nn1 candidate\n").unwrap();
    let leader = "n1 leader        t=1 vote=1 leader=1 commit=1 last=1@1";
    assert_eq!(outcome.difference(), Some((3, "n1 candidate", leader)));
    assert_eq!(ran(&outcome.found).unwrap().difference(), None);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_line_and_the_reason() {
    for (text, reason) in [
        ("timeout 1", "line 1: there is no server 1"),
        ("cluster nodes=0", "line 1: a cluster has 1 to 9 servers"),
        ("cluster nodes=2 non_voters=2", "line 1: a cluster has 1 to 9 servers, and a voter"),
        ("stored 4 term=1\ncluster nodes=3", "line 2: there is no server 4"),
        ("cluster nodes=1\ncluster nodes=1", "line 2: a script has one cluster"),
        ("cluster nodes=3\ndeliver to=2", "line 2: no such message is under way"),
        ("cluster nodes=3\ncrash 2\ntimeout 2", "line 3: server 2 waits for nothing"),
        ("cluster nodes=3\ndisk 1 burn", "burn is none of hold, finish"),
        ("cluster nodes=3\nadvance 3", "3 is no time such as 150ms"),
        ("cluster nodes=3\ncrash 1 power survives=most", "most is no seed"),
        ("frobnicate 3", "frobnicate"),
    ] {
        let error = ran(&format!("{text}\n---\n")).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn time_passes_for_all_when_it_is_told_to() {
    let outcome =
        ran("cluster nodes=3 leader=1\nadvance 300ms\n(stabilize)\nstatus\n---\n").unwrap();
    // Heartbeats were held, so that the leader heard nobody and the others lost patience.
    assert!(outcome.found.contains("pre-candidate t=1"), "{}", outcome.found);
}

#[cfg(feature = "mutants")]
#[test]
fn a_broken_law_fails_the_script_with_its_words() {
    use actix_raft_core::mutants::{Mutant, plant};
    plant(Some(Mutant::TwoVotesInATerm));
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ran = run(&path.join("scripts/election/one_vote_a_term_survives_restart.txt"));
    plant(None);
    let error = ran.unwrap_err().to_string();
    let words = "a law is broken: term, vote, commit and applied never fall (Figure 2)";
    assert!(error.contains("at line 28: ") && error.contains(words), "{error}");
    assert!(error.contains("<- VoteRequest Vote term=1 last=0@0 from 2"), "{error}");
}
