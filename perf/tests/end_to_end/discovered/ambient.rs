//! Clouds that are asked as the environment says, with its proxy, its authorities and its keys: Compute Engine and OVHcloud
//! (both services), with what is odd about their machines.

use super::Pair;
use super::accounts::{Accounts, Answer, compare, configuration, owned, page};
use super::api::{Request, pairs, value};
use super::front::Front;
use crate::setup::folder;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Of a key that only tests use.
const KEY: &str = include_str!("../../../../scrape/src/discovery/test-key.pem");

/// For a service account's key, and for a user's.
fn tokens(request: &Request, _: bool) -> Answer {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/token"));
    let form = pairs(&request.body);
    match value(&form, "grant_type") {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            assert_eq!(value(&form, "assertion").split('.').count(), 3);
        }
        "refresh_token" => {
            let given = ["client_id", "client_secret", "refresh_token"].map(|name| value(&form, name));
            assert_eq!(given, ["id", "client+/secret", "1//refresh"]);
        }
        other => panic!("no token is given for {other}"),
    }
    token()
}

fn token() -> Answer {
    Answer::json(&json!({"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"}))
}

/// What an instance is told about itself.
fn itself(request: &Request, _: bool) -> Answer {
    assert_eq!(request.header("metadata-flavor"), "Google");
    match request.path.as_str() {
        "/computeMetadata/v1/instance/service-accounts/default/token" => token(),
        _ => Answer::missing(),
    }
}

fn compute(request: &Request, changed: bool) -> Answer {
    if request.header("authorization") != "Bearer ya29.token" {
        return Answer::refused(
            &json!({"error": {"code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED"}}),
        );
    }
    let all = match request.path.as_str() {
        "/compute/v1/projects/mine/zones/europe-west1-b/instances" => instances(),
        "/compute/v1/projects/empty/zones/europe-west1-b/instances" => Vec::new(),
        _ => {
            return Answer {
                status: "403 Forbidden",
                ..Answer::json(
                    &json!({"error": {"code": 403, "message": "no", "errors": [{"domain": "global", "reason": "forbidden"}]}}),
                )
            };
        }
    };
    let mut all = owned(if all.is_empty() { "empty" } else { "mine" }, changed, all);
    match request.get("filter") {
        "" => {}
        "labels.env = \"prod\"" => all.retain(|instance| instance["labels"]["env"] == "prod"),
        other => panic!("{other} filters nothing"),
    }
    let number = request.get("pageToken").strip_prefix("next+/=").unwrap_or_default();
    let (list, number, more) = page(&all, number);
    let mut answer = json!({"kind": "compute#instanceList", "id": "projects/mine/zones/europe-west1-b/instances", "selfLink": "s"});
    // A list without entries is left out, and so is the token of a page that is not there.
    if !list.is_empty() {
        answer["items"] = json!(list);
    }
    if more {
        answer["nextPageToken"] = json!(format!("next+/={}", number + 1));
    }
    Answer::json(&answer)
}

fn instances() -> Vec<Value> {
    let at = |path: &str| format!("https://www.googleapis.com/compute/v1/projects/mine/{path}");
    let interface = |name: &str, ip: &str, access: Value| {
        json!({"kind": "compute#networkInterface", "name": name, "network": at("global/networks/default"), "subnetwork": at("regions/europe-west1/subnetworks/default"),
            "networkIP": ip, "accessConfigs": access, "stackType": "IPV4_ONLY", "fingerprint": "f="})
    };
    let nat = |kind: &str, ip: &str| json!([{"kind": "compute#accessConfig", "type": kind, "name": "External NAT", "natIP": ip, "networkTier": "PREMIUM"}]);
    let instance = |id: &str, interfaces: Value, more: Value| {
        let mut instance = json!({"kind": "compute#instance", "id": id, "creationTimestamp": "2021-07-06T03:17:25.112-07:00", "name": format!("vm-{id}"), "status": "RUNNING",
            "tags": {"fingerprint": "f="}, "machineType": at("zones/europe-west1-b/machineTypes/e2-micro"), "zone": at("zones/europe-west1-b"), "canIpForward": false,
            "networkInterfaces": interfaces, "disks": [], "metadata": {"kind": "compute#metadata", "fingerprint": "f="}, "selfLink": at("zones/europe-west1-b/instances/x"),
            "scheduling": {"preemptible": false}, "labelFingerprint": "f=", "startRestricted": false, "deletionProtection": false});
        instance.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
        instance
    };
    vec![
        instance(
            "1234567890123456789",
            json!([
                interface("nic0", "10.132.0.1", nat("ONE_TO_ONE_NAT", "127.11.0.1")),
                interface("nic 1/ü", "10.133.0.1", json!([]))
            ]),
            json!({"tags": {"items": ["http-server", "a,b", "größe"], "fingerprint": "f="}, "labels": {"env": "prod", "a-b": "c", "größe": ""},
                "metadata": {"items": [{"key": "ssh-keys", "value": "a:ssh-rsa b\nc"}, {"key": "enable-oslogin"}, {"key": "größe", "value": ""}, {"key": "null", "value": null}]}}),
        ),
        instance(
            "2",
            json!([interface("nic0", "10.132.0.2", json!([]))]),
            json!({"status": "TERMINATED", "tags": null, "metadata": null, "labels": null}),
        ),
        instance("3", json!([]), json!({})),
        instance("4", Value::Null, json!({"labels": {"env": "prod"}})),
        instance(
            "5",
            json!([
                interface("nic0", "10.132.0.5", nat("OTHER", "127.11.0.5")),
                interface("nic1", "10.132.0.55", nat("ONE_TO_ONE_NAT", "127.11.0.55"))
            ]),
            json!({"labels": {"env": "prod"}}),
        ),
        instance(
            "6",
            json!([interface("nic0", "10.132.0.6", nat("ONE_TO_ONE_NAT", ""))]),
            json!({"tags": {"items": []}}),
        ),
        instance("7", json!([{"name": "nic0", "network": at("global/networks/legacy")}]), json!({})),
        instance(
            "8",
            json!([interface("nic0", "10.132.0.8", Value::Null)]),
            json!({"zone": at("zones/elsewhere")}),
        ),
        instance("999999", json!([interface("nic0", "10.132.0.9", json!([]))]), json!({})),
    ]
}

/// The addresses of each server; of the first of the list there is nothing to be told.
const ADDRESSES: [(&str, &[&str]); 13] = [
    ("old.ovh.net", &["127.12.0.1"]),
    ("gone.ovh.net", &[]),
    ("all.ovh.net", &["127.12.0.1", "2001:41d0:1::1", "127.12.0.2", "2001:41d0:1::2"]),
    ("networks.ovh.net", &["127.12.1.0/29", "127.12.1.9/32", "2001:41d0:2::/64"]),
    ("v6.ovh.net", &["2001:41d0:3::1"]),
    ("v6-single.ovh.net", &["2001:41d0:4::1/128"]),
    ("v6-first.ovh.net", &["2001:41d0:5::/64", "127.12.0.5"]),
    ("nothing.ovh.net", &[]),
    ("only-networks.ovh.net", &["127.12.2.0/24", "2001:41d0:6::/56"]),
    ("unspecified.ovh.net", &["0.0.0.0", "127.12.0.6/32"]),
    ("unreadable.ovh.net", &["127.12.0.7", "none"]),
    ("v6-32.ovh.net", &["2001:41d0::/32"]),
    ("new.ovh.net", &["127.12.0.8"]),
];

fn ovhcloud(request: &Request, changed: bool) -> Answer {
    if request.path == "/1.0/auth/time" {
        return Answer { status: "200 OK", headers: Vec::new(), body: "1625566645".to_owned() };
    }
    assert_eq!(request.header("x-ovh-application"), "key");
    assert!(
        request.header("x-ovh-signature").starts_with("$1$") && request.header("x-ovh-signature").len() == 43
    );
    assert!(!request.header("x-ovh-timestamp").is_empty());
    let account = match request.header("x-ovh-consumer") {
        "stranger" => {
            return Answer {
                status: "403 Forbidden",
                ..Answer::json(
                    &json!({"errorCode": "INVALID_CREDENTIAL", "httpCode": "403 Forbidden", "message": "This credential does not exist"}),
                )
            };
        }
        other => other,
    };
    let (service, path) =
        match (request.path.strip_prefix("/1.0/vps"), request.path.strip_prefix("/1.0/dedicated/server")) {
            (Some(path), _) => ("vps", path),
            (_, Some(path)) => ("dedicated", path),
            _ => panic!("nobody asks for {}", request.path),
        };
    let Some(path) = path.strip_prefix('/') else {
        let names = ADDRESSES.iter().map(|(name, _)| json!(name)).collect();
        return Answer::json(&Value::Array(owned(account, changed, names)));
    };
    let (name, what) = path.split_once('/').unwrap_or((path, ""));
    match ADDRESSES.iter().find(|(known, _)| *known == name && name != "gone.ovh.net") {
        None => Answer {
            status: "404 Not Found",
            ..Answer::json(&json!({"message": "This service does not exist"}))
        },
        Some((_, ips)) if what == "ips" => Answer::json(&json!(ips)),
        Some(_) if service == "vps" => Answer::json(&vps(name)),
        Some(_) => Answer::json(&dedicated(name)),
    }
}

fn vps(name: &str) -> Value {
    let model = json!({"name": "vps-value-1-2-40", "availableOptions": [], "maximumAdditionnalIp": 16, "offer": "VPS abc", "disk": 40, "version": "2019v1", "vcore": 1, "memory": 2048, "datacenter": ["bhs", "größe"]});
    let mut server = json!({"keymap": null, "zone": "Region OpenStack: os-syd2", "iam": {"id": "i", "urn": "u"}, "model": model, "displayName": format!("my {name}"), "monitoringIpBlocks": [], "cluster": "cluster_127",
        "state": "running", "name": name, "netbootMode": "local", "memoryLimit": 2048, "offerType": "ssd", "vcore": 1, "slaMonitoring": false});
    if name == "all.ovh.net" {
        server["keymap"] = json!(["fr", "us"]);
        server["monitoringIpBlocks"] = json!(["92.222.184.0/24", "92.222.185.0/24"]);
        server["model"]["datacenter"] = json!([]);
    }
    if name == "v6.ovh.net" {
        server["model"]["datacenter"] = Value::Null;
        server["displayName"] = Value::Null;
        server["cluster"] = json!("");
    }
    server
}

fn dedicated(name: &str) -> Value {
    let mut server = json!({"availabilityZone": "eu-west-rbx-a", "ip": "127.12.0.9", "newUpgradeSystem": true, "commercialRange": "Advance-1 Gen 2", "rack": "TESTRACK", "rescueMail": null, "supportLevel": "pro", "bootId": 1,
        "linkSpeed": 123, "professionalUse": false, "monitoring": false, "noIntervention": false, "name": name, "rootDevice": null, "state": "test", "datacenter": "gra3", "os": "debian11_64", "reverse": format!("reverse.{name}"), "serverId": 1234, "bootScript": null});
    if name == "v6.ovh.net" {
        for field in ["os", "reverse", "commercialRange", "linkSpeed"] {
            server[field] = Value::Null;
        }
        server["noIntervention"] = json!(true);
    }
    server
}

fn gce(project: &str, more: &str) -> (&'static str, &'static str, String) {
    ("gce", "instance_id", format!("project: {project}, zone: europe-west1-b{more}"))
}

fn sections() -> Vec<(&'static str, &'static str, String)> {
    let ovh = |service: &str, consumer: &str| {
        let section = format!(
            "endpoint: ovh-eu, application_key: key, application_secret: secret, consumer_key: {consumer}, service: {service}"
        );
        ("ovhcloud", if service == "vps" { "vps_name" } else { "dedicated_server_name" }, section)
    };
    vec![
        gce("mine", ", port: 9100"),
        gce("mine", ", tag_separator: ';', filter: 'labels.env = \"prod\"'"),
        gce("empty", ""),
        gce("stranger", ""),
        ovh("vps", "mine"),
        ovh("vps", "empty"),
        ovh("vps", "stranger"),
        ovh("dedicated_server", "mine"),
        ovh("dedicated_server", "empty"),
        ovh("dedicated_server", "stranger"),
    ]
}

/// A service account's key.
fn key(folder: &Path) -> String {
    let file = folder.join("key.json");
    let key = json!({"type": "service_account", "project_id": "mine", "private_key_id": "id", "private_key": KEY, "client_email": "hearth@mine.iam.gserviceaccount.com", "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com"});
    std::fs::write(&file, key.to_string()).expect("a file");
    file.display().to_string()
}

fn accounts() -> Arc<Accounts> {
    Accounts::new([
        ("oauth2.googleapis.com", tokens as _),
        ("compute.googleapis.com", compute as _),
        ("eu.api.ovh.com", ovhcloud as _),
        ("127.0.0.1", itself as _),
    ])
}

/// Serves these accounts, and runs both servers with these sections where the environment leads there.
fn start(
    folder: &Path,
    accounts: &Arc<Accounts>,
    sections: &[(&str, &str, String)],
    more: impl Fn(&Front) -> (&'static str, String),
) -> Pair {
    let shared = Arc::clone(accounts);
    let front = Front::start(folder, &accounts.hosts(), move |request, reply| shared.answer(request, reply));
    let (proxy, authority) = (format!("http://{}", front.address), front.authority.display().to_string());
    let (name, value) = more(&front);
    let home = folder.display().to_string();
    let environment = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("https_proxy", &proxy),
        ("NO_PROXY", ""),
        ("no_proxy", ""),
        ("SSL_CERT_FILE", &authority),
        ("GOOGLE_APPLICATION_CREDENTIALS", ""),
        ("HOME", &home),
        (name, &value),
    ];
    Pair::start_within(folder, &configuration(sections), &environment)
}

#[test]
fn machines_that_the_environment_leads_to_are_the_same() {
    let (folder, accounts) = (folder(), accounts());
    let credentials = |_: &Front| ("GOOGLE_APPLICATION_CREDENTIALS", key(folder.path()));
    let pair = start(folder.path(), &accounts, &sections(), credentials);
    compare(&pair, &accounts, &["gce", "ovhcloud"], [22, 21], "999999");
}

/// The instance that the servers run on has an account; a user has logged in.
#[test]
fn machines_that_need_no_key_of_their_own_are_the_same() {
    for logged_in in [false, true] {
        let folder = folder();
        if logged_in {
            let place = folder.path().join(".config/gcloud");
            std::fs::create_dir_all(&place).expect("a folder");
            let key = json!({"type": "authorized_user", "client_id": "id", "client_secret": "client+/secret", "refresh_token": "1//refresh"});
            std::fs::write(place.join("application_default_credentials.json"), key.to_string())
                .expect("a file");
        }
        let host = |front: &Front| match logged_in {
            true => ("GCE_METADATA_HOST", "127.0.0.1:1".to_owned()),
            false => ("GCE_METADATA_HOST", front.address.clone()),
        };
        let pair = start(folder.path(), &accounts(), &[gce("mine", ""), gce("stranger", "")], host);
        pair.agree("with what the machine has", |theirs| match theirs.len() {
            6 => Ok(()),
            other => Err(format!("{other} targets")),
        });
    }
}
