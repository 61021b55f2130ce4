//! `dns_sd_configs`: the records of names. As with Prometheus, a name that does not exist has no targets,
//! while a server that fails keeps the targets that it named before.

use super::meta::{Meta, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{DnsSdConfig, PromDuration};
use crate::counters::{DiscoveryCounters, Tally};
use hearth_model::Labels;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The names of one section.
pub struct Dns {
    config: DnsSdConfig,
    counters: Arc<DiscoveryCounters>,
    /// What each name had when it was last answered.
    known: BTreeMap<String, TargetGroup>,
    /// Servers other than the system's, for tests.
    fixed: Option<(TokioResolver, Search)>,
}

/// How a name that does not end in a dot is completed.
#[derive(Debug, Clone, Default)]
struct Search {
    domains: Vec<String>,
    /// A name with so many dots is tried as it is first, else last.
    dots: usize,
}

impl Search {
    /// As the system is configured to; without its hostname, in which Prometheus does not look either.
    fn of_system() -> Result<Search, String> {
        let text = std::fs::read(RESOLV_CONF).map_err(|e| format!("reading {RESOLV_CONF}: {e}"))?;
        // What it says wrongly the resolver warns of.
        let (config, _) = resolv_conf::Config::parse_with_errors(&text);
        let domains = config.get_last_search_or_domain().cloned().collect();
        Ok(Search { domains, dots: config.ndots as usize })
    }

    /// The names to look up, in order.
    fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        let first = name.matches('.').count() >= self.dots;
        let searched = self.domains.iter().map(|domain| format!("{name}.{}.", domain.trim_end_matches('.')));
        let (before, behind) = if first { (Some(whole), None) } else { (None, Some(whole)) };
        before.into_iter().chain(searched).chain(behind).collect()
    }
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Dns {
    pub fn new(config: &DnsSdConfig, tools: &Tools) -> Dns {
        Dns {
            config: config.clone(),
            counters: Arc::clone(&tools.counters),
            known: BTreeMap::new(),
            fixed: None,
        }
    }

    /// The system's resolver, by its configuration of this moment.
    fn resolver(&self) -> Result<(TokioResolver, Search), String> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let mut builder = TokioResolver::builder_tokio().map_err(|e| format!("reading resolv.conf: {e}"))?;
        // What a server said before must not hide what it says now.
        builder.options_mut().cache_size = 0;
        // As with Prometheus the servers alone are asked.
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        let resolver = builder.build().map_err(|e| format!("the resolver: {e}"))?;
        Ok((resolver, Search::of_system()?))
    }

    async fn group(
        &self,
        (resolver, search): &(TokioResolver, Search),
        name: &str,
    ) -> Result<TargetGroup, String> {
        let kind = match self.config.r#type.as_str() {
            "A" => RecordType::A,
            "AAAA" => RecordType::AAAA,
            "MX" => RecordType::MX,
            "NS" => RecordType::NS,
            _ => RecordType::SRV,
        };
        self.counters.tally(Tally::DnsLookups).add(1);
        let targets = self.records(resolver, &search.names(name), kind).await.map_err(|error| {
            self.counters.tally(Tally::DnsLookupFailures).add(1);
            format!("looking up {kind} of {name}: {error}")
        })?;
        let targets = targets.iter().filter_map(|data| target(name, data, self.config.port)).collect();
        Ok(TargetGroup { source: name.to_owned(), targets, labels: Labels::empty() })
    }

    /// Of the first of the names that is there. None only where each server said so: where one of the names could not be
    /// looked up, the next one's absence says nothing.
    async fn records(
        &self,
        resolver: &TokioResolver,
        names: &[String],
        kind: RecordType,
    ) -> Result<Vec<RData>, NetError> {
        let mut failure = None;
        for name in names {
            match resolver.lookup(name, kind).await {
                Ok(lookup) => return Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
                Err(error) if error.is_nx_domain() => {}
                Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Vec::new()), Err)
    }
}

/// The target that a record stands for.
fn target(name: &str, data: &RData, port: u64) -> Option<Labels> {
    let bare = |host: &dyn std::fmt::Display| host.to_string().trim_end_matches('.').to_owned();
    let mut extra = Vec::new();
    let address = match data {
        RData::SRV(srv) => {
            extra.push(("srv_record_target", srv.target.to_string()));
            extra.push(("srv_record_port", srv.port.to_string()));
            host_port(&bare(&srv.target), srv.port)
        }
        RData::MX(mx) => {
            extra.push(("mx_record_target", mx.exchange.to_string()));
            host_port(&bare(&mx.exchange), port)
        }
        RData::NS(ns) => {
            extra.push(("ns_record_target", ns.0.to_string()));
            host_port(&bare(&ns.0), port)
        }
        RData::A(a) => host_port(&a.0.to_string(), port),
        RData::AAAA(a) => host_port(&a.0.to_string(), port),
        _ => return None,
    };
    let mut meta = Meta::new("__meta_dns_").address(&address);
    meta.set("name", name);
    for (label, value) in extra {
        meta.set(label, value);
    }
    Some(meta.labels())
}

impl Poll for Dns {
    const MECHANISM: &'static str = "dns";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    /// A name that fails keeps what it had and does not hold up the others.
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let resolver = self.resolver()?;
        let lookups = self.config.names.iter().map(|name| self.group(&resolver, name));
        let mut failure = None;
        for result in futures_util::future::join_all(lookups).await {
            match result {
                Ok(group) => drop(self.known.insert(group.source.clone(), group)),
                Err(error) => {
                    tracing::error!(
                        component = "discovery manager scrape",
                        discovery = "dns",
                        err = error,
                        "Error refreshing DNS targets"
                    );
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if self.known.is_empty() => Err(error),
            _ => Ok(self.known.values().cloned().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{lines, section, tools};
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::net::UdpSocket;

    /// Records of the fake server, as type number and data.
    const RECORDS: &[(u16, &[u8])] = &[
        (1, &[10, 0, 0, 1]),
        (28, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (33, b"\x00\x01\x00\x02\x1f\x90\x03web\x01x\x00"),
        (15, b"\x00\x0a\x02mx\x01x\x00"),
        (2, b"\x02ns\x01x\x00"),
    ];

    /// The answer to a question: the record of its type, a failure for names that begin with `f`, "no such name" for those
    /// that begin with `n` or end in `y`.
    fn answer(question: &[u8], broken: bool) -> Vec<u8> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 5;
        let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        let code = match question[13] {
            _ if broken => 2,
            _ if question[end - 6] == b'y' => 3,
            b'f' => 2,
            b'n' => 3,
            _ => 0,
        };
        let data = RECORDS.iter().find(|(known, _)| *known == kind && code == 0).map(|(_, data)| *data);
        let mut out = question[..2].to_vec();
        out.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
        out.extend(&question[12..end]);
        if let Some(data) = data {
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }

    async fn server(broken: Arc<AtomicBool>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let address = socket.local_addr().expect("address");
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let reply = answer(&question[..length], broken.load(Ordering::Relaxed));
                let _gone = socket.send_to(&reply, from).await;
            }
        });
        address
    }

    fn dns(yaml: &str, server: SocketAddr) -> Dns {
        let crate::config::SdConfig::Dns(config) = section("dns", yaml) else { panic!("a section") };
        let mut name_server = NameServerConfig::udp(server.ip());
        name_server.connections[0].port = server.port();
        let system = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let mut builder = TokioResolver::builder_with_config(system, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().attempts = 0;
        let mut dns = Dns::new(&config, &tools());
        let search = Search { domains: vec!["x".to_owned(), "none.y".to_owned()], dots: 1 };
        dns.fixed = Some((builder.build().expect("a resolver"), search));
        dns
    }

    async fn ask(dns: &mut Dns) -> Result<Vec<String>, String> {
        let groups = dns.refresh().await?;
        Ok(lines(&groups.into_iter().map(Arc::new).collect::<Vec<_>>()))
    }

    #[tokio::test]
    async fn every_record_type_becomes_a_target() {
        let server = server(Arc::default()).await;
        let check = async |yaml: &str, expect: &str| {
            assert_eq!(ask(&mut dns(yaml, server)).await, Ok(vec![expect.to_owned()]), "{yaml}");
        };
        check("{names: [a.x.], type: A, port: 9}", r#"{__address__="10.0.0.1:9", __meta_dns_name="a.x."}"#)
            .await;
        check(
            "{names: [a.x.], type: AAAA, port: 9}",
            r#"{__address__="[fd00::1]:9", __meta_dns_name="a.x."}"#,
        )
        .await;
        check(
            "{names: [_s._tcp.x.]}",
            r#"{__address__="web.x:8080", __meta_dns_name="_s._tcp.x.", __meta_dns_srv_record_port="8080", __meta_dns_srv_record_target="web.x."}"#,
        )
        .await;
        check(
            "{names: [a.x.], type: MX, port: 9}",
            r#"{__address__="mx.x:9", __meta_dns_mx_record_target="mx.x.", __meta_dns_name="a.x."}"#,
        )
        .await;
        check(
            "{names: [a.x.], type: NS, port: 9}",
            r#"{__address__="ns.x:9", __meta_dns_name="a.x.", __meta_dns_ns_record_target="ns.x."}"#,
        )
        .await;
    }

    #[test]
    fn names_are_completed_as_the_system_says() {
        let search = Search { domains: vec!["x".into(), "y.z.".into()], dots: 1 };
        assert_eq!(search.names("a.b."), ["a.b."]);
        assert_eq!(search.names("a.b"), ["a.b.", "a.b.x.", "a.b.y.z."]);
        assert_eq!(search.names("a"), ["a.x.", "a.y.z.", "a."]);
        assert_eq!(Search { dots: 5, ..search }.names("a.b"), ["a.b.x.", "a.b.y.z.", "a.b."]);
        assert_eq!(Search::default().names("a"), ["a."]);
    }

    /// A server that could not tell of a name is not overruled by one that knows of no other.
    #[tokio::test]
    async fn what_is_searched_in_vain_hides_no_failure() {
        let server = server(Arc::default()).await;
        let target = |name: &str| format!(r#"{{__address__="10.0.0.1:9", __meta_dns_name="{name}"}}"#);
        let check = async |name: &str, expect: Result<Vec<String>, &str>| {
            let found = ask(&mut dns(&format!("{{names: [{name}], type: A, port: 9}}"), server)).await;
            match expect {
                Ok(expect) => assert_eq!(found, Ok(expect), "{name}"),
                Err(word) => {
                    assert!(found.as_ref().is_err_and(|error| error.contains(word)), "{name}: {found:?}")
                }
            }
        };
        check("a", Ok(vec![target("a")])).await;
        check("a.y", Ok(vec![target("a.y")])).await;
        check("n.b", Ok(vec![])).await;
        check("f.b", Err("looking up A of f.b: ")).await;
        check("f.y", Err("looking up A of f.y: ")).await;
        check("f", Err("looking up A of f: ")).await;
    }

    #[tokio::test]
    async fn a_missing_name_has_no_targets_and_a_failing_server_keeps_them() {
        let broken = Arc::new(AtomicBool::new(false));
        let mut dns = dns("{names: [a.x., none.x.], type: A, port: 9}", server(Arc::clone(&broken)).await);
        let expect = vec![r#"{__address__="10.0.0.1:9", __meta_dns_name="a.x."}"#.to_owned()];
        assert_eq!(ask(&mut dns).await, Ok(expect.clone()));
        broken.store(true, Ordering::Relaxed);
        assert_eq!(ask(&mut dns).await, Ok(expect));
        assert_eq!(dns.counters.tally(Tally::DnsLookupFailures).get(), 2);
        dns.known.clear();
        assert!(ask(&mut dns).await.expect_err("nothing is known").contains("looking up A of "));
    }
}
