//! Where to reach a node: a member, one that is to become one, one that was, or one that called.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::messages::{MembershipConfig, NodeId};

/// How many nodes may introduce themselves: callers could invent ids without end.
const MAX_INTRODUCED: usize = 1024;

/// All addresses that this node has heard of.
#[derive(Default)]
pub(super) struct Addresses {
    /// The members that `members` was last told of.
    latest: Option<Arc<MembershipConfig>>,
    /// Where members are, and where those that are none any more were last: one that was removed
    /// is to learn of it.
    members: BTreeMap<NodeId, String>,
    /// Where nodes that have called say that they listen: for members without an address, and for
    /// a node that was not told of the cluster yet.
    introduced: BTreeMap<NodeId, String>,
}

impl Addresses {
    /// A node says where it is.
    pub(super) fn introduce(&mut self, node: NodeId, rpc_addr: &str) {
        if self.introduced.len() < MAX_INTRODUCED || self.introduced.contains_key(&node) {
            self.introduced.insert(node, rpc_addr.to_owned());
        }
    }

    /// Where a node is, of which the members that count now have the first say; then it itself.
    pub(super) fn of(
        &mut self,
        node: NodeId,
        members: Option<&Arc<MembershipConfig>>,
    ) -> Option<String> {
        if let Some(members) = members {
            self.learn(members);
            if let Some(address) = rpc_addr(members, node) {
                return Some(address);
            }
        }
        self.introduced.get(&node).or_else(|| self.members.get(&node)).cloned()
    }

    /// Where this node itself is, if these members are new and say so.
    pub(super) fn news_of(
        &mut self,
        own: NodeId,
        members: Option<&Arc<MembershipConfig>>,
    ) -> Option<String> {
        let members = members?;
        if self.latest.as_ref().is_some_and(|latest| Arc::ptr_eq(latest, members)) {
            return None;
        }
        self.learn(members);
        rpc_addr(members, own)
    }

    fn learn(&mut self, members: &Arc<MembershipConfig>) {
        if self.latest.as_ref().is_some_and(|latest| Arc::ptr_eq(latest, members)) {
            return;
        }
        self.latest = Some(Arc::clone(members));
        let to_come = members.goal().into_iter().flat_map(|goal| goal.members().keys());
        for node in members.members().keys().chain(to_come) {
            if let Some(address) = rpc_addr(members, *node) {
                self.members.insert(*node, address);
            }
        }
    }
}

/// Where a member, or one that is to become one, is; `None` if it has no address.
fn rpc_addr(members: &MembershipConfig, node: NodeId) -> Option<String> {
    let to_come = || members.goal().and_then(|goal| goal.address(node));
    let address = members.address(node).or_else(to_come)?;
    Some(address.rpc.clone()).filter(|rpc| !rpc.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Address;

    fn members(addresses: &[(u64, &str)]) -> MembershipConfig {
        let members = addresses.iter().map(|(id, rpc)| (NodeId(*id), Address::new(*rpc, "")));
        MembershipConfig::new([NodeId(1)], members).unwrap()
    }

    fn of(addresses: &mut Addresses, node: u64, members: &Arc<MembershipConfig>) -> Option<String> {
        addresses.of(NodeId(node), Some(members))
    }

    #[test]
    fn a_member_is_where_the_members_say() {
        let mut addresses = Addresses::default();
        addresses.introduce(NodeId(2), "elsewhere");
        let before = Arc::new(members(&[(1, "one"), (2, "two")]));
        assert_eq!(of(&mut addresses, 2, &before).unwrap(), "two");
        let moved = Arc::new(members(&[(1, "one"), (2, "new")]));
        assert_eq!(of(&mut addresses, 2, &moved).unwrap(), "new");
    }

    #[test]
    fn one_that_is_to_become_a_member_is_where_the_goal_says() {
        let goal = Arc::new(members(&[(1, "one"), (3, "three")]));
        let now = Arc::new(members(&[(1, "one")]).on_the_way_to(goal).unwrap());
        assert_eq!(of(&mut Addresses::default(), 3, &now).unwrap(), "three");
    }

    #[test]
    fn one_that_was_removed_is_where_it_was_or_says() {
        let mut addresses = Addresses::default();
        let before = Arc::new(members(&[(1, "one"), (2, "two")]));
        let after = Arc::new(members(&[(1, "one")]));
        // Another's message is enough to know of the members.
        of(&mut addresses, 1, &before);
        assert_eq!(of(&mut addresses, 2, &after).unwrap(), "two");
        assert_eq!(addresses.of(NodeId(2), None).unwrap(), "two");
        addresses.introduce(NodeId(2), "new");
        assert_eq!(of(&mut addresses, 2, &after).unwrap(), "new");
        assert_eq!(of(&mut addresses, 4, &after), None);
    }

    #[test]
    fn a_member_without_an_address_is_where_it_says() {
        let mut addresses = Addresses::default();
        let now = Arc::new(members(&[(1, "one"), (2, "")]));
        assert_eq!(of(&mut addresses, 2, &now), None);
        addresses.introduce(NodeId(2), "two");
        assert_eq!(of(&mut addresses, 2, &now).unwrap(), "two");
    }
}
