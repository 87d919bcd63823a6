//! The Grafana dashboard: what it shows is documented.

use crate::tree::read;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn the_dashboard_shows_documented_metrics_alone() {
    let documented = read("docs/metrics.md");
    let known: BTreeSet<&str> =
        documented.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let dashboard: Value =
        serde_json::from_str(&read("examples/deploy/grafana/quorate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.len() >= 10, "only {} expressions were seen", expressions.len());
    for expression in expressions {
        let part = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let mut used =
            expression.split(part).filter(|word| word.starts_with("quorate_")).peekable();
        assert!(used.peek().is_some(), "{expression}");
        for metric in used {
            assert!(known.contains(metric), "{metric} is not in docs/metrics.md");
        }
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids of panels are not distinct");
}
