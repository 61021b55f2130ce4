//! `dns_sd_configs`: the records of names. As with Prometheus, a name that does not exist has no targets,
//! while a server that fails keeps the targets that it named before.

use super::meta::{Meta, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{DnsSdConfig, PromDuration};
use crate::counters::{DiscoveryCounters, Tally};
use hearth_model::Labels;
use hickory_resolver::TokioResolver;
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
    fixed: Option<TokioResolver>,
}

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
    fn resolver(&self) -> Result<TokioResolver, String> {
        if let Some(resolver) = &self.fixed {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio().map_err(|e| format!("reading resolv.conf: {e}"))?;
        // What a server said before must not hide what it says now.
        builder.options_mut().cache_size = 0;
        builder.build().map_err(|e| format!("the resolver: {e}"))
    }

    async fn group(&self, resolver: &TokioResolver, name: &str) -> Result<TargetGroup, String> {
        let kind = match self.config.r#type.as_str() {
            "A" => RecordType::A,
            "AAAA" => RecordType::AAAA,
            "MX" => RecordType::MX,
            "NS" => RecordType::NS,
            _ => RecordType::SRV,
        };
        self.counters.tally(Tally::DnsLookups).add(1);
        let targets = match resolver.lookup(name, kind).await {
            Ok(lookup) => {
                let records = lookup.answers().iter().map(|record| &record.data);
                records.filter_map(|data| target(name, data, self.config.port)).collect()
            }
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Vec::new(),
            Err(error) => {
                self.counters.tally(Tally::DnsLookupFailures).add(1);
                return Err(format!("looking up {kind} of {name}: {error}"));
            }
        };
        Ok(TargetGroup { source: name.to_owned(), targets, labels: Labels::empty() })
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

    /// The answer to a question: the record of its type, "no such name" for names that begin with `n`, or a
    /// failure.
    fn answer(question: &[u8], broken: bool) -> Vec<u8> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 5;
        let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        let code = if broken { 2 } else { 3 * u8::from(question[13] == b'n') };
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
        dns.fixed = Some(builder.build().expect("a resolver"));
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
