//! The published `.proto` and the hand-written structs say the same.

use std::collections::BTreeSet;

const PROTO: &str = include_str!("../proto/raft.proto");
const STRUCTS: &str = concat!(
    include_str!("../src/wire.rs"),
    include_str!("../src/wire/log.rs"),
    include_str!("../src/wire/rpc.rs")
);

/// A field or enum value: its type's name, its own name, its number.
type Row = (String, String, u32);

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Rows of the `.proto`: fields as `type label name`, those of a oneof under its message.
fn from_proto() -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    let (mut name, mut is_enum, mut depth) = (String::new(), false, 0);
    for line in PROTO.lines() {
        let line = line.split("//").next().unwrap().trim();
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        match words[..] {
            [kind @ ("message" | "enum"), named, ..] => {
                (name, is_enum) = (named.to_owned(), kind == "enum");
                depth = usize::from(!line.ends_with('}'));
            }
            ["oneof", ..] => depth += 1,
            ["}"] => depth -= 1,
            [value, "=", number] if depth > 0 && is_enum => {
                let value = value.to_lowercase();
                let value = value.strip_prefix(&format!("{}_", snake(&name))).unwrap();
                rows.insert((name.clone(), value.to_owned(), number.parse().unwrap()));
            }
            [.., field, "=", number] if depth > 0 => {
                rows.insert((name.clone(), field.to_owned(), number.parse().unwrap()));
            }
            _ => {}
        }
    }
    rows
}

/// The message whose oneof each Rust enum is.
fn owner(oneof: &str) -> &str {
    match oneof {
        "HelloOutcome" => "HelloReply",
        "MessageBody" => "Message",
        "AppendOutcome" => "AppendEntriesResponse",
        "EntryPayload" => "Entry",
        "InstallOutcome" => "InstallSnapshotResponse",
        "ResponseResult" => "Response",
        other => other,
    }
}

fn from_structs() -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    let (mut name, mut tag) = (String::new(), None);
    for line in STRUCTS.lines().map(str::trim) {
        if let Some(rest) =
            line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))
        {
            let end = rest.find(' ').unwrap();
            name = owner(&rest[..end]).to_owned();
        } else if let Some((_, rest)) = line.split_once("tag = \"") {
            tag = Some(rest.split('"').next().unwrap().parse().unwrap());
        } else if line.starts_with("#[") || line.starts_with("//") {
            // An attribute of a whole type, a oneof's list of tags, or a comment.
        } else if let Some((variant, value)) = line.split_once(" = ") {
            let value = value.trim_end_matches(',').parse().unwrap();
            rows.insert((name.clone(), snake(variant), value));
        } else if let Some(tag) = tag.take() {
            let field = line.trim_start_matches("pub ");
            let end = field.find([':', '(']).unwrap();
            rows.insert((name.clone(), snake(&field[..end]), tag));
        }
    }
    rows
}

#[test]
fn field_numbers_agree() {
    let (proto, structs) = (from_proto(), from_structs());
    assert!(proto.len() > 110, "{} rows: the parser of this test is broken", proto.len());
    let missing: Vec<_> = proto.symmetric_difference(&structs).collect();
    assert!(missing.is_empty(), "only in one of the two: {missing:#?}");
}
