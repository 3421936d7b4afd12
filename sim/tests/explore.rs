//! Small worlds, searched to the end: the laws hold, the count is always the same, and known bugs
//! are found.

use actix_raft_sim::explore::{Bounds, Saves, Summary, explore};

fn search(bounds: &Bounds) -> Summary {
    let summary = explore(bounds, &mut |_| {}).unwrap_or_else(|found| panic!("{found}"));
    assert!(summary.complete, "{summary:?}");
    summary
}

/// Two terms, and nothing but elections and the leaders' own entries.
fn elections() -> Bounds {
    Bounds { proposals: 0, crashes: 0, ..Bounds::default() }
}

#[test]
fn two_terms_are_safe_and_counted_alike_every_time() {
    let first = search(&elections());
    assert_eq!(first, search(&elections()));
    assert!(first.scenes > 500, "{first:?}");
}

#[test]
fn worlds_that_differ_in_names_only_are_one() {
    let named = search(&Bounds { symmetry: false, ..elections() });
    let unnamed = search(&elections());
    assert_eq!(unnamed.unreduced, named.scenes as u64);
    assert_eq!(named.unreduced, named.scenes as u64);
    assert!(unnamed.scenes * 5 < named.scenes);
}

#[test]
fn commands_heartbeats_and_reads_in_one_term_are_safe() {
    let one = Bounds { max_term: 1, ..elections() };
    search(&Bounds { proposals: 1, heartbeats: 1, max_term: 1, nodes: 2, ..elections() });
    search(&Bounds { proposals: 1, ..one.clone() });
    search(&Bounds { reads: 1, ..one });
}

#[test]
fn slow_disks_are_safe() {
    search(&Bounds { max_term: 1, proposals: 1, saves: Saves::Later, ..elections() });
    search(&Bounds { max_term: 1, crashes: 1, saves: Saves::Later, ..elections() });
}

#[test]
fn pre_votes_and_leaders_that_step_down_are_safe() {
    search(&Bounds { pre_vote: true, max_term: 1, campaigns: 2, ..elections() });
    search(&Bounds { max_term: 1, check_quorum: true, heartbeats: 1, proposals: 1, ..elections() });
}

#[test]
fn logs_that_differ_are_made_alike() {
    let logs = vec![vec![1, 1, 2], vec![1, 1, 1], vec![1]];
    search(&Bounds { logs, max_term: 3, ..elections() });
}

#[test]
fn one_and_two_servers_are_safe() {
    search(&Bounds { nodes: 1, crashes: 1, proposals: 2, ..elections() });
    search(&Bounds { nodes: 2, crashes: 1, proposals: 1, ..elections() });
}

#[test]
fn a_search_ends_at_its_limit() {
    let cut = explore(&Bounds { max_states: 100, ..elections() }, &mut |_| {});
    let summary = cut.unwrap_or_else(|found| panic!("{found}"));
    assert!(!summary.complete && summary.states >= 100, "{summary:?}");
}

#[cfg(feature = "mutants")]
mod mutants {
    use actix_raft_core::mutants::{Mutant, plant};
    use actix_raft_sim::explore::{Bounds, Counterexample, explore};

    /// What the search finds while this bug is planted.
    fn found(mutant: Mutant, bounds: &Bounds) -> Counterexample {
        plant(Some(mutant));
        let found = explore(bounds, &mut |_| {});
        plant(None);
        *found.expect_err(mutant.name())
    }

    #[test]
    fn old_terms_committed_by_counting_are_found_as_in_figure_8() {
        let figure_8 = Bounds {
            logs: vec![vec![1, 2], vec![1, 3], vec![1]],
            max_term: 5,
            proposals: 0,
            crashes: 0,
            single_entries: true,
            ..Bounds::default()
        };
        let found = found(Mutant::CommitsOldTerms, &figure_8);
        assert!(found.broken.contains("Leader Completeness"), "{found}");
    }

    #[test]
    fn a_vote_without_a_look_at_the_log_loses_a_commit() {
        let found = found(Mutant::VoteWithoutLogCheck, &super::elections());
        assert!(found.broken.contains("Leader Completeness"), "{found}");
        // Two elections with a request and an answer each, and a commit with an append and an
        // acknowledgement: nothing in it is superfluous.
        assert_eq!(found.steps.len(), 8, "{found}");
        assert!(found.steps.iter().rev().skip(1).all(|step| step.servers.len() == 3));
    }

    #[test]
    fn a_vote_that_is_given_twice_is_found() {
        let found = found(Mutant::TwoVotesInATerm, &super::elections());
        assert!(found.broken.contains("one vote in a term"), "{found}");
        assert_eq!(found.steps.len(), 4, "{found}");
    }
}
