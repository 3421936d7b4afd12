//! The list of servers that forms a cluster: `1=RAFT_ADDR@HTTP_ADDR,2=...`.

use std::str::FromStr;

use actix_raft::messages::{Address, NodeId};

/// One server of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) address: Address,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let expected = || format!("'{text}' is not ID=RAFT_ADDR@HTTP_ADDR");
        let (id, addresses) = text.split_once('=').ok_or_else(expected)?;
        let (rpc, client) = addresses.split_once('@').ok_or_else(expected)?;
        let id =
            id.trim().parse().map_err(|_| format!("'{id}' is not a number: {}", expected()))?;
        for address in [rpc, client] {
            check_address(address)?;
        }
        Ok(Peer { id: NodeId(id), address: Address::new(rpc, client) })
    }
}

/// An address as given on the command line.
pub(crate) fn check_address(address: &str) -> Result<String, String> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(address.to_string()),
        Some(Err(_)) => Err(format!("the port of '{address}' is not a number up to 65535")),
        None => Err(format!("'{address}' is not HOST:PORT")),
    }
}

/// Checks that a cluster can be formed of these servers, as seen by one of them.
pub(crate) fn check_peers(peers: &[Peer], own: NodeId) -> Result<(), String> {
    for (place, peer) in peers.iter().enumerate() {
        if peers[..place].iter().any(|other| other.id == peer.id) {
            return Err(format!("--peers names server {} twice", peer.id));
        }
    }
    if !peers.is_empty() && !peers.iter().any(|peer| peer.id == own) {
        return Err(format!("--peers does not name this server, {own}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_id_and_two_addresses() {
        let peer: Peer = "2=10.0.0.2:7001@[::1]:8001".parse().unwrap();
        assert_eq!(peer.id, NodeId(2));
        assert_eq!(peer.address, Address::new("10.0.0.2:7001", "[::1]:8001"));
    }

    #[test]
    fn what_is_wrong_with_a_peer_is_said() {
        let refused = |text: &str| text.parse::<Peer>().unwrap_err();
        assert_eq!(refused("2"), "'2' is not ID=RAFT_ADDR@HTTP_ADDR");
        assert!(refused("x=a:1@b:2").starts_with("'x' is not a number"));
        assert_eq!(refused("2=a@b:2"), "'a' is not HOST:PORT");
        assert_eq!(refused("2=a:1@b:70000"), "the port of 'b:70000' is not a number up to 65535");
    }

    #[test]
    fn a_list_names_each_server_once_and_the_server_itself() {
        let peers: Vec<Peer> = ["1=a:1@b:2", "2=a:3@b:4"].map(|it| it.parse().unwrap()).into();
        assert_eq!(check_peers(&peers, NodeId(1)), Ok(()));
        assert_eq!(check_peers(&[], NodeId(1)), Ok(()));
        assert!(check_peers(&peers, NodeId(3)).unwrap_err().contains("does not name this server"));
        let twice = [peers[0].clone(), peers[0].clone()];
        assert!(check_peers(&twice, NodeId(1)).unwrap_err().contains("twice"));
    }
}
