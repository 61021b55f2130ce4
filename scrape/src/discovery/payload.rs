//! The parsers of what discovery APIs answer, as functions from bytes to a number of targets, for who
//! attacks them. No mechanism goes through here.

use super::TargetGroup;
use super::kubernetes::objects;
use super::{
    aws, consul, digitalocean, docker, dockerswarm, eureka, gce, hetzner, http, ionos, kubernetes, kuma,
    linode, marathon, nomad, nulls, oci, openstack, outscale, puppetdb, scaleway, stackit, triton, uyuni,
    vultr, xml, zookeeper,
};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub use crate::fetch::answer::{Head, read_pieces};

/// Bytes to targets, or why they are none.
pub type Parser = fn(&[u8]) -> Result<usize, String>;

/// Every parser, by its mechanism.
pub const PARSERS: &[(&str, Parser)] = &[
    ("http", |bytes| http::groups(bytes, "u").map(|groups| count(&groups))),
    ("consul", |bytes| Ok(count(&[consul::group("s", "d", ",", json(bytes)?)]))),
    ("ec2", |bytes| Ok(aws::ec2::instances(&aws::xml(bytes)?, "r", 80, &BTreeMap::new()).len())),
    ("lightsail", |bytes| Ok(aws::lightsail::instances(&json(bytes)?, "r", 80).len())),
    ("digitalocean", |bytes| Ok(digitalocean::droplets(&json(bytes)?, 80).len())),
    ("digitalocean", |bytes| Ok(digitalocean::databases(&json(bytes)?, 80).len())),
    ("eureka", |bytes| Ok(count(&eureka::groups(&aws::xml(bytes)?)))),
    ("gce", |bytes| Ok(gce::instances(&json(bytes)?, &Default::default()).len())),
    ("hetzner", |bytes| Ok(hetzner::cloud_targets(&json(bytes)?, &BTreeMap::new(), 80).len())),
    ("hetzner", |bytes| Ok(hetzner::robot_targets(&json::<Vec<_>>(bytes)?, 80).len())),
    ("ionos", |bytes| Ok(ionos::targets(&json(bytes)?, &Default::default()).len())),
    ("kuma", |bytes| Ok(count(&kuma::groups(&json(bytes)?)))),
    ("linode", |bytes| {
        let addresses = linode::Addresses::default();
        Ok(linode::instances(&json::<Vec<_>>(bytes)?, &addresses, &Default::default()).len())
    }),
    ("marathon", |bytes| Ok(count(&marathon::groups(&json(bytes)?)))),
    ("nomad", |bytes| Ok(nomad::instances(&json::<Vec<_>>(bytes)?, ",").len())),
    ("puppetdb", |bytes| Ok(puppetdb::targets(&json::<Vec<_>>(bytes)?, &Default::default()).len())),
    ("scaleway", |bytes| Ok(scaleway::instances(&json(bytes)?, 80).len())),
    ("openstack", |bytes| {
        let floating = openstack::Floating::default();
        Ok(openstack::instances(&json::<Vec<_>>(bytes)?, &floating, 80).len())
    }),
    ("openstack", |bytes| Ok(openstack::hypervisors(&json::<Vec<_>>(bytes)?, 80).len())),
    ("triton", |bytes| Ok(triton::targets(&json(bytes)?, &Default::default()).len())),
    ("vultr", |bytes| Ok(vultr::instances(&json(bytes)?, 80).len())),
    ("docker", |bytes| {
        let config = Default::default();
        Ok(docker::targets(&config, &json::<Vec<docker::Container>>(bytes)?, &HashMap::new()).len())
    }),
    ("dockerswarm", |bytes| {
        let services: Vec<dockerswarm::Service> = json(bytes)?;
        Ok(dockerswarm::services(&services, &HashMap::new(), 80).len())
    }),
    ("ecs", |bytes| Ok(aws::ecs::tasks(&json(bytes)?).len())),
    ("msk", |bytes| Ok(aws::msk::nodes(&json(bytes)?).len())),
    ("elasticache", |bytes| Ok(aws::elasticache::clusters(&xml::parse(bytes)?).len())),
    ("rds", |bytes| Ok(aws::rds::instances(&xml::parse(bytes)?).len())),
    ("oci", |bytes| Ok(oci::instances(&json::<Vec<_>>(bytes)?).len())),
    ("outscale", |bytes| Ok(outscale::machines(&json(bytes)?, "r", 80).len())),
    ("stackit", |bytes| Ok(stackit::servers(&json(bytes)?, "p", 80).len())),
    ("uyuni", |bytes| {
        let answer = uyuni::answer(bytes)?;
        Ok(uyuni::targets(&answer, &answer, &answer, ",").len())
    }),
    ("serverset", |bytes| Ok(usize::from(zookeeper::serverset(bytes, "/p").is_some()))),
    ("nerve", |bytes| Ok(usize::from(zookeeper::nerve(bytes, "/p").is_some()))),
    ("zookeeper", |bytes| {
        let session = zookeeper::jute::session_ms(bytes).map(|_| 0);
        match zookeeper::jute::packet(bytes)? {
            zookeeper::jute::Packet::Answer { body, .. } => {
                let texts = zookeeper::jute::Reader::new(body).texts()?;
                Ok(texts.len().min(bytes.len()))
            }
            _ => session,
        }
    }),
    ("nulls", |bytes| {
        let is_json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).is_ok();
        assert_eq!(is_json(&nulls::without_nulls(bytes)), is_json(bytes), "what is no JSON stays none");
        Ok(0)
    }),
    ("kubernetes", |bytes| objects::event::<objects::Pod>(bytes).map(|_| 0)),
    ("kubernetes", |bytes| objects::event::<objects::EndpointSlice>(bytes).map(|_| 0)),
    ("kubernetes", |bytes| json::<objects::Page<objects::Ingress>>(bytes).map(|_| 0)),
    ("kubernetes", |bytes| {
        let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
        kubernetes::access::kubeconfig(text, Path::new("/")).map(|_| 0)
    }),
];

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    nulls::from_slice(bytes).map_err(|e| e.to_string())
}

fn count(groups: &[TargetGroup]) -> usize {
    groups.iter().map(|group| group.targets.len()).sum()
}
