//! Power failures at every moment: what was acknowledged is there, and a save is whole or absent.

mod support;

use actix_raft_log::crash::{CrashDisk, Survives};
use support::{Model, SURVIVALS, Step, open, perform, run, script, vote};

/// Runs the script until the disk fails: what was acknowledged, and what would have been next.
fn run_until_failure(disk: &CrashDisk, steps: &[Step]) -> (Model, Option<Model>) {
    let mut model = Model::default();
    let Ok((mut wal, _)) = open(disk) else { return (model, None) };
    for step in steps {
        let mut after = model.clone();
        after.apply(step);
        if !perform(&mut wal, &model, step) {
            return (model, Some(after));
        }
        model = after;
    }
    (model, None)
}

/// Opens the log, which must hold what was acknowledged or the save in progress too; then goes on.
fn check(disk: &CrashDisk, acknowledged: &Model, next: Option<&Model>, context: &str) {
    let (mut wal, _) = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut found = Model::of(&wal);
    assert!(
        found == *acknowledged || Some(&found) == next,
        "{context}: found {found:?}, acknowledged {acknowledged:?}, in progress {next:?}"
    );
    let last = found.entries.last().map_or(found.base.last_included.index, |entry| entry.index);
    let more = Step::Save(vec![run(9, last.0 + 1, last.0 + 3)]);
    assert!(perform(&mut wal, &found, &more), "{context}");
    found.apply(&more);
    assert_eq!(Model::of(&wal), found, "{context}");
    drop(wal);
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(Model::of(&wal), found, "{context}, opened again");
}

#[test]
fn a_power_failure_at_any_operation_loses_nothing_that_was_acknowledged() {
    let steps = script();
    let all = CrashDisk::new();
    let (whole, failed) = run_until_failure(&all, &steps);
    assert!(failed.is_none() && whole.entries.len() == 8, "the script runs to its end");
    for operation in 1..=all.operations() + 1 {
        for survives in SURVIVALS {
            let disk = CrashDisk::new();
            disk.power_off_at(operation);
            let (acknowledged, next) = run_until_failure(&disk, &steps);
            let context = format!("power off at operation {operation}, survives {survives:?}");
            check(&disk.crash(survives), &acknowledged, next.as_ref(), &context);
        }
    }
}

#[test]
fn a_power_failure_while_a_log_is_opened_loses_nothing_either() {
    let steps = script();
    // A log with a torn tail, so that opening has something to mend.
    let torn = |survives| {
        let disk = CrashDisk::new();
        let mut operation = 0;
        loop {
            operation += 3;
            let disk_off = CrashDisk::new();
            disk_off.power_off_at(operation);
            let (acknowledged, next) = run_until_failure(&disk_off, &steps);
            if acknowledged.entries.len() > 30 || operation > 1000 {
                drop(disk);
                return (disk_off.crash(survives), acknowledged, next);
            }
        }
    };
    for survives in SURVIVALS {
        let (disk, acknowledged, next) = torn(survives);
        let mut operation = 1;
        loop {
            let opening = disk.crash(Survives::Everything);
            opening.power_off_at(operation);
            let opened = open(&opening).is_ok();
            for again in SURVIVALS {
                let context = format!("{survives:?}, opening off at {operation}, {again:?}");
                check(&opening.crash(again), &acknowledged, next.as_ref(), &context);
            }
            if opened {
                break;
            }
            operation += 1;
        }
    }
}

#[test]
fn after_a_failed_write_or_sync_nothing_more_is_acknowledged() {
    let steps = script();
    let all = CrashDisk::new();
    run_until_failure(&all, &steps);
    for operation in 4..=all.operations() {
        let disk = CrashDisk::new();
        disk.fail_at(operation, std::io::ErrorKind::StorageFull);
        let mut model = Model::default();
        let Ok((mut wal, _)) = open(&disk) else { continue };
        for step in &steps {
            if perform(&mut wal, &model, step) {
                model.apply(step);
                continue;
            }
            let error = wal.save(&[vote(9, None)]);
            match step {
                // It is tried again: the log has not suffered.
                Step::Snapshot(_) | Step::Install(_) if error.is_ok() => {
                    model.apply(&Step::Save(vec![vote(9, None)]));
                    assert!(perform(&mut wal, &model, step), "{step:?} at {operation}, again");
                    model.apply(step);
                }
                Step::Save(_)
                | Step::Purge(_)
                | Step::Install(_)
                | Step::Snapshot(_)
                | Step::Mark => {
                    let error = error.unwrap_err().to_string();
                    assert!(error.contains("/crash-disk/0000000000000"), "{error}");
                    assert!(!matches!(step, Step::Snapshot(_)), "at {operation}");
                    assert!(wal.mark().is_err() && wal.save(&[run(9, 1, 1)]).is_err());
                    break;
                }
            }
        }
        let context = format!("operation {operation} fails");
        if wal.mark().is_ok() {
            assert_eq!(Model::of(&wal), model, "{context}");
        }
    }
}

#[test]
fn what_opening_has_found_survives_a_power_failure() {
    let steps = script();
    let all = CrashDisk::new();
    run_until_failure(&all, &steps);
    for operation in 1..=all.operations() {
        let disk = CrashDisk::new();
        // The process dies of it, but not the system: what was not synced can be read.
        disk.fail_at(operation, std::io::ErrorKind::Other);
        let (acknowledged, next) = run_until_failure(&disk, &steps);
        let (wal, _) = open(&disk).unwrap();
        let found = Model::of(&wal);
        assert!(found == acknowledged || Some(&found) == next.as_ref(), "operation {operation}");
        drop(wal);
        // The server may have told others of it meanwhile, or gone on in a file whose name is new.
        let context = format!("operation {operation}");
        let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
        assert_eq!(Model::of(&wal), found, "{context}");
        check(&disk, &found, None, &context);
    }
}

#[test]
fn an_opening_that_fails_half_way_vouches_for_nothing() {
    let steps = script();
    let all = CrashDisk::new();
    run_until_failure(&all, &steps);
    for (operation, in_opening) in (1..=all.operations()).flat_map(|o| (1..=5).map(move |i| (o, i)))
    {
        let disk = CrashDisk::new();
        disk.fail_at(operation, std::io::ErrorKind::Other);
        let (acknowledged, next) = run_until_failure(&disk, &steps);
        // The process is started again while its disk still fails, and then once more.
        disk.fail_at(disk.operations() + in_opening, std::io::ErrorKind::Other);
        let _fails_or_is_done_before = open(&disk);
        disk.fail_never();
        let (mut wal, _) = open(&disk).unwrap();
        let mut found = Model::of(&wal);
        let context = format!("operation {operation}, and {in_opening} of opening");
        assert!(found == acknowledged || Some(&found) == next.as_ref(), "{context}");
        let last = found.entries.last().map_or(found.base.last_included.index, |e| e.index);
        let more = Step::Save(vec![run(9, last.0 + 1, last.0 + 1)]);
        assert!(perform(&mut wal, &found, &more), "{context}");
        found.apply(&more);
        drop(wal);
        check(&disk.crash(Survives::Nothing), &found, None, &context);
    }
}

#[test]
fn what_was_cut_is_no_damage_when_the_segment_is_an_older_one() {
    for survives in SURVIVALS {
        let disk = CrashDisk::new();
        let (mut wal, _) = open(&disk).unwrap();
        let mut model = Model::default();
        // A long save is torn; then a short one takes its place, and the next fits no more.
        disk.power_off_at(disk.operations() + 2);
        let torn = Step::Save(vec![run(1, 1, 15)]);
        assert!(!perform(&mut wal, &model, &torn));
        drop(wal);
        let disk = disk.crash(survives);
        let (mut wal, _) = open(&disk).unwrap();
        if wal.state().is_pristine() {
            for step in [Step::Save(vec![run(2, 1, 1)]), Step::Save(vec![run(2, 2, 60)])] {
                assert!(perform(&mut wal, &model, &step));
                model.apply(&step);
            }
        } else {
            model.apply(&torn);
        }
        drop(wal);
        check(&disk.crash(Survives::Nothing), &model, None, &format!("{survives:?}"));
    }
}

#[test]
fn a_segment_that_no_frame_fitted_into_is_no_gap() {
    let whole = CrashDisk::new();
    let (mut wal, _) = open(&whole).unwrap();
    let mut model = Model::default();
    let fill = Step::Save(vec![run(1, 1, 17)]);
    assert!(perform(&mut wal, &model, &fill));
    model.apply(&fill);
    // The power fails when the second segment has its name and no frame.
    while whole.bytes("0000000000000002.wal").is_none() {
        let last = model.entries.len() as u64;
        let step = Step::Save(vec![run(1, last + 1, last + 1)]);
        let probe = whole.crash(Survives::Everything);
        let before = probe.operations();
        let (mut other, _) = open(&probe).unwrap();
        let opened = probe.operations();
        assert!(perform(&mut other, &model, &step) && before < opened);
        if probe.bytes("0000000000000002.wal").is_some() {
            whole.power_off_at(whole.operations() + probe.operations() - opened - 1);
            assert!(!perform(&mut wal, &model, &step));
            break;
        }
        assert!(perform(&mut wal, &model, &step));
        model.apply(&step);
    }
    drop(wal);
    let disk = whole.crash(Survives::Nothing);
    let (mut wal, _) = open(&disk).unwrap();
    assert_eq!(Model::of(&wal), model);
    let last = model.entries.len() as u64;
    let large = Step::Save(vec![run(2, last + 1, last + 90)]);
    assert!(perform(&mut wal, &model, &large), "more than the second segment holds");
    model.apply(&large);
    let built = Step::Snapshot(last + 10);
    assert!(perform(&mut wal, &model, &built));
    model.apply(&built);
    let purge = Step::Purge(last + 10);
    let mut after = model.clone();
    after.apply(&purge);
    // And again while the purge removes the first segment, but not yet the second.
    let begin = disk.operations();
    for operation in 1.. {
        let disk = disk.crash(Survives::Everything);
        let (mut wal, _) = open(&disk).unwrap();
        disk.power_off_at(disk.operations() + operation);
        let purged = perform(&mut wal, &model, &purge);
        check(&disk.crash(Survives::Nothing), &model, Some(&after), &format!("{operation}"));
        if purged {
            break;
        }
    }
    assert_eq!(disk.operations(), begin);
}
