//! The shared files of AWS, `~/.aws/credentials` and `~/.aws/config`: the keys, the region and the
//! endpoint of one profile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use super::process::Process;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// The name of the default profile.
const DEFAULT: &str = "default";

/// Settings for credentials that need a server of AWS or a browser, which this program doesn't
/// support.
const ELSEWHERE: [&str; 4] = ["role_arn", "sso_session", "sso_start_url", "login_session"];

/// The paths of the files, and the name of the profile. Its keys are read again for each request,
/// so that renewed keys are used.
#[derive(Debug)]
pub(super) struct Shared {
    credentials: Option<PathBuf>,
    config: Option<PathBuf>,
    /// The profile's name from the environment, if it is set.
    named: Option<String>,
    process: Process,
}

/// The settings of a profile in both files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    name: String,
    id: Option<Secret>,
    key: Option<Secret>,
    token: Option<Secret>,
    /// Its region.
    pub region: Option<String>,
    /// The address of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// The command that prints its keys.
    process: Option<String>,
    /// The setting of an unsupported way to credentials, if the profile has one.
    elsewhere: Option<&'static str>,
}

/// The settings of one section, by name; a nested setting has the name `outer.inner`.
type Section = BTreeMap<String, String>;

impl Shared {
    /// Finds the files as other tools do: with `AWS_SHARED_CREDENTIALS_FILE`, `AWS_CONFIG_FILE` and
    /// `AWS_PROFILE`.
    pub(crate) fn from_env() -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let at_home = |name: &str| env::home_dir().map(|home| home.join(".aws").join(name));
        let path =
            |variable: &str, name: &str| set(variable).map(PathBuf::from).or_else(|| at_home(name));
        let named = set("AWS_PROFILE").or_else(|| set("AWS_DEFAULT_PROFILE"));
        Self {
            credentials: path("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: path("AWS_CONFIG_FILE", "config"),
            named: named.map(|name| name.to_string_lossy().into_owned()),
            process: Process::default(),
        }
    }

    /// Reads the profile; an empty one if no profile is named and there is no default profile.
    ///
    /// # Errors
    /// If a file can't be read, or the named profile is in neither file.
    pub(crate) fn profile(&self) -> Result<Profile> {
        let [credentials, config] =
            [&self.credentials, &self.config].map(|path| text(path.as_deref()));
        let name = self.named.as_deref().unwrap_or(DEFAULT);
        match Profile::of(name, &sections(&credentials?), &sections(&config?)) {
            Some(profile) => Ok(profile),
            None if self.named.is_none() => Ok(Profile::default()),
            None => Err(Error::fatal(format!(
                "the profile \"{name}\" of AWS_PROFILE is neither in {} nor in {}",
                said(self.credentials.as_deref()),
                said(self.config.as_deref())
            ))),
        }
    }
}

#[async_trait]
impl CredentialProvider for Shared {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = async {
            let profile = self.profile()?;
            match profile.command() {
                Some(command) => self.process.credential(&profile.name, command).await,
                None => profile.credential().map(Arc::new),
            }
        };
        found.await.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: error.chain().into(),
        })
    }
}

impl Profile {
    fn of(
        name: &str,
        credentials: &BTreeMap<String, Section>,
        config: &BTreeMap<String, Section>,
    ) -> Option<Self> {
        let in_config = if name == DEFAULT { name.to_owned() } else { format!("profile {name}") };
        let (keys, more) = (credentials.get(name), config.get(&in_config));
        if keys.is_none() && more.is_none() {
            return None;
        }
        let both = [keys, more];
        let get = |key: &str| both.iter().flatten().find_map(|section| section.get(key)).cloned();
        // A key and its secret are taken from the same file.
        let whole = |section: &&Section| section.contains_key("aws_access_key_id");
        let keys = both.into_iter().flatten().find(whole);
        let secret = |key: &str| keys.and_then(|section| section.get(key)).map(Secret::new);
        let services = get("services").and_then(|name| config.get(&format!("services {name}")));
        let service = services.and_then(|section| section.get("s3.endpoint_url")).cloned();
        Some(Self {
            name: name.to_owned(),
            id: secret("aws_access_key_id"),
            key: secret("aws_secret_access_key"),
            token: secret("aws_session_token"),
            region: get("region"),
            endpoint: service.or_else(|| get("endpoint_url")),
            process: get("credential_process"),
            elsewhere: ELSEWHERE.into_iter().find(|key| get(key).is_some()),
        })
    }

    /// Returns the command that prints the keys, unless the profile has keys itself.
    fn command(&self) -> Option<&str> {
        self.process.as_deref().filter(|_| self.id.is_none())
    }

    /// Returns true if the profile has a key, or a command that prints one.
    ///
    /// # Errors
    /// If it has only half of a key, or only gets one in an unsupported way.
    pub(crate) fn has_key(&self) -> Result<bool> {
        if self.command().is_some() {
            return Ok(true);
        }
        if self.id.is_none()
            && let Some(way) = self.elsewhere
        {
            return Err(Error::fatal(format!(
                "the profile \"{0}\" gets its credentials by {way}, which needs the tool \"aws\": name in AWS_PROFILE \
                 another with the line `credential_process = aws configure export-credentials --profile {0} --format \
                 process`",
                self.name
            )));
        }
        if self.id.is_some() { self.credential().map(|_| true) } else { Ok(false) }
    }

    fn credential(&self) -> Result<AwsCredential> {
        let missing =
            |what: &str| Error::fatal(format!("the profile \"{}\" has no {what}", self.name));
        let id = self.id.as_ref().ok_or_else(|| missing("aws_access_key_id"))?;
        let key = self.key.as_ref().ok_or_else(|| missing("aws_secret_access_key"))?;
        let token = self.token.as_ref().map(|token| token.reveal().to_owned());
        Ok(AwsCredential { key_id: id.reveal().into(), secret_key: key.reveal().into(), token })
    }
}

fn said(path: Option<&Path>) -> String {
    path.map_or_else(|| "~/.aws".into(), |path| format!("\"{}\"", path.display()))
}

/// Returns a file's text; empty if the file doesn't exist.
fn text(path: Option<&Path>) -> Result<String> {
    let Some(path) = path else { return Ok(String::new()) };
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|cause| {
            Error::fatal(format!("can't read \"{}\"", path.display())).because(cause)
        }),
    }
}

/// Parses the sections of a file: `[name]`, `key = value`, comments after `#` or `;` at the
/// beginning of a line or after a space, and indented lines below a key without a value.
fn sections(text: &str) -> BTreeMap<String, Section> {
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let (mut section, mut outer) = (None, String::new());
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name
                .split_whitespace()
                .map(|word| word.trim_matches('"'))
                .collect::<Vec<_>>()
                .join(" ");
            sections.entry(name.clone()).or_default();
            (section, outer) = (Some(name), String::new());
            continue;
        }
        let (Some((key, value)), Some(section)) = (line.split_once('='), &section) else {
            continue;
        };
        let (key, value) = (key.trim().to_lowercase(), without_comment(value));
        let settings = sections.entry(section.clone()).or_default();
        if indented && !outer.is_empty() {
            settings.insert(format!("{outer}.{key}"), value.to_owned());
        } else if value.is_empty() {
            outer = key;
        } else {
            settings.insert(key, value.to_owned());
            outer.clear();
        }
    }
    sections
}

fn without_comment(value: &str) -> &str {
    value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = d\naws_secret_access_key=ds # not this\n\
        # [default]\n[work]\n aws_access_key_id = w\n aws_secret_access_key = w/s+=\naws_session_token = wt\n\
        [half]\naws_access_key_id = h\n";

    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile work]\nregion=us-west-2\nendpoint_url = http://a:1\n\
        [profile \"with services\"]\nservices = mine\naws_access_key_id = x\naws_secret_access_key = xs\ns3 =\n  \
        endpoint_url = http://wrong\n[services mine]\nec2 =\n  endpoint_url = http://no\ns3 =\n  endpoint_url = http://b:2\n\
        [profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\n\
        [profile process]\ncredential_process = /opt/get --for me\n[work]\nregion = nowhere\n";

    proptest::proptest! {
        #[test]
        fn no_file_makes_its_reader_panic(text in "([\\[\\]=#; \"\n\ta-z:/]{0,40}|\\[default\\]\n|s3 =\n|  [a-z_]{1,9} = .{0,9}\n){0,8}") {
            let sections = sections(&text);
            for name in sections.keys().map(String::as_str).chain(["default", ""]) {
                if let Some(profile) = Profile::of(name, &sections, &sections) {
                    let _ = (profile.has_key(), profile.credential(), profile.command());
                }
            }
        }
    }

    fn profile(name: &str) -> Option<Profile> {
        Profile::of(name, &sections(CREDENTIALS), &sections(CONFIG))
    }

    #[track_caller]
    fn check(
        name: &str,
        keys: (&str, &str, Option<&str>),
        region: Option<&str>,
        endpoint: Option<&str>,
    ) {
        let found = profile(name).unwrap();
        let credential = found.credential().unwrap();
        assert_eq!(
            (
                credential.key_id.as_str(),
                credential.secret_key.as_str(),
                credential.token.as_deref()
            ),
            keys
        );
        assert_eq!((found.region.as_deref(), found.endpoint.as_deref()), (region, endpoint));
        assert!(found.has_key().unwrap());
    }

    #[test]
    fn a_profile_is_in_both_files() {
        check("default", ("d", "ds", None), Some("eu-central-1"), None);
        check("work", ("w", "w/s+=", Some("wt")), Some("us-west-2"), Some("http://a:1"));
        check("with services", ("x", "xs", None), None, Some("http://b:2"));
        assert_eq!(profile("other"), None);
    }

    #[test]
    fn what_gives_no_key_says_why() {
        let half = profile("half").unwrap().has_key().unwrap_err().chain();
        assert_eq!(half, "the profile \"half\" has no aws_secret_access_key");
        let role = profile("role").unwrap().has_key().unwrap_err().chain();
        assert!(role.contains("by role_arn, which needs the tool \"aws\""), "{role}");
        assert!(!Profile::default().has_key().unwrap());
        let process = profile("process").unwrap();
        assert!(process.has_key().unwrap() && process.command() == Some("/opt/get --for me"));
    }

    #[test]
    fn a_profile_that_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(folder.path().join(name));
        let shared = |named: Option<&str>| Shared {
            credentials: at("credentials"),
            config: at("config"),
            named: named.map(str::to_owned),
            process: Process::default(),
        };
        assert_eq!(shared(None).profile().unwrap(), Profile::default());
        assert!(
            shared(Some("work"))
                .profile()
                .unwrap_err()
                .chain()
                .contains("\"work\" of AWS_PROFILE is neither in")
        );
        fs::write(folder.path().join("credentials"), CREDENTIALS).unwrap();
        assert!(shared(Some("work")).profile().unwrap().has_key().unwrap());
        let printed = format!("{:?}", shared(Some("work")).profile().unwrap());
        assert!(!printed.contains("w/s+="), "a secret is printed: {printed}");
    }
}
