//! Nothing tracked says where it was made: no absolute path of somebody's machine, no host of a package
//! registry or mirror. Tools are set up by the machine's owner, not by the repository.

use crate::tree::Tree;

/// Beginnings of paths that exist on one machine only, each in two halves so that this file does not
/// breach its own rule.
const MACHINE_PATHS: &[(&str, &str)] =
    &[("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/"), ("/tmp/p", "eers")];

/// Hosts that packages come from, in halves as well.
const REGISTRY_HOSTS: &[(&str, &str)] = &[
    ("deb.deb", "ian.org"),
    ("ftp.deb", "ian.org"),
    ("security.deb", "ian.org"),
    ("snapshot.deb", "ian.org"),
    ("static.crat", "es.io"),
    ("index.crat", "es.io"),
    ("registry.npm", "js.org"),
    ("files.python", "hosted.org"),
    ("py", "pi.org"),
    ("proxy.go", "lang.org"),
];

/// Where cargo's own lock file says that every crate comes from.
const IN_LOCK_FILE: &str = "Cargo.lock";

/// Findings over all files; `hosts` are further names that must not appear, such as the mirrors this
/// machine is set up with.
pub fn check(tree: &Tree, hosts: &[String]) -> Vec<String> {
    let paths: Vec<String> = MACHINE_PATHS.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let mut banned: Vec<String> = REGISTRY_HOSTS.iter().map(|(a, b)| format!("{a}{b}")).collect();
    banned.extend(hosts.iter().cloned());
    let mut findings = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| *path != IN_LOCK_FILE) {
        for (number, line) in text.lines().enumerate() {
            for word in paths.iter().filter(|word| begins_path(line, word)) {
                findings.push(format!("{path}:{}: `{word}` is a path of one machine", number + 1));
            }
            for host in banned.iter().filter(|host| line.contains(host.as_str())) {
                findings.push(format!("{path}:{}: `{host}` is a registry's host", number + 1));
            }
        }
    }
    findings
}

/// Whether `word` stands at the beginning of a path in the line, not in its middle.
fn begins_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at]
            .chars()
            .next_back()
            .is_some_and(|letter| letter.is_alphanumeric() || "._-}$*".contains(letter))
    })
}

/// The hosts in the text of a package tool's configuration.
pub fn hosts_in(configuration: &str) -> Vec<String> {
    let mut hosts = Vec::new();
    for (at, _) in configuration.match_indices("://") {
        let rest = &configuration[at + 3..];
        let end = rest.find(|letter: char| !(letter.is_alphanumeric() || "-.@".contains(letter)));
        let host = rest[..end.unwrap_or(rest.len())].rsplit('@').next().unwrap_or_default();
        let local = host == "localhost" || host.starts_with("127.");
        // github.com is where sources live; naming it gives no mirror away.
        if host.contains('.') && !local && host != "github.com" && !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_string());
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(text: &str, expect: &[&str]) {
        let found = check(&Tree::of(&[("a.md", text)]), &["mirror.example".to_string()]);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, part) in found.iter().zip(expect) {
            assert!(finding.contains(part), "{finding:?} does not contain {part:?}");
        }
    }

    #[test]
    fn machine_paths_are_named() {
        let (a, b) = MACHINE_PATHS[0];
        check_one(&format!("see {a}{b}x"), &["a.md:1"]);
        check_one(&format!("\n\"{a}{b}x\""), &["a.md:2"]);
        check_one(&format!("net{a}{b}x and ${{dir}}{a}{b}"), &[]);
        check_one("/usr/bin/env, ./data, ~/.cache", &[]);
    }

    #[test]
    fn hosts_are_named() {
        let (a, b) = REGISTRY_HOSTS[0];
        check_one(&format!("deb http://{a}{b}/debian"), &["registry"]);
        check_one("from mirror.example it came", &["mirror.example"]);
        check_one("prometheus.io", &[]);
    }

    #[test]
    fn hosts_are_read_from_configurations() {
        let text = "URIs: http://me@one.example/debian\ndeb https://two.example:80 x\nhttp://localhost/ \
                    https://github.com/a";
        assert_eq!(hosts_in(text), ["one.example", "two.example"]);
    }
}
