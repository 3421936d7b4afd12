//! An operator's requests, as the servers carry them out.
//!
//! ```text
//!   POST /v1/members, /v1/transfer   the leader's: forwarded to it
//!   POST /v1/snapshot, /v1/purge, /v1/elect, /v1/config   of the server that is asked
//! ```

use actix_raft::admin::{
    self, ChangeAnswer, Changed, ConfigChangeError, MemberChange, TransferLeadershipError,
};
use actix_raft::client::Client;
use actix_raft::messages::{Address, Index, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{Administered, Answer, Failed, Failure};
use crate::state::KvState;

/// What only the leader does, as a follower forwards it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum LeaderCommand {
    ChangeMembers(ChangeMembers),
    Transfer(Transfer),
}

/// The body of `POST /v1/members`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeMembers {
    /// Done as one change.
    pub(crate) changes: Vec<Change>,
    /// The index of the configuration that the change is meant for.
    #[serde(default)]
    pub(crate) expected: Option<u64>,
    /// When to answer.
    #[serde(default)]
    pub(crate) answer: AnswerAt,
}

/// One change.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Change {
    Add { id: u64, raft: String, http: String },
    AddNonVoter { id: u64, raft: String, http: String },
    Promote { id: u64 },
    Demote { id: u64 },
    Move { id: u64, raft: String, http: String },
    Remove { id: u64 },
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnswerAt {
    Joint,
    #[default]
    Final,
}

/// The body of `POST /v1/transfer`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transfer {
    /// The next leader.
    #[serde(default)]
    pub(crate) to: Option<u64>,
}

impl ChangeMembers {
    pub(crate) fn changes(&self) -> Vec<MemberChange> {
        self.changes.iter().cloned().map(MemberChange::from).collect()
    }

    pub(crate) fn expected(&self) -> Option<Index> {
        self.expected.map(Index)
    }
}

impl From<Change> for MemberChange {
    fn from(change: Change) -> MemberChange {
        match change {
            Change::Add { id, raft, http } => {
                MemberChange::AddVoter(NodeId(id), Address::new(raft, http))
            }
            Change::AddNonVoter { id, raft, http } => {
                MemberChange::AddNonVoter(NodeId(id), Address::new(raft, http))
            }
            Change::Promote { id } => MemberChange::Promote(NodeId(id)),
            Change::Demote { id } => MemberChange::Demote(NodeId(id)),
            Change::Move { id, raft, http } => {
                MemberChange::Move(NodeId(id), Address::new(raft, http))
            }
            Change::Remove { id } => MemberChange::Remove(NodeId(id)),
        }
    }
}

impl From<AnswerAt> for ChangeAnswer {
    fn from(answer: AnswerAt) -> ChangeAnswer {
        match answer {
            AnswerAt::Joint => ChangeAnswer::Joint,
            AnswerAt::Final => ChangeAnswer::Final,
        }
    }
}

/// Does what an operator wants, on the leader.
pub(crate) async fn administer_here(raft: &Client<KvState>, command: &str) -> Answer {
    match serde_json::from_str(command) {
        Ok(LeaderCommand::ChangeMembers(change)) => change_members(raft, &change).await,
        Ok(LeaderCommand::Transfer(transfer)) => hand_over(raft, &transfer).await,
        Err(error) => Failed::new(Failure::BadRequest, error.to_string()).into(),
    }
}

async fn change_members(raft: &Client<KvState>, change: &ChangeMembers) -> Answer {
    let asked = admin::ChangeMembers {
        changes: change.changes(),
        answer: change.answer.into(),
        expected: change.expected(),
    };
    let error = match raft.change_members(asked).await {
        Ok(Changed::Joint { index }) => {
            return administered(200, &json!({ "state": "joint", "index": index.0 }));
        }
        Ok(Changed::Final { index }) => {
            return administered(200, &json!({ "state": "final", "index": index.0 }));
        }
        Err(error) => error,
    };
    let code = match &error {
        ConfigChangeError::NotLeader { .. } => return failed(Failure::NoLeader, &error),
        ConfigChangeError::Stopped { .. } => return failed(Failure::Stopping, &error),
        ConfigChangeError::OutcomeUnknown { .. } => return failed(Failure::OutcomeUnknown, &error),
        ConfigChangeError::Noop => "noop",
        ConfigChangeError::InoperableConfig(_) => "inoperable",
        ConfigChangeError::AnotherChange => "another_change",
        ConfigChangeError::OtherConfiguration { .. } => "other_configuration",
        ConfigChangeError::NotAMember(_) => "not_a_member",
        ConfigChangeError::Contradiction(_) => "contradiction",
        ConfigChangeError::NotCaughtUp(_) => "not_caught_up",
        ConfigChangeError::TakenBack => "taken_back",
    };
    refused(code, &error)
}

async fn hand_over(raft: &Client<KvState>, transfer: &Transfer) -> Answer {
    let error = match raft.transfer_leadership(transfer.to.map(NodeId)).await {
        Ok(leader) => return administered(200, &json!({ "leader": leader.0 })),
        Err(error) => error,
    };
    let code = match &error {
        TransferLeadershipError::NotLeader { .. } => return failed(Failure::NoLeader, &error),
        TransferLeadershipError::Stopped { .. } => return failed(Failure::Stopping, &error),
        TransferLeadershipError::NotAVoter(_) => "not_a_voter",
        TransferLeadershipError::NoTarget => "no_target",
        TransferLeadershipError::TimedOut(_) => "timed_out",
        TransferLeadershipError::Replaced(_) => "replaced",
    };
    refused(code, &error)
}

fn administered(status: u32, body: &Value) -> Answer {
    Answer::Administered(Administered { status, body: body.to_string() })
}

fn refused(code: &str, error: &impl ToString) -> Answer {
    administered(409, &json!({ "error": code, "message": error.to_string(), "leader": null }))
}

fn failed(failure: Failure, error: &impl ToString) -> Answer {
    Failed::new(failure, error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_read_from_json_and_what_is_unknown_is_refused() {
        let body = json!({ "changes": [
            { "op": "add", "id": 4, "raft": "d:1", "http": "d:2" },
            { "op": "remove", "id": 1 },
        ] });
        let read: ChangeMembers = serde_json::from_value(body).unwrap();
        assert_eq!((read.expected(), read.answer), (None, AnswerAt::Final));
        assert_eq!(
            read.changes(),
            [
                MemberChange::AddVoter(NodeId(4), Address::new("d:1", "d:2")),
                MemberChange::Remove(NodeId(1)),
            ]
        );
        for body in [
            json!({ "changes": [{ "op": "kick", "id": 1 }] }),
            json!({ "changes": [{ "op": "remove", "id": 1, "force": true }] }),
            json!({ "change": [] }),
        ] {
            assert!(serde_json::from_value::<ChangeMembers>(body).is_err());
        }
    }
}
