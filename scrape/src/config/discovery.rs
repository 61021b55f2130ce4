//! The `*_sd_configs` lists of a job: one table of mechanisms, and what all sections have in common.
//! Adding a mechanism is a line in `mechanisms!`, its fields in `discovery/`, and its code in
//! `crate::discovery`.

mod aws;
mod clouds;
mod consul;
mod dns;
mod docker;
mod http;
mod kubernetes;
mod openstack;
mod registries;
mod zookeeper;

pub use aws::{AwsAccess, AwsSdConfig, Ec2SdConfig, LightsailSdConfig};
pub use clouds::{
    AzureSdConfig, DigitalOceanSdConfig, GceSdConfig, HetznerSdConfig, IonosSdConfig, LinodeSdConfig,
    OciSdConfig, OutscaleSdConfig, OvhcloudSdConfig, ScalewaySdConfig, StackitSdConfig, VultrSdConfig,
};
pub use consul::ConsulSdConfig;
pub use dns::DnsSdConfig;
pub use docker::{DockerSdConfig, DockerSwarmSdConfig, NamedFilter};
pub use http::HttpSdConfig;
pub use kubernetes::{KubernetesAttach, KubernetesNamespaces, KubernetesSdConfig, KubernetesSelector};
pub use openstack::{OpenStackSdConfig, TritonSdConfig};
pub use registries::{
    EurekaSdConfig, KumaSdConfig, MarathonSdConfig, NomadSdConfig, PuppetDbSdConfig, UyuniSdConfig,
};
pub use zookeeper::ZookeeperSdConfig;

use super::section::{Section, WithHttp};
use serde::Serialize;
use serde::de::{Error, MapAccess};
use serde::ser::{SerializeMap, Serializer};

macro_rules! mechanisms {
    ($($mechanism:literal $variant:ident $config:ty,)*) => {
        /// One entry of one list.
        #[derive(Debug, Clone, PartialEq)]
        pub enum SdConfig {
            $($variant(Box<$config>),)*
        }

        impl SdConfig {
            /// As in `MECHANISM_sd_configs`.
            pub fn mechanism(&self) -> &'static str {
                match self {
                    $(SdConfig::$variant(_) => $mechanism,)*
                }
            }

            fn section(&mut self) -> &mut dyn ErasedSection {
                match self {
                    $(SdConfig::$variant(config) => config.as_mut(),)*
                }
            }
        }

        impl Serialize for SdConfig {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(SdConfig::$variant(config) => config.serialize(serializer),)*
                }
            }
        }

        /// Every mechanism of the table.
        const MECHANISMS: &[&str] = &[$($mechanism,)*];

        impl DiscoverySections {
            pub(super) fn read<'de, M: MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut M,
            ) -> Result<(), M::Error> {
                match key.strip_suffix("_sd_configs").unwrap_or_default() {
                    $($mechanism => {
                        let list = map.next_value::<Option<Vec<Option<$config>>>>()?.unwrap_or_default();
                        for entry in list {
                            let entry = entry.ok_or_else(|| M::Error::custom(
                                format!("empty or null section in {key}"),
                            ))?;
                            self.entries.push(SdConfig::$variant(Box::new(entry)));
                        }
                        Ok(())
                    })*
                    _ => Err(M::Error::custom(format!("unknown field `{key}`"))),
                }
            }
        }
    };
}

mechanisms! {
    "digitalocean" DigitalOcean WithHttp<DigitalOceanSdConfig>,
    "eureka" Eureka WithHttp<EurekaSdConfig>,
    "gce" Gce GceSdConfig,
    "hetzner" Hetzner WithHttp<HetznerSdConfig>,
    "ionos" Ionos WithHttp<IonosSdConfig>,
    "kuma" Kuma WithHttp<KumaSdConfig>,
    "linode" Linode WithHttp<LinodeSdConfig>,
    "marathon" Marathon WithHttp<MarathonSdConfig>,
    "nomad" Nomad WithHttp<NomadSdConfig>,
    "puppetdb" PuppetDb WithHttp<PuppetDbSdConfig>,
    "scaleway" Scaleway WithHttp<ScalewaySdConfig>,
    "vultr" Vultr WithHttp<VultrSdConfig>,
    "azure" Azure WithHttp<AzureSdConfig>,
    "ovhcloud" Ovhcloud OvhcloudSdConfig,
    "openstack" OpenStack OpenStackSdConfig,
    "triton" Triton TritonSdConfig,
    "aws" Aws WithHttp<AwsSdConfig>,
    "consul" Consul WithHttp<ConsulSdConfig>,
    "dns" Dns DnsSdConfig,
    "docker" Docker WithHttp<DockerSdConfig>,
    "dockerswarm" DockerSwarm WithHttp<DockerSwarmSdConfig>,
    "ec2" Ec2 WithHttp<Ec2SdConfig>,
    "http" Http WithHttp<HttpSdConfig>,
    "kubernetes" Kubernetes WithHttp<KubernetesSdConfig>,
    "lightsail" Lightsail WithHttp<LightsailSdConfig>,
    "nerve" Nerve ZookeeperSdConfig,
    "oci" Oci WithHttp<OciSdConfig>,
    "outscale" Outscale WithHttp<OutscaleSdConfig>,
    "serverset" Serverset ZookeeperSdConfig,
    "stackit" Stackit WithHttp<StackitSdConfig>,
    "uyuni" Uyuni WithHttp<UyuniSdConfig>,
}

/// [`Section`] without its type.
trait ErasedSection {
    fn check(&mut self) -> Result<(), String>;
    fn paths(&mut self, each: &mut dyn FnMut(&mut String));
}

impl<T: Section> ErasedSection for T {
    fn check(&mut self) -> Result<(), String> {
        Section::check(self)
    }

    fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        Section::paths(self, each);
    }
}

/// The sections of one job but for `static_configs` and `file_sd_configs`, in the file's order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiscoverySections {
    pub entries: Vec<SdConfig>,
}

impl DiscoverySections {
    pub(super) fn knows(mechanism: &str) -> bool {
        MECHANISMS.contains(&mechanism)
    }

    pub(super) fn check(&mut self) -> Result<(), String> {
        self.entries.iter_mut().try_for_each(|entry| entry.section().check())
    }

    pub(super) fn paths(&mut self, each: &mut dyn FnMut(&mut String)) {
        self.entries.iter_mut().for_each(|entry| entry.section().paths(each));
    }
}

/// All lists by their keys, with those that [`super::ScrapeConfig`] holds itself.
pub(super) struct ShownSections<'a> {
    pub job: &'a super::ScrapeConfig,
}

impl Serialize for ShownSections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let own = ["file", "static"];
        let mut names: Vec<&str> = MECHANISMS.iter().copied().chain(own).collect();
        names.sort_unstable();
        for name in names {
            match name {
                "file" if !self.job.file_sd_configs.is_empty() => {
                    map.serialize_entry("file_sd_configs", &self.job.file_sd_configs)?;
                }
                "static" if !self.job.static_configs.is_empty() => {
                    map.serialize_entry("static_configs", &self.job.static_configs)?;
                }
                _ => {
                    let entries = self.job.discovery.entries.iter();
                    let list: Vec<&SdConfig> = entries.filter(|entry| entry.mechanism() == name).collect();
                    if !list.is_empty() {
                        map.serialize_entry(&format!("{name}_sd_configs"), &list)?;
                    }
                }
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
