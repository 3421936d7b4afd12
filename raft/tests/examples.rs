//! The examples do what they say.

#![cfg(feature = "durable")]

#[allow(dead_code)] // Its `main` reads the command line.
#[path = "../examples/single_node.rs"]
mod single_node;
#[path = "../examples/three_nodes.rs"]
mod three_nodes;

#[test]
fn three_nodes_go_on_without_one() {
    three_nodes::main().unwrap();
}

#[test]
fn a_single_node_goes_on_where_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("data");
    for expected in 1..=3 {
        let greeted =
            actix::System::new().block_on(single_node::greet(directory.to_str().unwrap()));
        assert_eq!(greeted.unwrap(), expected);
    }
}
