//! Which crate may use which.

use crate::tree::{none, read, root};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::LazyLock,
};

/// What each room may use; `types` may be used by all. ARCHITECTURE.md shows the same table.
const ROOMS: [(&str, &[&str]); 16] = [
    ("types", &[]),
    ("proof", &[]),
    ("crypto", &["proof"]),
    ("protocol", &["crypto"]),
    ("service", &[]),
    ("replica", &["protocol", "service", "proof", "crypto"]),
    ("ledger", &["proof"]),
    ("gateway", &["proof"]),
    ("client", &["proof"]),
    ("rollup", &["client", "replica"]),
    ("session", &["client", "proof"]),
    ("node", EVERY),
    ("cli", EVERY),
    ("sim", &["replica", "protocol", "service", "ledger", "proof", "crypto"]),
    ("xtask", &[]),
    ("fuzz", EVERY),
];

/// All rooms but the two at the top.
const EVERY: &[&str] = &[
    "proof", "crypto", "protocol", "service", "replica", "ledger", "gateway", "client", "rollup",
    "session", "node", "sim",
];

/// What touches sockets, threads or clocks; these rooms do not reach it, through whatever crate.
const WITHOUT_IO: [&str; 8] =
    ["types", "proof", "crypto", "protocol", "service", "replica", "ledger", "sim"];
const IO: [&str; 8] =
    ["tokio", "mio", "socket2", "hyper", "axum", "rustls", "async-std", "crossbeam-channel"];

/// What `cargo metadata` says of this machine's target.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = Command::new("rustc").arg("-vV").current_dir(root()).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", host];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
});

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("cargo metadata has no {name}"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn room(package: &str) -> &str {
    package.strip_prefix("quorate-").unwrap_or(package)
}

fn members() -> impl Iterator<Item = &'static Value> {
    list(&METADATA, "packages").iter().filter(|package| package["source"].is_null())
}

/// The arrows between the workspace's rooms, and whether each is for tests only.
fn arrows() -> Vec<(&'static str, &'static str, bool)> {
    let own: BTreeSet<&str> = members().map(|member| text(member, "name")).collect();
    members()
        .flat_map(|member| {
            let from = room(text(member, "name"));
            let to = list(member, "dependencies").iter();
            to.map(move |to| (from, text(to, "name"), to["kind"] == "dev"))
        })
        .filter(|(_, to, _)| own.contains(to))
        .map(|(from, to, for_tests)| (from, room(to), for_tests))
        .collect()
}

fn forbidden(from: &str, to: &str) -> bool {
    let allowed = ROOMS.iter().find(|(room, _)| *room == from).map(|(_, allowed)| *allowed);
    !allowed.is_some_and(|allowed| to == "types" || allowed.contains(&to))
}

/// Whether a room may use another, or what it uses may: a test then adds nothing to what its room
/// already depends on.
fn reaches(from: &str, to: &str) -> bool {
    let below = ROOMS.iter().find(|(room, _)| *room == from).map_or(&[][..], |(_, below)| below);
    !forbidden(from, to) || below.iter().any(|next| reaches(next, to))
}

#[test]
fn every_arrow_between_rooms_is_in_the_table() {
    let arrows = arrows();
    assert!(arrows.len() > 20, "only {} arrows were seen", arrows.len());
    let wrong = arrows.iter().filter(|(from, to, for_tests)| match for_tests {
        true => !reaches(from, to),
        false => forbidden(from, to),
    });
    let wrong = wrong.map(|(from, to, _)| format!("{from} -> {to}"));
    none(wrong.collect(), "arrows not in the table");
}

#[test]
fn the_table_would_have_noticed() {
    assert!(forbidden("protocol", "ledger"));
    assert!(forbidden("service", "proof"));
    assert!(forbidden("types", "proof"));
    assert!(forbidden("client", "crypto"));
    assert!(forbidden("unheard-of", "types"));
    assert!(!forbidden("gateway", "types"));
    assert!(forbidden("protocol", "proof") && reaches("protocol", "proof"));
    assert!(!reaches("protocol", "ledger") && !reaches("client", "crypto"));
    assert!(!forbidden("sim", "ledger"));
}

#[test]
fn every_room_is_in_the_table_and_follows_the_workspaces_lints() {
    let wrong = members().filter_map(|member| {
        let name = text(member, "name");
        let manifest = std::fs::read_to_string(text(member, "manifest_path")).unwrap();
        let listed = ROOMS.iter().any(|(known, _)| *known == room(name));
        let linted = manifest.contains("[lints]\nworkspace = true\n");
        (!listed || !linted).then(|| format!("{name}: listed {listed}, linted {linted}"))
    });
    none(wrong.collect(), "rooms that are not in the table or not linted");
    assert!(members().count() >= 13);
}

#[test]
fn the_architecture_shows_the_same_table() {
    let shown = read("ARCHITECTURE.md");
    let wrong = ROOMS.iter().filter(|(room, _)| !["xtask", "fuzz"].contains(room)).filter(
        |(room, allowed)| {
            let row = shown.lines().find(|line| line.starts_with(&format!("| `{room}` |")));
            let uses = row.and_then(|row| row.split('|').nth(3)).map(str::trim);
            let built = members().any(|member| text(member, "name") == format!("quorate-{room}"));
            let expected = match *allowed {
                [] => "-".to_owned(),
                EVERY => "all".to_owned(),
                some => some.join(", "),
            };
            built && uses != Some(expected.as_str())
        },
    );
    none(wrong.map(|(room, _)| (*room).to_owned()).collect(), "rows that differ");
}

/// What each package of the graph needs when it is built for use, development aside.
fn graph() -> BTreeMap<&'static str, Vec<&'static str>> {
    let normal = |to: &&Value| list(to, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
    let needs = |node: &'static Value| {
        list(node, "deps").iter().filter(normal).map(|to| text(to, "pkg")).collect()
    };
    let nodes = list(&METADATA["resolve"], "nodes").iter();
    nodes.map(|node| (text(node, "id"), needs(node))).collect()
}

#[test]
fn rooms_without_io_do_not_reach_a_socket_or_a_runtime() {
    let graph = graph();
    let packages = list(&METADATA, "packages").iter();
    let names: BTreeMap<&str, &str> =
        packages.map(|package| (text(package, "id"), text(package, "name"))).collect();
    let mut wrong = Vec::new();
    for (id, name) in &names {
        if !name.starts_with("quorate-") || !WITHOUT_IO.contains(&room(name)) {
            continue;
        }
        let (mut reached, mut ahead) = (BTreeSet::from([*id]), vec![*id]);
        while let Some(next) = ahead.pop() {
            ahead.extend(graph[next].iter().filter(|&&to| reached.insert(to)));
        }
        let found = reached.iter().map(|id| names[id]).filter(|name| IO.contains(name));
        wrong.extend(found.map(|found| format!("{name} reaches {found}")));
    }
    none(wrong, "rooms without IO");
}

/// What makes bugs on purpose; see `quorate_types::bug`.
const SEEDED: &str = "seeded-bugs";

/// Every feature of a package that names the bugs, with what it names, as `package/feature: what`.
fn seeding(package: &Value) -> Vec<String> {
    let features = package["features"].as_object().into_iter().flatten();
    let named = features.flat_map(|(feature, enables)| {
        let enables: Vec<&str> =
            enables.as_array().unwrap().iter().flat_map(|it| it.as_str()).collect();
        let about = feature == SEEDED || enables.iter().any(|it| it.contains(SEEDED));
        about.then(|| format!("{}/{feature}: {}", text(package, "name"), enables.join(" ")))
    });
    let asked = list(package, "dependencies")
        .iter()
        .filter(|to| list(to, "features").iter().any(|feature| feature == SEEDED));
    let asked = asked.map(|to| format!("{} -> {}", text(package, "name"), text(to, "name")));
    named.chain(asked).collect()
}

#[test]
fn only_the_simulator_and_the_model_check_can_switch_on_bugs_and_not_by_default() {
    let mut found: Vec<String> = members().flat_map(seeding).collect();
    found.sort();
    let forwards = ["quorate-protocol", "quorate-sim"]
        .map(|room| format!("{room}/seeded-bugs: quorate-types/seeded-bugs"));
    assert_eq!(found, [forwards.as_slice(), &["quorate-types/seeded-bugs: ".to_owned()]].concat());
    // What is built when nobody asks for a feature.
    let nodes = list(&METADATA["resolve"], "nodes").iter();
    let on = nodes.filter(|node| list(node, "features").iter().any(|feature| feature == SEEDED));
    none(on.map(|node| text(node, "id").to_owned()).collect(), "packages with bugs");
    // The names that this looks for are those that cargo says.
    let sneaky = serde_json::json!({
        "name": "sneaky",
        "features": {"default": ["quorate-types/seeded-bugs"]},
        "dependencies": [{"name": "quorate-sim", "features": ["seeded-bugs"]}],
    });
    assert_eq!(seeding(&sneaky).len(), 2);
}

/// Whether a licence expression can be met with these licences.
fn met(expression: &str, allowed: &[String]) -> bool {
    // Older manifests write `/` for `OR`. No expression here nests, so parentheses bind an `OR`
    // inside an `AND` and nothing else.
    let expression = expression.replace('/', " OR ");
    if let Some(start) = expression.find('(') {
        let end = start + expression[start..].find(')').unwrap_or(0);
        let inner = met(&expression[start + 1..end], allowed);
        let word = if inner { &allowed[0] } else { "none" };
        return met(&format!("{}{word}{}", &expression[..start], &expression[end + 1..]), allowed);
    }
    let all = |part: &str| part.split(" AND ").all(|name| allowed.iter().any(|a| a == name.trim()));
    expression.split(" OR ").any(all)
}

#[test]
fn every_dependency_has_a_licence_that_we_allow() {
    let deny = read("deny.toml");
    let list_text = deny.split_once("\nallow = [").unwrap().1.split_once(']').unwrap().0;
    let allowed: Vec<String> = list_text.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(allowed.contains(&"Apache-2.0".to_owned()), "{allowed:?}");
    let foreign = list(&METADATA, "packages").iter().filter(|p| !p["source"].is_null());
    let wrong: Vec<String> = foreign
        .filter(|package| !met(text(package, "license"), &allowed))
        .map(|package| format!("{}: {}", text(package, "name"), package["license"]))
        .collect();
    none(wrong, "licences that deny.toml does not allow");
}

#[test]
fn a_licence_expression_is_read_right() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Unlicense", "(MIT OR BSD) AND Apache-2.0"] {
        assert!(met(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR BSD) AND MIT"] {
        assert!(!met(bad, &allowed), "{bad}");
    }
}

#[test]
fn rooms_that_must_be_deterministic_ban_clocks_and_hash_maps() {
    let banned =
        ["collections::HashMap", "collections::HashSet", "Instant::now", "SystemTime::now"];
    let mut wrong = Vec::new();
    for room in ["protocol", "service", "replica", "sim"] {
        let rules = read(&format!("crates/{room}/clippy.toml"));
        let missing = banned.iter().filter(|ban| !rules.contains(**ban));
        wrong.extend(missing.map(|ban| format!("{room}: {ban}")));
    }
    none(wrong, "bans missing in a room's clippy.toml");
}

#[test]
fn every_clippy_file_bounds_functions_at_70_lines() {
    let files = crate::tree::files("clippy.toml");
    assert!(files.len() > 1);
    let wrong = files.iter().filter(|file| !file.text.contains("too-many-lines-threshold = 70"));
    none(wrong.map(|file| file.path.clone()).collect(), "clippy.toml without the bound");
    assert!(read("Cargo.toml").contains("too_many_lines = \"warn\""));
}
