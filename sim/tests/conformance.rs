//! The storages that we bring pass the suite, and storages that break a contract don't.

#[path = "conformance/broken.rs"]
mod broken;
#[path = "conformance/flawed.rs"]
mod flawed;
#[path = "conformance/pieces.rs"]
mod pieces;
#[path = "conformance/subjects.rs"]
mod subjects;

use actix_raft_sim::conformance::{Contract, Failure, Report, Subject, check};
use broken::{Fault, Plain};
use flawed::{Flaw, WithFlaw};
use subjects::{InMemory, OnCrashDisk, OnRealDisk};

fn run(mut subject: impl Subject) -> Result<Report, Failure> {
    actix::System::new().block_on(check(&mut subject))
}

const OF_RESTARTS: [Contract; 3] =
    [Contract::Restart, Contract::LastApplied, Contract::SnapshotRestart];
const OF_CRASHES: [Contract; 5] = [
    Contract::OpensAfterPowerFailure,
    Contract::PowerFailure,
    Contract::AtomicSaves,
    Contract::FailStop,
    Contract::SnapshotPowerFailure,
];

fn all_but(skipped: &[Contract]) -> Report {
    let (skipped, held) = Contract::ALL.iter().partition(|contract| skipped.contains(contract));
    Report { held, skipped }
}

#[test]
fn the_storage_in_memory_conforms() {
    let skipped = [&[Contract::DiskId], &OF_RESTARTS[..], &OF_CRASHES].concat();
    assert_eq!(run(InMemory), Ok(all_but(&skipped)));
}

#[test]
fn the_durable_storage_conforms_in_a_directory() {
    assert_eq!(run(OnRealDisk::default()), Ok(all_but(&OF_CRASHES)));
}

#[test]
fn the_durable_storage_conforms_on_a_disk_whose_power_fails() {
    assert_eq!(run(OnCrashDisk::default()), Ok(all_but(&[])));
}

#[test]
fn storages_without_a_fault_conform_or_those_with_one_would_prove_nothing() {
    assert_eq!(run(Plain::new(None)), Ok(all_but(&OF_CRASHES)));
    assert_eq!(run(WithFlaw::new(None)), Ok(all_but(&OF_RESTARTS)));
}

#[test]
fn a_broken_storage_is_told_which_contract_it_breaks() {
    let broken = [
        (Fault::StartsWithATerm, Contract::StartsEmpty),
        (Fault::ReadsOneTooFew, Contract::ReadRange),
        (Fault::NothingIfTooLarge, Contract::MaxBytes),
        (Fault::IgnoresMaxBytes, Contract::MaxBytes),
        (Fault::LosesAddresses, Contract::Payloads),
        (Fault::LosesOutgoingVoters, Contract::Payloads),
        (Fault::LosesGoal, Contract::Payloads),
        (Fault::LosesFounders, Contract::Payloads),
        (Fault::CutsLongCommands, Contract::Payloads),
        (Fault::KeepsFirstRunOnly, Contract::Append),
        (Fault::KeepsTheTail, Contract::Truncate),
        (Fault::CutsOneTooMany, Contract::Truncate),
        (Fault::ErrorIfGone, Contract::ReadGone),
        (Fault::ForgetsVote, Contract::HardState),
        (Fault::VoteZeroIsNone, Contract::HardState),
        (Fault::ForgetsTrust, Contract::HardState),
        (Fault::NoTermWithEntries, Contract::HardState),
        (Fault::ForgetsBase, Contract::Base),
        (Fault::StaleTermStarts, Contract::StoredState),
        (Fault::StaleMemberships, Contract::StoredState),
        (Fault::AnswersOutOfOrder, Contract::SaveOrder),
        (Fault::RefusesTheHundredth, Contract::SaveOrder),
        (Fault::TornInMemory, Contract::ReadDuringSaves),
        (Fault::OneResponseTooFew, Contract::Responses),
        (Fault::ResponsesReversed, Contract::Responses),
        (Fault::ResponseToBlank, Contract::Responses),
        (Fault::LosesTheLastSave, Contract::Restart),
        (Fault::AppliedTooMuch, Contract::LastApplied),
        (Fault::AppliedIsWrong, Contract::LastApplied),
        (Fault::TiresOfManySaves, Contract::History),
        (Fault::OneDiskForAll, Contract::DiskId),
        (Fault::NewDiskEachTime, Contract::DiskId),
        (Fault::PieceTooLong, Contract::SnapshotPieces),
        (Fault::NoLastPiece, Contract::SnapshotPieces),
        (Fault::ReadsTheLatest, Contract::SnapshotPieces),
        (Fault::StoresDamagedPieces, Contract::ReceivedPieces),
        (Fault::StoresAtAnyOffset, Contract::ReceivedPieces),
        (Fault::MixesSnapshots, Contract::ReceivedPieces),
        (Fault::InstallsNothing, Contract::Install),
        (Fault::InstallsNoSessions, Contract::Install),
        (Fault::InstalledIsNotRead, Contract::Install),
        (Fault::InstallsAnyBytes, Contract::RefusedSnapshot),
        (Fault::InstallsAPart, Contract::RefusedSnapshot),
        (Fault::KeepsRefusedPieces, Contract::RefusedSnapshot),
        (Fault::RefusesWithATrace, Contract::RefusedSnapshot),
        (Fault::BuildOvertakesApply, Contract::BuildSnapshot),
        (Fault::CapturesLate, Contract::BuildSnapshot),
        (Fault::KeepsContraryEntries, Contract::Purge),
        (Fault::PurgesAll, Contract::Purge),
        (Fault::ReadsPurged, Contract::Purge),
        (Fault::PurgedByASnapshot, Contract::Purge),
        (Fault::ForgetsSnapshot, Contract::SnapshotRestart),
        (Fault::SnapshotWithoutItsState, Contract::SnapshotRestart),
    ];
    for (fault, contract) in broken {
        let failure = run(Plain::new(Some(fault))).expect_err(&format!("{fault:?}"));
        assert_eq!(failure.contract, contract, "{fault:?}: {failure}");
    }
}

#[test]
fn a_storage_that_is_broken_only_when_the_power_fails_is_told_so_too() {
    let broken = [
        (Flaw::FailsToOpen, &[Contract::OpensAfterPowerFailure][..]),
        (Flaw::AcknowledgesBeforeSync, &[Contract::PowerFailure]),
        (Flaw::SplitsSaves, &[Contract::AtomicSaves]),
        // A snapshot that is gone is missed, or the log that begins behind it can't be opened: which
        // is met first depends on how far the log's thread had come.
        (
            Flaw::SnapshotNotNamed,
            &[Contract::SnapshotPowerFailure, Contract::OpensAfterPowerFailure],
        ),
        (Flaw::GoesOnAfterAnError, &[Contract::FailStop]),
    ];
    for (flaw, contracts) in broken {
        let failure = run(WithFlaw::new(Some(flaw))).expect_err(&format!("{flaw:?}"));
        assert!(contracts.contains(&failure.contract), "{flaw:?}: {failure}");
    }
}

#[test]
fn a_failure_says_what_was_done_what_was_expected_and_what_was_found() {
    let failure = run(Plain::new(Some(Fault::KeepsTheTail))).unwrap_err().to_string();
    assert_eq!(
        failure,
        "a run of entries replaces everything from its first index on; but an entry in the middle \
         is saved: expected nothing behind 1..=11 of term 1, 12..=12 of term 3, found 13@1 (a \
         command of 41 bytes, [01, 40, 42, 0f, 00, 00, 00, 00]...)"
    );
}
