//! Recorded shapes of the API in, targets out.

use super::{Oci, fingerprint};
use crate::config::SdConfig;
use crate::discovery::polling::Poll;
use crate::discovery::signature::TEST_KEY;
use crate::testing::{Answer, api, polled, section, tools};

fn answer(request: &str) -> Answer {
    let lower = request.to_lowercase();
    assert!(
        lower.contains("\r\ndate: ") && request.contains("keyId=\"t/u/aa:bb\",algorithm=\"rsa-sha256\""),
        "{request}"
    );
    assert!(request.contains("headers=\"date (request-target) host\",signature=\""), "{request}");
    let paged = |next: &str, body: &str| {
        Answer::Whole(
            format!("200 OK\r\nContent-Type: application/json\r\nopc-next-page: {next}"),
            body.into(),
        )
    };
    match request.split(' ').nth(1).unwrap_or_default() {
        "/20160918/compartments?compartmentId=t" => Answer::json(
            r#"[{"id": "c1", "lifecycleState": "ACTIVE"}, {"id": "gone", "lifecycleState": "DELETED"}]"#,
        ),
        "/20160918/instances?compartmentId=c1&lifecycleState=RUNNING" => paged(
            "2",
            r#"[{"id": "i/1", "displayName": "web", "shape": "VM.E4", "availabilityDomain": "AD-1", "faultDomain": "FD-1", "imageId": "img", "region": "iad",
                "compartmentId": "c1", "lifecycleState": "RUNNING", "freeformTags": {"my-tag": "v"}, "definedTags": {"Oracle-Tags": {"CreatedBy": "me", "n": 5}}}]"#,
        ),
        "/20160918/instances?compartmentId=c1&lifecycleState=RUNNING&page=2" => {
            Answer::json(r#"[{"id": "i2", "compartmentId": "c1"}]"#)
        }
        "/20160918/vnicAttachments?compartmentId=c1&instanceId=i%2F1" => Answer::json(
            r#"[{"vnicId": "v1", "lifecycleState": "ATTACHED"}, {"vnicId": "v2", "lifecycleState": "ATTACHED"}, {"vnicId": "old", "lifecycleState": "DETACHED"}]"#,
        ),
        "/20160918/vnicAttachments?compartmentId=c1&instanceId=i2" => Answer::json("[]"),
        "/20160918/vnics/v1" => Answer::json(
            r#"{"id": "v1", "isPrimary": true, "privateIp": "10.0.0.1", "publicIp": "1.2.3.4", "hostnameLabel": "web", "ipv6Addresses": ["fd::1"]}"#,
        ),
        "/20160918/vnics/v2" => Answer::json(r#"{"id": "v2", "isPrimary": false, "privateIp": "10.0.0.2"}"#),
        // What may not be seen is told as not being there.
        _ => Answer::Whole("404 Not Found".into(), Vec::new()),
    }
}

#[tokio::test]
async fn instances_of_all_compartments_become_targets() {
    let folder = tempfile::tempdir().expect("folder");
    let key = folder.path().join("key.pem");
    std::fs::write(&key, include_str!("../passphrase/keys.pem")).expect("written");
    let passphrase = folder.path().join("passphrase");
    std::fs::write(&passphrase, "s e cret\n").expect("written");
    let yaml = format!(
        "{{tenancy: t, user: u, fingerprint: 'aa:bb', key_file: {}, key_passphrase_file: {}, region: iad, port: 9100}}",
        key.display(),
        passphrase.display()
    );
    let SdConfig::Oci(config) = section("oci", &yaml) else { panic!("a section") };
    let mut oci = Oci::new(&config, &tools());
    oci.base = Some(format!("http://{}", api(answer).await));
    assert_eq!(
        polled(oci).await,
        [
            r#"{__address__="10.0.0.1:9100", __meta_oci_availability_domain="AD-1", __meta_oci_compartment_id="c1", __meta_oci_defined_tag_Oracle_Tags_CreatedBy="me", __meta_oci_fault_domain="FD-1", __meta_oci_hostname_label="web", __meta_oci_image_id="img", __meta_oci_instance_id="i/1", __meta_oci_instance_name="web", __meta_oci_instance_shape="VM.E4", __meta_oci_instance_state="RUNNING", __meta_oci_ipv6_addresses=",fd::1,", __meta_oci_private_ip="10.0.0.1", __meta_oci_public_ip="1.2.3.4", __meta_oci_region="iad", __meta_oci_secondary_private_ips=",10.0.0.2,", __meta_oci_tag_my_tag="v", __meta_oci_tenancy_id="t", __meta_oci_vnic_id="v1"}"#
        ]
    );
}

/// The failure of a refresh that the API answers with this status throughout.
async fn failure(compartments: &str, status: &'static str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    let key = folder.path().join("key.pem");
    std::fs::write(&key, TEST_KEY).expect("written");
    let yaml = format!(
        "{{tenancy: t, user: u, fingerprint: 'aa:bb', key_file: {}, region: iad{compartments}}}",
        key.display()
    );
    let SdConfig::Oci(config) = section("oci", &yaml) else { panic!("a section") };
    let mut oci = Oci::new(&config, &tools());
    oci.base = Some(format!("http://{}", api(move |_| Answer::Whole(status.into(), Vec::new())).await));
    oci.refresh().await.expect_err("no targets instead of a failure")
}

/// Neither a key that is not taken any more nor a compartment that cannot be found says that its instances are gone.
#[tokio::test]
async fn what_is_refused_is_a_failure() {
    for compartments in ["", ", compartments: [c1]"] {
        let error = failure(compartments, "401 Unauthorized").await;
        assert!(error.contains("401"), "{error}");
    }
    let error = failure(", compartments: [c1]", "404 Not Found").await;
    assert!(error.starts_with("compartment c1: it is named in the configuration"), "{error}");
}

#[test]
fn certificates_are_named_by_their_sum() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
    assert_eq!(
        fingerprint(pem.as_bytes()).as_deref(),
        Ok("0C:7A:62:3F:D2:BB:C0:5B:06:42:3B:E3:59:E4:02:1D:36:E7:21:AD")
    );
    let with_tenancy = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        super::base64(b"\x13\x1fopc-tenant:ocid1.tenancy.oc1..a\x30")
    );
    assert_eq!(super::certificate_tenancy(with_tenancy.as_bytes()).as_deref(), Ok("ocid1.tenancy.oc1..a"));
}
