//! `digitalocean_sd_configs`: droplets or database clusters of one account.

use super::client::{Call, Client};
use super::meta::{Meta, enclosed, host_port};
use super::polling::Poll;
use super::{TargetGroup, Tools};
use crate::config::{DigitalOceanSdConfig, MAX_DISCOVERY_PAGES, PromDuration, WithHttp};
use hearth_model::Labels;
use serde::Deserialize;

const API: &str = "https://api.digitalocean.com/v2";

/// One account.
pub struct DigitalOcean {
    config: DigitalOceanSdConfig,
    client: Client,
    base: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Page {
    droplets: Vec<Droplet>,
    databases: Option<Vec<Database>>,
    links: Links,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Links {
    pages: Pages,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pages {
    next: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Droplet {
    id: u64,
    name: String,
    status: String,
    features: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    region: Option<Slug>,
    image: Option<Image>,
    size_slug: String,
    networks: Networks,
    vpc_uuid: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Slug {
    slug: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Image {
    slug: Option<String>,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Networks {
    v4: Vec<Address>,
    v6: Vec<Address>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    ip_address: String,
    r#type: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Database {
    id: String,
    name: String,
    engine: String,
    version: String,
    status: String,
    region: String,
    size: String,
    num_nodes: u64,
    tags: Option<Vec<String>>,
    connection: Option<Connection>,
    private_connection: Option<Connection>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Connection {
    host: String,
}

/// Droplets with a network.
pub fn droplets(page: &Page, port: u64) -> Vec<Labels> {
    let target = |droplet: &Droplet| {
        let find = |list: &[Address], kind: &str| {
            list.iter().find(|address| address.r#type == kind).map(|address| address.ip_address.clone())
        };
        let (v4, v6) = (&droplet.networks.v4, &droplet.networks.v6);
        if v4.is_empty() {
            return None;
        }
        let public = find(v4, "public").unwrap_or_default();
        let mut meta = Meta::new("__meta_digitalocean_").address(&host_port(&public, port));
        meta.show("droplet_id", droplet.id)
            .set("droplet_name", &droplet.name)
            .set("size", &droplet.size_slug);
        meta.set("status", &droplet.status).set("public_ipv4", &public);
        meta.maybe("private_ipv4", find(v4, "private")).maybe("public_ipv6", find(v6, "public"));
        meta.maybe("region", droplet.region.as_ref().map(|region| &region.slug));
        if let Some(image) = &droplet.image {
            meta.maybe("image", image.slug.as_ref()).set("image_name", &image.name);
        }
        meta.maybe("vpc", droplet.vpc_uuid.as_ref());
        for (name, list) in [("features", &droplet.features), ("tags", &droplet.tags)] {
            if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
                meta.set(name, enclosed(list, ","));
            }
        }
        Some(meta.labels())
    };
    page.droplets.iter().filter_map(target).collect()
}

/// Database clusters; metrics are served by the host itself.
pub fn databases(page: &Page, port: u64) -> Vec<Labels> {
    let target = |database: &Database| {
        let host = |connection: &Option<Connection>| connection.as_ref().map(|c| c.host.clone());
        let public = host(&database.connection)?;
        let mut meta = Meta::new("__meta_digitalocean_db_").address(&host_port(&public, port));
        meta.set("id", &database.id).set("name", &database.name).set("engine", &database.engine);
        meta.set("version", &database.version).set("status", &database.status);
        meta.set("region", &database.region)
            .set("size", &database.size)
            .show("num_nodes", database.num_nodes);
        meta.set("host", &public).maybe("private_host", host(&database.private_connection));
        // A tag may be `name:value`.
        let tags = database.tags.iter().flatten();
        meta.each("tag_", tags.map(|tag| tag.split_once(':').unwrap_or((tag, "true"))));
        Some(meta.labels())
    };
    page.databases.iter().flatten().filter_map(target).collect()
}

impl DigitalOcean {
    pub fn new(config: &WithHttp<DigitalOceanSdConfig>, tools: &Tools) -> DigitalOcean {
        DigitalOcean {
            config: config.own.clone(),
            client: Client::new(&config.http, tools),
            base: API.into(),
        }
    }
}

impl Poll for DigitalOcean {
    const MECHANISM: &'static str = "digitalocean";

    fn interval(&self) -> PromDuration {
        self.config.refresh_interval
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, String> {
        let (what, find): (_, fn(&Page, u64) -> Vec<Labels>) = match self.config.role.as_str() {
            "databases" => ("databases", databases),
            _ => ("droplets", droplets),
        };
        let mut targets = Vec::new();
        for number in 1..=MAX_DISCOVERY_PAGES {
            let url = format!("{}/{what}?page={number}&per_page=200", self.base);
            let page: Page = self.client.json(Call::get(url)).await?;
            targets.extend(find(&page, self.config.port));
            if page.links.pages.next.is_none() {
                return Ok(vec![TargetGroup {
                    source: "DigitalOcean".into(),
                    targets,
                    labels: Labels::empty(),
                }]);
            }
        }
        Err(format!("more than {MAX_DISCOVERY_PAGES} pages of {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{pages, polled};

    const PAGES: &[(&str, &str)] = &[
        (
            "GET /droplets?page=1&",
            r#"{"droplets": [{"id": 5, "name": "web", "status": "active", "features": ["backups"], "tags": ["a", "b"],
                "region": {"slug": "nyc3"}, "image": {"slug": "ubuntu-16", "name": "16.04"}, "size_slug": "s-1", "vpc_uuid": "v-1",
                "networks": {"v4": [{"ip_address": "10.0.0.1", "type": "private"}, {"ip_address": "1.2.3.4", "type": "public"}],
                             "v6": [{"ip_address": "2001::1", "type": "public"}]}},
               {"id": 6, "networks": {"v4": []}}],
               "links": {"pages": {"next": "https://x/?page=2"}}}"#,
        ),
        ("GET /droplets?page=2&", r#"{"droplets": [], "links": {}}"#),
        (
            "GET /databases?page=1&",
            r#"{"databases": [{"id": "d", "name": "db", "engine": "pg", "version": "15", "status": "online", "region": "nyc1",
                "size": "db-1", "num_nodes": 2, "tags": ["env:prod", "x"], "connection": {"host": "h.example"},
                "private_connection": {"host": "p.example"}}]}"#,
        ),
    ];

    async fn of(yaml: &str) -> Vec<String> {
        let section = crate::testing::section("digitalocean", yaml);
        let crate::config::SdConfig::DigitalOcean(config) = section else { panic!("a section") };
        let mut found = DigitalOcean::new(&config, &crate::testing::tools());
        found.base = format!("http://{}", pages(PAGES).await);
        polled(found).await
    }

    #[tokio::test]
    async fn droplets_and_databases_become_targets() {
        assert_eq!(
            of("{}").await,
            [
                r#"{__address__="1.2.3.4:80", __meta_digitalocean_droplet_id="5", __meta_digitalocean_droplet_name="web", __meta_digitalocean_features=",backups,", __meta_digitalocean_image="ubuntu-16", __meta_digitalocean_image_name="16.04", __meta_digitalocean_private_ipv4="10.0.0.1", __meta_digitalocean_public_ipv4="1.2.3.4", __meta_digitalocean_public_ipv6="2001::1", __meta_digitalocean_region="nyc3", __meta_digitalocean_size="s-1", __meta_digitalocean_status="active", __meta_digitalocean_tags=",a,b,", __meta_digitalocean_vpc="v-1"}"#
            ]
        );
        assert_eq!(
            of("{role: databases, port: 9273}").await,
            [
                r#"{__address__="h.example:9273", __meta_digitalocean_db_engine="pg", __meta_digitalocean_db_host="h.example", __meta_digitalocean_db_id="d", __meta_digitalocean_db_name="db", __meta_digitalocean_db_num_nodes="2", __meta_digitalocean_db_private_host="p.example", __meta_digitalocean_db_region="nyc1", __meta_digitalocean_db_size="db-1", __meta_digitalocean_db_status="online", __meta_digitalocean_db_tag_env="prod", __meta_digitalocean_db_tag_x="true", __meta_digitalocean_db_version="15"}"#
            ]
        );
    }
}
