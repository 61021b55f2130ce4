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
