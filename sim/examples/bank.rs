//! An application of one's own under simulation: a bank, whose money must neither appear nor vanish
//! whatever happens to its servers.
//!
//! `cargo run --release -p actix-raft-sim --example bank` runs 200 clusters of it through storms.
//! The state machine here is the one that would be handed to a real node, unchanged; only
//! [`Workload`] is for the simulation.

use std::error::Error;

use actix_raft::application::{Application, DecodeError, StateMachine};
use actix_raft::messages::Index;
use actix_raft_sim::dice::{Chance, Dice};
use actix_raft_sim::history::{Body, Operation};
use actix_raft_sim::profile::Profile;
use actix_raft_sim::simulation::Simulation;
use actix_raft_sim::workload::{Request, Workload};
use bytes::{Buf, BufMut, Bytes, BytesMut};

const ACCOUNTS: usize = 8;
const OPENING_BALANCE: u64 = 100;

/// The state machine.
struct Bank {
    balances: [u64; ACCOUNTS],
}

/// Moves money, if it is there. The number tells transfers apart.
struct Transfer {
    number: u64,
    from: u8,
    to: u8,
    amount: u64,
}

/// Whether a transfer took place.
#[derive(Clone, Debug, PartialEq)]
enum Receipt {
    Done,
    InsufficientFunds,
}

impl Application for Bank {
    type Command = Transfer;
    type Response = Receipt;
    type Rejection = std::convert::Infallible;

    fn encode(transfer: Transfer) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(transfer.number);
        bytes.put_u8(transfer.from);
        bytes.put_u8(transfer.to);
        bytes.put_u64_le(transfer.amount);
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Result<Transfer, DecodeError> {
        let number = bytes.try_get_u64_le()?;
        let (from, to) = (bytes.try_get_u8()?, bytes.try_get_u8()?);
        Ok(Transfer { number, from, to, amount: bytes.try_get_u64_le()? })
    }
}

impl StateMachine for Bank {
    fn apply(&mut self, _: Index, transfer: Transfer) -> Receipt {
        let Transfer { from, to, amount, .. } = transfer;
        let Some(left) = self.balances[usize::from(from)].checked_sub(amount) else {
            return Receipt::InsufficientFunds;
        };
        self.balances[usize::from(from)] = left;
        self.balances[usize::from(to)] += amount;
        Receipt::Done
    }
}

/// What its clients do.
#[derive(Default)]
struct Customers {
    transfers: u64,
}

impl Workload for Customers {
    type Machine = Bank;
    /// An audit: all balances.
    type Query = ();
    type Answer = [u64; ACCOUNTS];

    fn machine(&self) -> Bank {
        Bank { balances: [OPENING_BALANCE; ACCOUNTS] }
    }

    fn next(&mut self, _client: usize, dice: &mut Dice) -> Request<Customers> {
        if dice.happens(Chance::percent(20)) {
            return Request::Read(());
        }
        self.transfers += 1;
        let (from, to) = (dice.place(ACCOUNTS) as u8, dice.place(ACCOUNTS) as u8);
        Request::Write(Transfer { number: self.transfers, from, to, amount: dice.below(150) })
    }

    fn read(bank: &Bank, (): &()) -> [u64; ACCOUNTS] {
        bank.balances
    }

    fn fingerprint(bank: &Bank) -> u64 {
        bank.balances.iter().fold(0, |hash, balance| hash * 1_000_003 + balance)
    }

    fn check(&self, history: &[Operation<Customers>]) -> Result<(), String> {
        for operation in history {
            if let Body::Read { answer: Some(balances), .. } = &operation.body {
                let total: u64 = balances.iter().sum();
                if total != OPENING_BALANCE * ACCOUNTS as u64 {
                    return Err(format!("an audit finds {total} in {balances:?}"));
                }
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let simulation = Simulation::new(Customers::default).profile(Profile::Storm);
    let summary = simulation.run(1..=200)?;
    let (done, crashes) = (summary.counts.done, summary.counts.crashes);
    println!("{done} operations of customers, {crashes} crashes, and no money was lost");
    Ok(())
}
