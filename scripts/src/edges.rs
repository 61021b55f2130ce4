//! Which crate may use which: the layout's edges, checked against every crate's manifest. Dependencies
//! of tests and build scripts count like any other.

use serde_json::Value;

/// Crate and what it may use of the workspace. A crate that is not listed fails the check.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("kernels", &[]),
    ("wire", &["model"]),
    ("engine", &["model", "kernels"]),
    ("promql", &["model", "kernels"]),
    ("scrape", &["model", "wire"]),
    ("alerting", &["model", "promql"]),
    ("api", &["model", "kernels", "wire", "promql", "scrape", "alerting"]),
    ("server", &["model", "kernels", "wire", "engine", "promql", "scrape", "alerting", "api"]),
    ("bench", ANY_DATA),
    ("fuzz", ANY_DATA),
    ("perf", ANY_DATA),
    // Starts and asks servers as whole-system runs do.
    ("differential", &["model", "wire", "promql", "perf"]),
    ("scripts", &[]),
];

/// Measurements and fuzzing reach every room below the server.
const ANY_DATA: &[&str] = &["model", "kernels", "wire", "engine", "promql", "scrape", "alerting", "api"];

/// Outside crates that only some crates may depend on: crate, who may.
const FENCED: &[(&str, &[&str])] = &[
    ("glommio-ng", &["engine"]),
    ("glommio", &["engine"]),
    ("io-uring", &["engine"]),
    ("axum", &["api", "server"]),
    ("pulp", &["kernels"]),
];

/// Crates that run without tokio.
const NO_TOKIO: &[&str] = &["model", "kernels", "wire", "engine", "promql"];

const PREFIX: &str = "hearth-";

/// Findings in the output of `cargo metadata --no-deps --format-version 1`.
pub fn check(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(short) = name.strip_prefix(PREFIX) else {
            findings.push(format!("package {name}: its name does not begin with {PREFIX}"));
            continue;
        };
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == short) else {
            findings.push(format!("package {name}: no edges are listed for it"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            findings.extend(broken_edge(short, allowed, used));
        }
    }
    findings
}

fn broken_edge(from: &str, allowed: &[&str], used: &str) -> Option<String> {
    if let Some(used) = used.strip_prefix(PREFIX) {
        return (!allowed.contains(&used))
            .then(|| format!("edge {from} -> {used}: {from} may use only {allowed:?} of the workspace"));
    }
    if used == "tokio" && NO_TOKIO.contains(&from) {
        return Some(format!("fence: {from} depends on tokio"));
    }
    let (_, may) = FENCED.iter().find(|(fenced, _)| *fenced == used)?;
    (!may.contains(&from)).then(|| format!("fence: {from} depends on {used}, which only {may:?} may"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_one(name: &str, dependencies: &[&str], expect: &[&str]) {
        let dependencies: Vec<_> = dependencies.iter().map(|used| json!({ "name": used })).collect();
        let found = check(&json!({ "packages": [{ "name": name, "dependencies": dependencies }] }));
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn allowed_edges_pass() {
        check_one("hearth-wire", &["hearth-model", "memchr"], &[]);
        check_one("hearth-server", &["hearth-engine", "hearth-api", "axum", "tokio"], &[]);
    }

    #[test]
    fn broken_edges_are_named() {
        check_one("hearth-model", &["hearth-wire"], &["model -> wire"]);
        check_one("hearth-api", &["hearth-engine"], &["api -> engine"]);
        check_one("hearth-promql", &["tokio", "pulp"], &["tokio", "pulp"]);
        check_one("hearth-scrape", &["axum"], &["axum"]);
        check_one("hearth-server", &["glommio-ng"], &["glommio-ng"]);
    }

    #[test]
    fn unknown_packages_are_named() {
        check_one("hearth-extra", &[], &["no edges"]);
        check_one("other", &[], &["does not begin"]);
    }
}
