//! `aws_sd_configs[]`, `ec2_sd_configs[]` and `lightsail_sd_configs[]`.

use super::docker::NamedFilter;
use crate::config::section::{HttpSection, Section, check_interval, check_port, section};
use crate::config::{PromDuration, Secret};

/// Roles of `aws_sd_configs`.
const ROLES: [&str; 6] = ["ec2", "ecs", "lightsail", "msk", "elasticache", "rds"];

/// Who asks, and whom: what all AWS sections have in common.
#[derive(Debug, Clone, Default)]
pub struct AwsAccess {
    pub region: String,
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: Secret,
    pub profile: String,
    pub role_arn: String,
    pub external_id: String,
}

/// Sections with an account in a region, and fields of their own.
macro_rules! aws_sections {
    ($($(#[$doc:meta])* $config:ident { $($own:tt)* })*) => {
        $(
            section! {
                $(#[$doc])*
                $config {
                    endpoint: text,
                    region: text,
                    access_key: text,
                    secret_key: secret,
                    profile: text,
                    role_arn: text,
                    external_id: text,
                    refresh_interval: duration = PromDuration::from_secs(60),
                    port: count = 80u64,
                    $($own)*
                }
            }

            impl $config {
                pub fn access(&self) -> AwsAccess {
                    AwsAccess {
                        region: self.region.clone(),
                        endpoint: self.endpoint.clone(),
                        access_key: self.access_key.clone(),
                        secret_key: self.secret_key.clone(),
                        profile: self.profile.clone(),
                        role_arn: self.role_arn.clone(),
                        external_id: self.external_id.clone(),
                    }
                }

                fn check_access(&self) -> Result<(), String> {
                    if !self.external_id.is_empty() && self.role_arn.is_empty() {
                        return Err("external_id needs a role_arn".into());
                    }
                    check_port(self.port)?;
                    check_interval(self.refresh_interval)
                }
            }

            impl HttpSection for $config {}
        )*
    };
}

aws_sections! {
    /// Instances of EC2.
    Ec2SdConfig {
        filters: [Vec<NamedFilter>],
    }
    /// Instances of Lightsail.
    LightsailSdConfig {}
    /// One service of one account in one region, by its role.
    AwsSdConfig {
        role: text,
        filters: [Vec<NamedFilter>],
        clusters: texts,
    }
}

/// Sections that one of `aws_sd_configs` can be turned into, with the fields of their own that they take over.
macro_rules! same_account {
    ($($config:ident { $($own:ident),* })*) => {
        $(
            impl $config {
                fn of(section: &AwsSdConfig) -> $config {
                    let AwsAccess { region, endpoint, access_key, secret_key, profile, role_arn, external_id } =
                        section.access();
                    let (refresh_interval, port) = (section.refresh_interval, section.port);
                    $config {
                        region,
                        endpoint,
                        access_key,
                        secret_key,
                        profile,
                        role_arn,
                        external_id,
                        refresh_interval,
                        port,
                        $($own: section.$own.clone(),)*
                    }
                }
            }
        )*
    };
}

same_account! { Ec2SdConfig { filters } LightsailSdConfig {} }

fn check_filters(filters: &[NamedFilter]) -> Result<(), String> {
    match filters.iter().any(|filter| filter.values.is_empty()) {
        true => Err("EC2 SD configuration filter values cannot be empty".into()),
        false => Ok(()),
    }
}

impl Section for Ec2SdConfig {
    fn check(&mut self) -> Result<(), String> {
        check_filters(&self.filters)?;
        self.check_access()
    }
}

impl Section for LightsailSdConfig {
    fn check(&mut self) -> Result<(), String> {
        self.check_access()
    }
}

impl Section for AwsSdConfig {
    fn check(&mut self) -> Result<(), String> {
        if !ROLES.contains(&self.role.as_str()) {
            return Err(format!("unknown AWS SD role {:?}", self.role));
        }
        if !self.filters.is_empty() && !["ec2", "rds"].contains(&self.role.as_str()) {
            return Err(format!("AWS SD role {:?} takes no filters", self.role));
        }
        if !self.clusters.is_empty() && ["ec2", "lightsail"].contains(&self.role.as_str()) {
            return Err(format!("AWS SD role {:?} takes no clusters", self.role));
        }
        check_filters(&self.filters)?;
        self.check_access()
    }
}

impl AwsSdConfig {
    /// The section of the role's own list that says the same.
    pub fn ec2(&self) -> Ec2SdConfig {
        Ec2SdConfig::of(self)
    }

    /// As above.
    pub fn lightsail(&self) -> LightsailSdConfig {
        LightsailSdConfig::of(self)
    }
}
