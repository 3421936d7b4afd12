//! The operator: changes the members again and again, and hands leadership over.

use std::time::Duration;

use actix_raft::messages::NodeId;
use actix_raft_net::transport::Transport;
use tokio::time::{sleep, timeout};

use crate::client::Office;
use crate::dice::Dice;
use crate::node::rpc_addr;
use crate::record::Phase;
use crate::wire::{Answer, Ask, decode_answer, encode_ask};

/// How long the operator waits for the end of a change.
const PATIENCE: Duration = Duration::from_secs(4);

/// How often the operator goes where it is told that the leader is.
const REDIRECTIONS: u32 = 3;

/// Changes things until the run is over: while the cluster is disturbed, one of its nodes is no
/// member; at last all are, and only the leader changes.
pub async fn run(office: Office) -> turmoil::Result {
    let transport = office.transport().await?;
    let mut dice = Dice::new(office.seed, 200);
    let mut leader = office.nodes[0];
    loop {
        let phase = office.record.phase();
        let (pause, ask) = match phase {
            Phase::Disturbed => (dice.millis(300..1500), choose(&office.nodes, &mut dice)),
            Phase::Healed if office.record.lock().all_are_members && dice.percent(20) => {
                (dice.millis(50..200), Ask::Transfer)
            }
            Phase::Healed => (dice.millis(50..200), Ask::Members(office.nodes.clone())),
            Phase::Over => return Ok(()),
        };
        sleep(pause).await;
        for _ in 0..REDIRECTIONS {
            let answer = request(&transport, leader, &ask).await;
            office.record.note(format_args!("operator {ask:?} at n{leader}: {answer:?}"));
            match answer {
                Answer::NotLeader(Some(known)) => leader = known,
                Answer::Changed => {
                    note_changed(&ask, phase, &office);
                    break;
                }
                _ => {
                    leader = office.nodes[dice.below(office.nodes.len() as u64) as usize];
                    break;
                }
            }
        }
    }
}

fn note_changed(ask: &Ask, phase: Phase, office: &Office) {
    let mut recorded = office.record.lock();
    recorded.all_are_members |= phase == Phase::Healed;
    match ask {
        Ask::Members(_) if phase != Phase::Disturbed => {}
        Ask::Members(_) => recorded.counts.changes += 1,
        _ => recorded.counts.transfers += 1,
    }
}

fn choose(nodes: &[NodeId], dice: &mut Dice) -> Ask {
    if dice.percent(30) {
        return Ask::Transfer;
    }
    let mut members = nodes.to_vec();
    members.remove(dice.below(nodes.len() as u64) as usize);
    Ask::Members(members)
}

async fn request(transport: &Transport, to: NodeId, ask: &Ask) -> Answer {
    let address = rpc_addr(to);
    let answer = transport.request(to, &address, encode_ask(ask));
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => decode_answer(&answer),
        Ok(Err(_)) | Err(_) => Answer::Unknown,
    }
}
