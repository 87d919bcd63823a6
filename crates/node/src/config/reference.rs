//! Makes `docs/configuration.md` from the doc comments of the configuration's structs, so that the
//! reference cannot say something else than the code.

use super::{CopyTable, Limits, Ordering, Snapshots};
use std::fmt::Write as _;

/// A struct of the configuration: where its source is, the table it stands for, its defaults.
struct Section {
    source: &'static str,
    name: &'static str,
    table: &'static str,
    defaults: toml::Table,
}

struct Field {
    name: String,
    kind: String,
    docs: String,
    optional: bool,
}

/// The whole reference.
pub(super) fn reference() -> String {
    let mut text = "# Configuration reference\n\n\
         `quorate.toml`, one file a replica, made by `quorate init`. Unknown fields are refused. \
         This page is generated from the code: `QUORATE_UPDATE=1 cargo test -p quorate-node \
         reference` writes it anew.\n"
        .to_owned();
    for section in sections() {
        let _ = write!(text, "\n## {}\n\n", section.table);
        let (docs, fields) = parse(section.source, section.name);
        let _ = write!(text, "{docs}\n\n| field | type | default | meaning |\n|---|---|---|---|\n");
        for Field { name, kind, docs, optional } in fields {
            let default = match section.defaults.get(&name) {
                Some(value) => format!("`{value}`"),
                None if optional => "none".to_owned(),
                None => "required".to_owned(),
            };
            let _ = writeln!(text, "| `{name}` | {kind} | {default} | {docs} |");
        }
    }
    text
}

fn sections() -> Vec<Section> {
    const CONFIG: &str = include_str!("../config.rs");
    const COPY: &str = include_str!("copy.rs");
    const MEMBER: &str = include_str!("../member.rs");
    const LIMITS: &str = include_str!("../../../gateway/src/limits.rs");
    let root = "engine = \"pbft\"\nservice = \"kv\"\ndevelopment = false\naliases = []\n\
                cors_origins = [\"*\"]\n\
                keys = \"keys\"\ndata = \"data\"\n";
    let none = toml::Table::new;
    let section = |source, name, table, defaults| Section { source, name, table, defaults };
    vec![
        section(CONFIG, "ConfigFile", "Top level", toml::from_str(root).unwrap()),
        section(CONFIG, "Listen", "`[listen]`", none()),
        section(CONFIG, "TlsTable", "`[tls]`", none()),
        section(
            CONFIG,
            "Ordering",
            "`[ordering]`",
            toml::Table::try_from(Ordering::default()).unwrap(),
        ),
        section(
            CONFIG,
            "Snapshots",
            "`[snapshots]`",
            toml::Table::try_from(Snapshots::default()).unwrap(),
        ),
        section(LIMITS, "Limits", "`[limits]`", toml::Table::try_from(Limits::default()).unwrap()),
        section(
            COPY,
            "CopyTable",
            "`[copy]`",
            toml::Table::try_from(CopyTable::default()).unwrap(),
        ),
        section(MEMBER, "MemberFile", "`[[members]]`", none()),
    ]
}

/// The docs of a struct and of its fields, from its source.
fn parse(source: &str, name: &str) -> (String, Vec<Field>) {
    let head = format!("pub struct {name} {{");
    let start = source.find(&head).unwrap_or_else(|| panic!("{name} is not there"));
    let before: Vec<_> = source[..start].lines().rev().collect();
    let mut docs: Vec<_> = before
        .iter()
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter_map(|line| line.strip_prefix("///"))
        .collect();
    docs.reverse();
    let body = &source[start + head.len()..];
    let body = &body[..body.find("\n}").unwrap()];
    let (mut fields, mut field_docs, mut optional) = (Vec::new(), Vec::new(), false);
    for line in body.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            field_docs.push(doc.trim());
        } else if line.starts_with("#[") {
            // Sections of their own, and what may be left out.
            optional |= line.contains("default");
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (name, kind) = field.trim_end_matches(',').split_once(": ").unwrap();
            let docs = field_docs.join(" ").replace('|', "\\|");
            fields.push(Field { name: name.to_owned(), kind: plain(kind), docs, optional });
            field_docs.clear();
            optional = false;
        }
    }
    (docs.iter().map(|doc| doc.trim()).collect::<Vec<_>>().join(" "), fields)
}

/// A type as an operator would say it.
fn plain(kind: &str) -> String {
    match kind {
        "u16" | "u32" | "u64" | "usize" => "number",
        "String" | "Option<String>" => "text",
        "bool" => "true or false",
        "Restore" => "`fence`, `replay` or `snapshot`",
        "PathBuf" => "path",
        "SocketAddr" => "IP:PORT",
        "Vec<String>" => "list of texts",
        "Vec<MemberFile>" => "list of tables",
        _ => "table",
    }
    .to_owned()
}

#[test]
fn the_configuration_reference_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = reference();
    if std::env::var_os("QUORATE_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "docs/configuration.md is out of date; see its first lines");
}
