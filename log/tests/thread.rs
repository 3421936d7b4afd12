//! The log's thread: its queue, its helper, its end; and readers beside it.

mod support;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use actix_raft_core::types::Index;
use actix_raft_log::crash::{CrashDisk, Survives};
use actix_raft_log::disk::{Disk, DiskFile};
use actix_raft_log::error::{ReadError, WriteError};
use actix_raft_log::real::RealDisk;
use actix_raft_log::wal::{LogOptions, Wal};
use actix_raft_log::writer::Log;
use support::{Model, base, begin_after, build, entry, open, options, run};

fn save(log: &Log, term: u64, first: u64, last: u64) -> Receiver<Result<(), WriteError>> {
    let (answer, answered) = mpsc::channel();
    log.save(run(term, first, last), move |result| answer.send(result).unwrap());
    answered
}

/// Holds the log's thread until what comes back is dropped, so that what is saved meanwhile waits.
fn hold(log: &Log, index: u64) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel();
    let (held, holds) = mpsc::channel();
    log.save(run(1, index, index), move |_| {
        held.send(()).unwrap();
        wait.recv().unwrap_err();
    });
    holds.recv().unwrap();
    go
}

#[test]
fn a_save_that_is_refused_does_not_hurt_those_it_waited_with() {
    let disk = CrashDisk::new();
    let (log, _) = Log::open(Arc::new(disk), options()).unwrap();
    let go = hold(&log, 1);
    let answers = [save(&log, 1, 2, 2), save(&log, 1, 9, 9), save(&log, 1, 3, 3)];
    drop(go);
    let [before, gap, after] = answers.map(|answer| answer.recv().unwrap());
    assert!(before.is_ok() && after.is_ok());
    assert!(matches!(gap, Err(WriteError::Gap { first: Index(9), .. })), "{gap:?}");
    assert_eq!(log.reader().read(Index(1), Index(3), 10_000).unwrap().len(), 3);
}

#[test]
fn what_is_queued_when_the_log_is_closed_is_written_and_what_comes_later_is_told() {
    let disk = CrashDisk::new();
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    let other = log.clone();
    let go = hold(&log, 1);
    let queued = save(&log, 1, 2, 9);
    let closing = thread::spawn(move || log.close());
    drop(go);
    closing.join().unwrap().unwrap();
    assert!(queued.recv().unwrap().is_ok());
    let late = save(&other, 1, 10, 10).recv().unwrap();
    assert!(matches!(late, Err(WriteError::Closed)), "{late:?}");
    let (wal, _) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(wal.state().last_log.index, Index(9));
}

#[test]
fn the_last_handle_may_be_dropped_by_an_answer() {
    let (log, _) = Log::open(Arc::new(CrashDisk::new()), options()).unwrap();
    let (answer, answered) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let held = log.clone();
    log.save(run(1, 1, 1), move |result| {
        wait.recv().unwrap_err();
        drop(held);
        answer.send(result).unwrap();
    });
    drop(log);
    drop(go);
    assert!(answered.recv().unwrap().is_ok());
}

#[test]
fn nobody_waits_for_ever_when_an_answer_panics() {
    let (log, _) = Log::open(Arc::new(CrashDisk::new()), options()).unwrap();
    let go = hold(&log, 1);
    log.save(run(1, 2, 2), |_| panic!("an application's bug, told on purpose"));
    let waiting = save(&log, 1, 3, 3);
    drop(go);
    let told = waiting.recv().unwrap();
    assert!(matches!(told, Err(WriteError::Closed)), "{told:?}");
    let late = save(&log, 1, 4, 4).recv().unwrap();
    assert!(matches!(late, Err(WriteError::Closed)), "{late:?}");
    assert!(log.close().is_err());
}

#[test]
fn segments_that_are_no_longer_needed_are_removed_when_there_is_time() {
    let disk = CrashDisk::new();
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    for first in (1..400).step_by(4) {
        save(&log, 1, first, first + 3).recv().unwrap().unwrap();
    }
    let segments = || {
        disk.list().unwrap().into_iter().filter(|name| name.ends_with(".wal")).collect::<Vec<_>>()
    };
    let before = segments().len();
    assert!(before > 10);
    build(&log.snapshots(), base(1, 390)).unwrap();
    let (answer, answered) = mpsc::channel();
    log.save(begin_after(base(1, 390)), move |result| answer.send(result).unwrap());
    answered.recv().unwrap().unwrap();
    // One goes with each save, if there is no rest between them.
    for first in (401..).step_by(4).take(before) {
        save(&log, 1, first, first + 3).recv().unwrap().unwrap();
    }
    log.close().unwrap();
    assert!(!segments().contains(&"0000000000000001.wal".to_string()));
    let (wal, state) = open(&disk.crash(Survives::Nothing)).unwrap();
    assert_eq!(state.base, base(1, 390));
    assert_eq!(Model::of(&wal).entries.first(), Some(&entry(1, 391)));
}

#[test]
fn a_disk_that_fills_up_is_told_before_it_is_full_and_again_when_there_is_room() {
    let disk = CrashDisk::new();
    let options = LogOptions { low_space_bytes: 5 * 2048, ..options() };
    let (log, _) = Log::open(Arc::new(disk.clone()), options).unwrap();
    assert!(!log.is_low_on_space());
    disk.set_capacity(Some(20 * 2048));
    let mut index = 1;
    while !log.is_low_on_space() {
        save(&log, 1, index, index).recv().unwrap().unwrap();
        index += 1;
    }
    let free = disk.free_space().unwrap().unwrap();
    assert!(free > 2 * 2048, "there is room for what was accepted already: {free}");
    // Others have removed something: nobody would know who does not ask.
    disk.set_capacity(Some(40 * 2048));
    assert!(log.is_low_on_space() && !log.check_space() && !log.is_low_on_space());
    disk.set_capacity(Some(20 * 2048));
    assert!(log.check_space());
    build(&log.snapshots(), base(1, index - 1)).unwrap();
    save(&log, 1, index, index).recv().unwrap().unwrap();
    let (answer, answered) = mpsc::channel();
    log.save(begin_after(base(1, index - 1)), move |result| answer.send(result).unwrap());
    answered.recv().unwrap().unwrap();
    log.close().unwrap();
    assert!(disk.free_space().unwrap().unwrap() > free, "what was purged is free");
}

/// A directory in which whoever makes a segment ahead of time has to wait.
struct SlowHelper {
    disk: RealDisk,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    waited: AtomicBool,
}

struct SlowFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl Gate {
    fn pass(&self) {
        if thread::current().name() == Some("raft-log-helper") {
            self.waited.store(true, Ordering::SeqCst);
            let open = self.open.lock().unwrap();
            drop(self.opened.wait_while(open, |open| !*open).unwrap());
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Disk for SlowHelper {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        Ok(Box::new(SlowFile { file, gate: Arc::clone(&self.gate) }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

impl DiskFile for SlowFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.pass();
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_slow_helper_overwrites_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = RealDisk::open(parent.path()).unwrap();
    let disk = SlowHelper { disk, gate: Arc::clone(&gate) };
    let (log, _) = Log::open(Arc::new(disk), options()).unwrap();
    for first in (1..80).step_by(4) {
        let answer = save(&log, 1, first, first + 3);
        // If the log did without the helper, it would get to the end before he goes on.
        let saved = answer.recv_timeout(BRIEFLY).unwrap_or_else(|_| {
            gate.open();
            answer.recv().unwrap()
        });
        saved.unwrap();
    }
    gate.open();
    log.close().unwrap();
    assert!(gate.waited.load(Ordering::SeqCst), "there was a helper");

    let disk = RealDisk::open(parent.path()).unwrap();
    assert!(!disk.list().unwrap().iter().any(|name| name.ends_with(".tmp")));
    let (wal, _) = Wal::open(Arc::new(disk), options()).unwrap();
    let expected: Vec<_> = (1..=80).map(|index| entry(1, index)).collect();
    assert_eq!(Model::of(&wal).entries, expected);
}

/// Time for what happens at once, if it happens.
const BRIEFLY: Duration = Duration::from_millis(200);

#[test]
fn readers_see_what_is_durable_and_nothing_else_while_the_log_is_written() {
    const LAST: u64 = 3_000;
    let disk = CrashDisk::new();
    let (log, _) = Log::open(Arc::new(disk), options()).unwrap();
    let (durable, written) = (Arc::new(Mutex::new(0)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (reader, durable) = (log.reader(), Arc::clone(&durable));
            let written = Arc::clone(&written);
            thread::spawn(move || {
                while !written.load(Ordering::SeqCst) {
                    let acknowledged = *durable.lock().unwrap();
                    let first = (acknowledged / 2).max(1);
                    match reader.read(Index(first), Index(acknowledged), 5_000) {
                        Ok(read) => {
                            assert!(read.iter().zip(first..).all(|(it, n)| *it == entry(1, n)))
                        }
                        Err(ReadError::Beyond { .. }) => assert_eq!(acknowledged, 0),
                        Err(error) => panic!("{error}"),
                    }
                    let beyond = reader.read(Index(LAST + 1), Index(LAST + 1), 1);
                    assert!(matches!(beyond, Err(ReadError::Beyond { .. })));
                }
            })
        })
        .collect();
    for index in 1..=LAST {
        let durable = Arc::clone(&durable);
        log.save(run(1, index, index), move |result| {
            result.unwrap();
            *durable.lock().unwrap() = index;
        });
    }
    let end = save(&log, 1, LAST, LAST).recv().unwrap();
    written.store(true, Ordering::SeqCst);
    end.unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn an_entry_is_not_read_before_its_sync_has_returned() {
    let disk = CrashDisk::new();
    let (mut wal, _) = open(&disk).unwrap();
    let reader = wal.reader();
    wal.save(&[run(1, 1, 1)]).unwrap();
    disk.power_off_at(disk.operations() + 2);
    wal.save(&[run(1, 2, 2)]).unwrap_err();
    assert!(matches!(reader.read(Index(2), Index(2), 1), Err(ReadError::Beyond { .. })));
    assert_eq!(reader.read(Index(1), Index(1), 1).unwrap(), [entry(1, 1)]);
}
