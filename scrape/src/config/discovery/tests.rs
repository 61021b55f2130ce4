//! Sections in, what promtool 3.5 says of them out.

use crate::config::{GlobalConfig, ScrapeConfig, resolve};
use std::path::Path;

fn load(mechanism: &str, entry: &str) -> Result<ScrapeConfig, String> {
    let yaml = format!("{{job_name: a, {mechanism}_sd_configs: [{entry}]}}");
    let mut configs = vec![serde_yaml::from_str(&yaml).map_err(|e| e.to_string())?];
    resolve(&mut GlobalConfig::default(), &mut configs, Path::new("/etc/p")).map_err(|e| e.to_string())?;
    Ok(configs.remove(0))
}

/// Each entry with the message that refuses it, or "" where it is good.
#[track_caller]
fn check(mechanism: &str, cases: &[(&str, &str)]) {
    for (entry, expect) in cases {
        match load(mechanism, entry) {
            Ok(_) => assert_eq!(*expect, "", "{mechanism} {entry} loads"),
            Err(error) => {
                assert!(
                    !expect.is_empty() && error.contains(expect),
                    "{mechanism} {entry}\n got: {error}\nwant: {expect}"
                );
            }
        }
    }
}

#[test]
fn http_and_dns_sections_are_checked() {
    check(
        "http",
        &[
            ("{}", "URL is missing"),
            ("{url: 'ftp://x/'}", "URL scheme must be 'http' or 'https'"),
            ("{url: 'http:///x'}", "host is missing in URL"),
            ("null", "empty or null section in http_sd_configs"),
            ("{url: 'http://h/x', foo: 1}", "unknown field `foo`"),
            ("{url: 'http://h/x', refresh_interval: 0s}", "refresh_interval must be greater than zero"),
            (
                "{url: 'http://h/x', basic_auth: {username: a}, authorization: {credentials: b}}",
                "at most one of basic_auth, oauth2 & authorization must be configured",
            ),
            ("{url: 'http://h/x', authorization: {credentials: b}, follow_redirects: no}", ""),
        ],
    );
    let port = "a port is required in DNS-SD configs for all record types except SRV";
    check(
        "dns",
        &[
            ("{}", "DNS-SD config must contain at least one SRV record name"),
            ("{names: [a], type: A}", port),
            ("{names: [a], type: CNAME}", "invalid DNS-SD records type CNAME"),
            ("{names: [a], type: mx, port: 5}", ""),
            ("{names: [a], port: 99999}", "invalid port 99999"),
        ],
    );
}

#[test]
fn kubernetes_sections_are_checked() {
    let url = "to use custom HTTP client configuration please provide the 'api_server' URL explicitly";
    check(
        "kubernetes",
        &[
            ("{}", "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)"),
            ("{role: x}", "unknown Kubernetes SD role \"x\""),
            (
                "{role: pod, api_server: 'http://x', kubeconfig_file: y}",
                "cannot use 'kubeconfig_file' and 'api_server' simultaneously",
            ),
            (
                "{role: pod, kubeconfig_file: y, basic_auth: {username: a}}",
                "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
            ),
            ("{role: pod, basic_auth: {username: a}}", url),
            ("{role: pod, follow_redirects: false}", url),
            (
                "{role: pod, api_server: 'http://x', namespaces: {own_namespace: true}}",
                "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
            ),
            (
                "{role: pod, kubeconfig_file: y, namespaces: {own_namespace: true}}",
                "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
            ),
            ("{role: pod, selectors: [{role: node}]}", "pod role supports only pod selectors"),
            (
                "{role: endpoints, selectors: [{role: node}]}",
                "endpoints role supports only pod, service, endpoints selectors",
            ),
            ("{role: endpoints, selectors: [{role: pod}, {role: pod}]}", "duplicated selector role: pod"),
            (
                "{role: pod, selectors: [{role: pod, field: 'a>b'}]}",
                "invalid selector: 'a>b'; can't understand 'a>b'",
            ),
            ("{role: pod, selectors: [{role: z}]}", "unknown Kubernetes SD role \"z\""),
            ("{role: pod, attach_metadata: {foo: true}}", "unknown field `foo`"),
            ("{role: pod, namespaces: {names: [a]}, attach_metadata: {node: true}}", ""),
        ],
    );
}

#[test]
fn aws_sections_are_checked() {
    let values = "EC2 SD configuration filter values cannot be empty";
    check(
        "ec2",
        &[
            ("{region: x, filters: [{name: a}]}", values),
            ("{region: x, external_id: y}", "needs a role_arn"),
            ("{}", ""),
        ],
    );
    check("lightsail", &[("{region: x, filters: []}", "unknown field `filters`"), ("{region: x}", "")]);
    check(
        "aws",
        &[
            ("{role: x}", "unknown AWS SD role \"x\""),
            ("{role: ecs}", ""),
            ("{role: msk, clusters: [arn]}", ""),
            ("{role: rds, filters: [{name: a, values: [b]}]}", ""),
            ("{role: elasticache, filters: [{name: a, values: [b]}]}", "takes no filters"),
            ("{role: ec2, clusters: [arn]}", "takes no clusters"),
            ("{role: lightsail, filters: [{name: a, values: [b]}]}", "takes no filters"),
            ("{role: ec2, filters: [{name: a, values: [b]}]}", ""),
        ],
    );
}

#[test]
fn cloud_sections_are_checked() {
    check(
        "hetzner",
        &[
            ("{}", "role missing (one of: robot, hcloud)"),
            ("{role: x}", "unknown role \"x\""),
            ("{role: hcloud}", ""),
        ],
    );
    check(
        "digitalocean",
        &[("{}", ""), ("{role: x}", "unknown role \"x\""), ("{port: 99999}", "invalid port 99999")],
    );
    check("linode", &[("{region: x}", ""), ("{zone: x}", "unknown field `zone`")]);
    check("vultr", &[("{}", "")]);
    check(
        "ovhcloud",
        &[
            ("{}", "application key can not be empty"),
            ("{application_key: a}", "application secret can not be empty"),
            ("{endpoint: '', service: vps}", "endpoint can not be empty"),
            (
                "{application_key: a, application_secret: b, consumer_key: c, service: x}",
                "unknown service: x",
            ),
            ("{application_key: a, application_secret: b, consumer_key: c, service: vps}", ""),
        ],
    );
    check(
        "azure",
        &[
            ("{}", "azure SD configuration requires a subscription_id"),
            ("{subscription_id: s}", "azure SD configuration requires a tenant_id"),
            ("{subscription_id: s, authentication_method: x}", "unknown authentication_type \"x\""),
            (
                "{subscription_id: s, authentication_method: SDK, environment: x}",
                "there is no cloud environment matching the name \"x\"",
            ),
            ("{subscription_id: s, authentication_method: ManagedIdentity}", ""),
        ],
    );
    check("ionos", &[("{}", "datacenter id can't be empty"), ("{datacenter_id: a}", "")]);
    check(
        "gce",
        &[
            ("{}", "GCE SD configuration requires a project"),
            ("{project: x}", "GCE SD configuration requires a zone"),
            ("{project: x, zone: y}", ""),
        ],
    );
    check(
        "scaleway",
        &[
            ("{}", "role missing (one of: instance, baremetal)"),
            ("{role: x}", "unknown role \"x\""),
            ("{role: instance}", "project_id is mandatory"),
            ("{role: instance, project_id: p}", "one of secret_key & secret_key_file must be configured"),
            ("{role: instance, project_id: p, secret_key: x}", "access_key is mandatory"),
            (
                "{role: instance, project_id: p, secret_key: x, access_key: y, secret_key_file: z}",
                "at most one of secret_key & secret_key_file must be configured",
            ),
            ("{role: instance, project_id: p, secret_key: x, access_key: y}", ""),
        ],
    );
}

#[test]
fn openstack_and_triton_sections_are_checked() {
    check(
        "openstack",
        &[
            ("{}", "role missing (one of: instance, hypervisor, loadbalancer)"),
            ("{role: x}", "unknown OpenStack SD role \"x\""),
            ("{role: instance}", "openstack SD configuration requires a region"),
            ("{role: instance, region: r, availability: x}", "unknown availability x, must be one of"),
            ("{role: instance, region: r}", ""),
        ],
    );
    check(
        "triton",
        &[
            ("{}", "triton SD configuration requires an account"),
            ("{account: a}", "triton SD configuration requires a dns_suffix"),
            ("{account: a, dns_suffix: b}", "triton SD configuration requires an endpoint"),
            ("{account: a, dns_suffix: b, endpoint: c, role: x}", "requires role to be 'container' or 'cn'"),
            (
                "{account: a, dns_suffix: b, endpoint: c, refresh_interval: 0s}",
                "RefreshInterval to be a positive",
            ),
            ("{account: a, dns_suffix: b, endpoint: c}", ""),
        ],
    );
}

#[test]
fn registry_sections_are_checked() {
    let eureka = "eureka_sd: invalid eureka server URL";
    check(
        "eureka",
        &[
            ("{}", "eureka_sd: empty or null eureka server"),
            ("{server: x}", eureka),
            ("{server: 'http:///x'}", eureka),
        ],
    );
    check(
        "puppetdb",
        &[
            ("{}", "URL is missing"),
            ("{url: 'http://x'}", "query missing"),
            ("{url: 'ftp://x', query: a}", "URL scheme must be 'http' or 'https'"),
            ("{url: 'http://', query: a}", "host is missing in URL"),
        ],
    );
    check(
        "marathon",
        &[
            ("{}", "marathon_sd: must contain at least one Marathon server"),
            (
                "{servers: ['http://x'], auth_token: a, auth_token_file: b}",
                "marathon_sd: at most one of auth_token & auth_token_file must be configured",
            ),
            (
                "{servers: ['http://x'], auth_token: a, basic_auth: {username: x}}",
                "marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured",
            ),
            (
                "{servers: ['http://x'], auth_token: a, authorization: {credentials: x}}",
                "marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured",
            ),
        ],
    );
    check("nomad", &[("{}", ""), ("{server: ' '}", "nomad SD configuration requires a server address")]);
    check("kuma", &[("{}", "kuma SD server must not be empty"), ("{server: 'http://x'}", "")]);
}

#[test]
fn docker_sections_are_checked() {
    check(
        "docker",
        &[("{}", "host missing"), ("{host: x}", "host \"x\" is none of unix"), ("{host: 'unix:///x'}", "")],
    );
    check(
        "dockerswarm",
        &[
            ("{}", "host missing"),
            ("{host: 'unix:///x'}", "role missing (one of: tasks, services, nodes)"),
            ("{host: 'unix:///x', role: foo}", "invalid role foo, expected tasks, services, or nodes"),
            ("{host: 'unix:///x', role: tasks}", ""),
        ],
    );
}

#[test]
fn consul_sections_are_checked() {
    check(
        "consul",
        &[
            ("{}", ""),
            ("{server: ' '}", "consul SD configuration requires a server address"),
            ("{scheme: ftp}", "consul SD scheme must be http or https"),
            (
                "{username: a, basic_auth: {username: b}}",
                "at most one of consul SD configuration username and",
            ),
            ("{token: a, authorization: {credentials: b}}", "at most one of consul SD token, authorization"),
        ],
    );
}

#[test]
fn sections_print_with_their_defaults_and_without_their_secrets() {
    let config =
        load("consul", "{token: canary, basic_auth: {username: u, password: canary}, node_meta: {a: 1}}");
    let text = serde_yaml::to_string(&config.expect("good")).expect("prints");
    let expect = "\
consul_sd_configs:
- basic_auth:
    username: u
    password: <secret>
  follow_redirects: true
  enable_http2: true
  server: localhost:8500
  token: <secret>
  tag_separator: ','
  scheme: http
  allow_stale: true
  refresh_interval: 30s
  node_meta:
    a: '1'
";
    assert!(text.ends_with(expect), "{text}");
    assert!(!text.contains("canary"));
}

#[test]
fn relative_paths_start_at_the_configuration() {
    let config = load(
        "http",
        "{url: 'http://h/', tls_config: {ca_file: a.pem}, authorization: {credentials_file: t}}",
    );
    let text = serde_yaml::to_string(&config.expect("good")).expect("prints");
    assert!(text.contains("/etc/p/a.pem") && text.contains("/etc/p/t\n"), "{text}");
}

#[test]
fn zookeeper_sections_are_checked() {
    for mechanism in ["serverset", "nerve"] {
        check(
            mechanism,
            &[
                ("{}", "must contain at least one Zookeeper server"),
                ("{servers: [a], paths: [/]}", "ZooKeeper server \"a\" has no port"),
                ("{servers: ['a:1']}", "must contain at least one path"),
                ("{servers: ['a:1'], paths: [a]}", "paths must begin with '/': a"),
                ("{servers: ['a:1'], paths: [/a], timeout: 0s}", "timeout must be at least 300ms"),
                ("{servers: ['a:1'], paths: [/a/, /]}", ""),
            ],
        );
    }
}

#[test]
fn later_cloud_sections_are_checked() {
    check(
        "uyuni",
        &[
            ("{}", "requires server host"),
            ("{server: 'http://h', password: p}", "requires a username"),
            ("{server: 'http://h', username: u}", "requires a password"),
            ("{server: 'http://h', username: u, password: p}", ""),
        ],
    );
    check(
        "stackit",
        &[
            ("{}", "requires a project"),
            ("{project: p, role: x}", "unknown role \"x\""),
            ("{project: p, endpoint: x}", "endpoint: URL scheme"),
            ("{project: p}", ""),
        ],
    );
    check(
        "outscale",
        &[
            ("{}", "requires a region"),
            ("{region: r}", "requires an access_key"),
            ("{region: r, access_key: a}", "requires secret_key or secret_key_file"),
            ("{region: r, access_key: a, secret_key: s, secret_key_file: f}", "at most one of secret_key"),
            ("{region: r, access_key: a, secret_key: s}", ""),
        ],
    );
    let key = "tenancy: t, user: u, fingerprint: f, key_file: k";
    check(
        "oci",
        &[
            ("{}", "requires a region"),
            ("{region: r}", "requires tenancy"),
            ("{region: r, auth: x}", "unknown auth method \"x\""),
            ("{region: r, auth: instance_principal, user: u}", "must not have user"),
            ("{region: r, auth: instance_principal}", ""),
            (
                &format!("{{region: r, {key}, key_passphrase: p, key_passphrase_file: f}}"),
                "at most one of key_passphrase and key_passphrase_file",
            ),
            ("{region: r, auth: instance_principal, key_passphrase: p}", "must not have a key_passphrase"),
            (&format!("{{region: r, {key}, key_passphrase_file: f}}"), ""),
            (&format!("{{region: r, {key}, compartments: [a, '']}}"), "compartments[1] must not be empty"),
            (&format!("{{region: r, {key}}}"), ""),
        ],
    );
}
